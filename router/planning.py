"""Finding, estimating and deciding: from a call to its plan. Runs nothing and logs nothing."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from msgspec import structs

from backends.types import GenerationInput
from policies.budget import Budget
from policies.cascade import Cascade
from policies.latency import Fastest
from policies.registry import create
from policies.steady import Steady
from policies.types import Parameters, Weights
from router.browser import offers
from router.deciding import Decided, asked_of, decide
from router.errors import InvalidRequest, RouterError
from router.exploring import Given, explored, explorer, unexplored
from router.ledger import new_decision_id, now_us
from router.overload import Away, not_now
from router.sizes import size_of
from router.slate import Plan, Size
from router.steadiness import Incumbents, Kind, Sessions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.types import InferenceRequest, Target
    from policies.base import Policy
    from policies.types import Constraints, Decision, Estimate
    from router.budgets import Budgets
    from router.candidates import CandidateFinder, Offer
    from router.charges import Asked
    from router.intents.signal import IntentSignal
    from router.lessons import Lessons
    from router.outcome import Outcome
    from router.request import Call
    from router.routes import Routes
    from router.section_of_routing import OnStreamFailure, RoutingSettings
    from router.sections import AliasEntry
    from router.slate import Candidate, PromptIntent

NO_DAILY_BUDGET = "the policy 'budget' spends a day's money: it needs a [[budgets]] whose period is 'day'"


class Planner:
    """Makes a plan of every call, from what is known at that instant."""

    def __init__(
        self,
        finder: CandidateFinder,
        signal: IntentSignal,
        lessons: Lessons,
        budgets: Budgets,
        settings: RoutingSettings,
        routes: Routes,
    ) -> None:
        self._finder = finder
        self._signal = signal
        self._lessons = lessons
        self._budgets = budgets
        self._settings = settings
        self._routes = routes
        self._policies: dict[str, Policy] = {}
        self._incumbents = Incumbents()
        self._sessions = Sessions(settings.session_ttl_s)

    def become(self, settings: RoutingSettings) -> None:
        """Decide by these settings from now on. Sessions, and who was first before, are remembered."""
        self._settings = settings
        self._policies = {}
        self._sessions.ttl_s = settings.session_ttl_s

    async def plan(self, call: Call, draw: float | None = None) -> Plan:
        """Find, estimate and decide; `draw` (0..1) is what chance says, None leaves nothing to it.

        Raises:
            UnknownModel, InvalidRequest: the request names what does not exist.
        """
        if call.pinned is not None:
            return await self._pinned(call, call.pinned)
        intent = await self._signal.of(call.request)
        call, names, route = self._routes.of(call, intent)
        offer = await self._finder.offer(*names, tenant=call.request.tenant)
        call = self._under_policy(call, offer.alias)
        started = time.perf_counter_ns()
        deadline_s = (call.routing.deadline_ms or self._settings.deadline_ms) / 1000
        size = _size(call, offer)
        policy = self.policy(call)
        kept_as = await self._finder.cache.name(call)
        slate = self._slate(call, offer, size, intent, deadline_s, marked=policy.name == Cascade.name)
        slate = _with_page(self._recalled(slate, kept_as), call, size)
        asked = await self._asked(call.request, size, slate.candidates, slate.estimates)
        decided = self._decided(policy, call, route, slate, asked, draw)
        return Plan(
            decision_id=new_decision_id(),
            ts_us=now_us(),
            call=call,
            intent=intent,
            size=size,
            candidates=slate.candidates,
            estimates=decided.estimates,
            decision=decided.decision,
            policy=policy,
            route=route,
            decide_us=(time.perf_counter_ns() - started) // 1000,
            deadline_s=deadline_s,
            on_stream_failure=self._on_stream_failure(call, offer.alias),
            refusal=self._refusal(policy, call, slate, asked, decided),
            kept_as=kept_as,
        )

    def _refusal(self, policy: Policy, call: Call, slate: Given, asked: Asked, decided: Decided) -> RouterError | None:
        """Why nobody is asked, where the rejections do not say all of it."""
        if decided.refusal is not None or decided.decision.ranked:
            return decided.refusal
        away = Away(unexplored(policy), slate.candidates, self._lessons.back_in_s, self._budgets, asked)
        return not_now(call.request.model, decided.decision, decided.estimates, slate.constraints, away)

    async def _pinned(self, call: Call, target: Target) -> Plan:
        """A plan for one candidate. What was learnt of it (who must be left alone, who is full) is what is measured.

        Hard limits and budgets hold all the same.
        """
        model = await self._finder.model(call.request.model, call.request.tenant)
        if model.task != call.request.task:
            raise InvalidRequest(f"{model.id} does {model.task}, not {call.request.task.value}.", param="model")
        started = time.perf_counter_ns()
        candidate = self._finder.pinned(model, target)
        size = size_of(call.request, model.context_length)
        deadline_s = (call.routing.deadline_ms or self._settings.deadline_ms) / 1000
        estimates = self._lessons.estimator.estimate(size, [candidate], lambda _: None)
        policy, limits = create(Fastest.name), self._limits(call, deadline_s, [candidate])
        asked = await self._asked(call.request, size, [candidate], estimates)
        decided = decide(partial(policy.decide, constraints=limits), estimates, self._budgets, asked, paced=False)
        reason = f"{candidate.id} was asked for by name, to be measured. {decided.decision.reason}"
        return Plan(
            decision_id=new_decision_id(),
            ts_us=now_us(),
            call=call,
            size=size,
            candidates=[candidate],
            estimates=decided.estimates,
            decision=decided.decision._replace(reason=reason),
            policy=policy,
            decide_us=(time.perf_counter_ns() - started) // 1000,
            deadline_s=deadline_s,
            refusal=decided.refusal,
        )

    def policy(self, call: Call) -> Policy:
        """The policy the call asks for, else the configured one.

        Raises:
            InvalidRequest: there is none of this name, or it lacks what it needs.
        """
        name = call.routing.policy or self._settings.policy
        if name == Budget.name and not self._budgets.daily:
            raise InvalidRequest(NO_DAILY_BUDGET, param="routing.policy")
        if name not in self._policies:
            try:
                policy = create(name, parameters_of(self._settings))
            except ValueError as error:  # there is no such policy, or what is configured for it is not usable
                raise InvalidRequest(str(error), param="routing.policy") from error
            self._policies[name] = policy
        return explorer(self._policies[name], self._settings.exploration if call.routing.explore else 0.0)

    def _slate(
        self, call: Call, offer: Offer, size: Size, intent: PromptIntent | None, deadline_s: float, *, marked: bool
    ) -> Given:
        """Who could serve the call, what is expected of each, and the limits; `marked` with who may be how sure."""
        wanted = None if intent is None else intent.label
        judgement = self._lessons.judgement
        candidates = judgement.quality.rated(self._finder.for_request(call.request, offer, call.routing.only), wanted)
        found = self._lessons.estimates(size, candidates, wanted)
        if marked:
            found = judgement.marked(found, candidates)
        return Given(candidates, found, self._limits(call, deadline_s, candidates))

    async def _asked(
        self, request: InferenceRequest, size: Size, candidates: Sequence[Candidate], estimates: Sequence[Estimate]
    ) -> Asked:
        """What the slate asks of the budgets. Where they are shared, more is brought first if too little is here."""
        if not self._budgets:
            return {}
        asked = asked_of(request, size, candidates, estimates)
        if self._budgets.widen is not None:
            await self._budgets.widen(asked)
        return asked

    def _recalled(self, slate: Given, kept_as: bytes | None) -> Given:
        """The slate with what was answered before as candidates of its own: no cascade doubts what it once gave."""
        return _joined(slate, [] if kept_as is None else self._finder.cache.offers(kept_as, slate.candidates))

    def began(self, plan: Plan) -> None:
        """Remember what was decided: this request is really being run.

        That an answer was at hand says nothing of who serves other requests best; nor that one was asked for by name.
        """
        if plan.call.pinned is not None:
            return
        self._finder.cache.asked(plan)
        first = next(iter(plan.ranked()), None)
        if first is None:
            return
        if not first.cached:
            kind = _kind(plan.route, plan.call, plan.decision.policy)
            self._incumbents.chose(kind, plan.call.routing, plan.decision)
        self._sessions.begun(plan.call, first, time.monotonic())

    def ended(self, outcome: Outcome) -> None:
        """Remember who answered: that is whom the session is with.

        Where another answer was asked for beside a near one, that is who gave the first: one doubt moves no session.
        """
        plan, winner = outcome.plan, outcome.winner
        if plan.call.pinned is not None:
            return
        if winner is not None and winner.role == "escalation":
            winner = next(attempt for attempt in outcome.attempts if attempt.status == "ok")
        served = next((c for c in plan.candidates if winner is not None and c.id == winner.candidate_id), None)
        if served is not None:
            self._sessions.served(plan.call, served, time.monotonic())

    def _decided(
        self, policy: Policy, call: Call, route: str | None, slate: Given, asked: Asked, draw: float | None
    ) -> Decided:
        """The policy's word within the budgets, held steady, with the session's model first, and as chance has it."""
        candidates = slate.candidates
        steady = self._steady(unexplored(policy), call, route, candidates)

        def ranked(estimates: Sequence[Estimate]) -> Decision:
            decision = _with_fallbacks_last(steady.decide(estimates, slate.constraints), candidates)
            return self._sessions.kept(call, decision, candidates, time.monotonic())

        def drawn(decision: Decision, estimates: list[Estimate]) -> Decision:
            among = self._sessions.among(call, decision, candidates, time.monotonic())
            return explored(policy, decision, slate._replace(estimates=estimates), draw, among)

        paced = policy.name == Budget.name
        decided = decide(ranked, slate.estimates, self._budgets, asked, paced=paced, explore=drawn)
        return decided._replace(decision=_with_route(decided.decision, route))

    def _limits(self, call: Call, deadline_s: float, candidates: Sequence[Candidate]) -> Constraints:
        """The hard limits of a call of which the answer is wanted so many seconds after it came in."""
        return call.routing.constraints(
            offline=self._settings.offline,
            deadline_s=call.received + deadline_s - time.monotonic(),
            queue_share=self._settings.queue_share,
            gives_up=self._settings.max_attempts > 1 and _gives_up(call, candidates),
        )

    def _steady(self, policy: Policy, call: Call, route: str | None, candidates: Sequence[Candidate]) -> Policy:
        """The policy that the call is under, with hysteresis around it."""
        incumbent = self._incumbents.of(_kind(route, call, policy.name), candidates)
        return Steady(policy, incumbent, self._settings.hysteresis)

    def _under_policy(self, call: Call, alias: AliasEntry | None) -> Call:
        """The call with the policy that holds: its own or its route's, else its alias', else the configured one."""
        name = call.routing.policy or (alias.policy if alias else None) or self._settings.policy
        return structs.replace(call, routing=structs.replace(call.routing, policy=name))

    def _on_stream_failure(self, call: Call, alias: AliasEntry | None) -> OnStreamFailure:
        asked = call.routing.on_stream_failure or (alias.on_stream_failure if alias else None)
        usual: OnStreamFailure = "continue" if alias is not None and alias.fallbacks else "error"
        found = asked or self._settings.on_stream_failure or usual
        payload = call.request.payload
        plain = not isinstance(payload, GenerationInput) or payload.extras is None
        return found if plain or found != "continue" else "error"  # nobody goes on with half a tool call


def _size(call: Call, offer: Offer) -> Size:
    """By what was sent; where only measures were, by these."""
    if call.measures is not None:
        return Size(**structs.asdict(call.measures))
    return size_of(call.request, offer.models[0].context_length)


def _gives_up(call: Call, candidates: Sequence[Candidate]) -> bool:
    """Whether a far answer that is late is given up for another's: a whole one, of the same kind, that may be paid for.

    Of a stream only the first piece is waited for so long; what has begun goes on.
    """
    routing = call.routing
    replaceable = len(candidates) > 1 and not all(candidate.near for candidate in candidates)
    one_space = len({candidate.vector_space for candidate in candidates}) == 1
    whole = routing.allow_fallbacks and not call.request.stream and routing.max_cost_usd is None
    return whole and replaceable and one_space


def _with_page(slate: Given, call: Call, size: Size) -> Given:
    """The slate with what the sender's own page could serve: no cascade judges answers that never come here."""
    page = call.page
    return slate if page is None else _joined(slate, offers(page, call.request.task, slate.candidates, size))


def _joined(slate: Given, found: Sequence[tuple[Candidate, Estimate]]) -> Given:
    candidates, estimates = [one for one, _ in found], [one for _, one in found]
    return Given([*slate.candidates, *candidates], [*slate.estimates, *estimates], slate.constraints)


def _with_fallbacks_last(decision: Decision, candidates: Sequence[Candidate]) -> Decision:
    """The ranking with an alias' fallbacks behind it, in their order: they are asked when all others failed."""
    places = {candidate.id: candidate.fallback for candidate in candidates}
    ranked = tuple(sorted(decision.ranked, key=lambda candidate_id: places[candidate_id]))
    if ranked == decision.ranked:
        return decision
    reason = f"{decision.reason} Fallbacks of the alias come last: {ranked[0]} goes first."
    return decision._replace(ranked=ranked, reason=reason)


def _with_route(decision: Decision, route: str | None) -> Decision:
    return decision if route is None else decision._replace(reason=f"{decision.reason} Routed by {route!r}.")


def _kind(route: str | None, call: Call, policy: str) -> Kind:
    return Kind(route, call.request.task, call.request.model, policy)


def parameters_of(settings: RoutingSettings) -> Parameters:
    """The configured parameters of the policies in their own type."""
    return Parameters(
        weights=Weights(**structs.asdict(settings.weights)),
        slo_target=settings.slo_target,
        **structs.asdict(settings.worth),
    )
