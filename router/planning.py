"""Finding, estimating and deciding: from a call to its plan. Runs nothing and logs nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from policies.registry import UnknownPolicy, create
from policies.types import Weights
from router.deciding import asked_of, decide
from router.errors import InvalidRequest
from router.exploring import Slate, explored, explorer
from router.ledger import new_decision_id, now_us
from router.overload import no_capacity
from router.sizes import size_of
from router.slate import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.base import Policy
    from policies.types import Decision, Estimate
    from router.budgets import Budgets
    from router.candidates import CandidateFinder
    from router.intents.signal import IntentSignal
    from router.lessons import Lessons
    from router.request import Call
    from router.sections import AliasEntry, OnStreamFailure, RoutingSettings
    from router.slate import Candidate


class Planner:
    """Makes a plan of every call, from what is known at that instant."""

    def __init__(
        self,
        finder: CandidateFinder,
        signal: IntentSignal,
        lessons: Lessons,
        budgets: Budgets,
        settings: RoutingSettings,
    ) -> None:
        self._finder = finder
        self._signal = signal
        self._lessons = lessons
        self._budgets = budgets
        self._settings = settings
        self._policies: dict[str, Policy] = {}

    async def plan(self, call: Call, draw: float | None = None) -> Plan:
        """Find, estimate and decide; `draw` (0..1) is what chance says, None leaves nothing to it.

        Raises:
            UnknownModel, InvalidRequest: the request names what does not exist.
        """
        policy = self.policy(call)
        offer = await self._finder.offer(call.request.model)
        intent = await self._signal.of(call.request)
        started = time.perf_counter_ns()
        size = size_of(call.request, offer.models[0].context_length)
        wanted = None if intent is None else intent.label
        judgement = self._lessons.judgement
        candidates = self._finder.for_request(call.request, offer, call.routing.only)
        candidates = judgement.quality.rated(candidates, wanted)
        found = judgement.marked(self._lessons.estimates(size, candidates, wanted), candidates)
        deadline_s = (call.routing.deadline_ms or self._settings.deadline_ms) / 1000
        constraints = call.routing.constraints(
            offline=self._settings.offline,
            deadline_s=call.received + deadline_s - time.monotonic(),
            queue_share=self._settings.queue_share,
        )

        def ranked(estimates: Sequence[Estimate]) -> Decision:
            return _with_fallbacks_last(policy.decide(estimates, constraints), candidates)

        asked = asked_of(call.request, size, candidates, found) if self._budgets else {}
        decision, estimates, refusal = decide(ranked, found, self._budgets, asked)
        decision = explored(policy, decision, Slate(candidates, estimates, constraints), draw)  # the last to reorder it
        return Plan(
            decision_id=new_decision_id(),
            ts_us=now_us(),
            call=call,
            intent=intent,
            size=size,
            candidates=candidates,
            estimates=estimates,
            decision=decision,
            decide_us=(time.perf_counter_ns() - started) // 1000,
            deadline_s=deadline_s,
            on_stream_failure=self._on_stream_failure(call, offer.alias),
            refusal=refusal or no_capacity(call.request.model, decision, estimates, constraints),
        )

    def policy(self, call: Call) -> Policy:
        """The policy the call asks for, or its alias', or the configured one.

        Raises:
            InvalidRequest: there is none of this name.
        """
        alias = self._finder.alias(call.request.model)
        name = call.routing.policy or (alias.policy if alias else None) or self._settings.policy
        if name not in self._policies:
            try:
                policy = create(name, weights_of(self._settings))
            except UnknownPolicy as error:
                raise InvalidRequest(str(error), param="routing.policy") from error
            self._policies[name] = policy
        return explorer(self._policies[name], self._settings.exploration if call.routing.explore else 0.0)

    def _on_stream_failure(self, call: Call, alias: AliasEntry | None) -> OnStreamFailure:
        asked = call.routing.on_stream_failure or (alias.on_stream_failure if alias else None)
        usual: OnStreamFailure = "continue" if alias is not None and alias.fallbacks else "error"
        return asked or self._settings.on_stream_failure or usual


def _with_fallbacks_last(decision: Decision, candidates: Sequence[Candidate]) -> Decision:
    """The ranking with an alias' fallbacks behind it, in their order: they are asked when all others failed."""
    places = {candidate.id: candidate.fallback for candidate in candidates}
    ranked = tuple(sorted(decision.ranked, key=lambda candidate_id: places[candidate_id]))
    if ranked == decision.ranked:
        return decision
    reason = f"{decision.reason} Fallbacks of the alias come last: {ranked[0]} goes first."
    return replace(decision, ranked=ranked, reason=reason)


def weights_of(settings: RoutingSettings) -> Weights:
    """The configured weights in the policies' own type."""
    weights = settings.weights
    return Weights(latency=weights.latency, cost=weights.cost, quality=weights.quality)
