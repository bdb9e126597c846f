"""The line itself: from a call to its outcome, each stage once, in the order in which one would tell it."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from policies.registry import UnknownPolicy, create
from policies.types import Weights
from router.errors import InvalidRequest, NoCandidate, Refusal, RouterError
from router.estimates import size_of
from router.ledger import new_decision_id, now_us
from router.outcome import Outcome
from router.rows import Refused
from router.slate import Plan

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backends.types import Delta, LoadReport
    from policies.base import Policy
    from router.attempts import Attempts
    from router.availability import Breakers
    from router.candidates import CandidateFinder
    from router.estimates import Estimator
    from router.ledger import Ledger
    from router.outcome import Begun
    from router.request import Call
    from router.settings import RoutingSettings


class Dispatcher:
    """Decides and runs requests. Every request leaves its rows behind, also when it is refused or abandoned."""

    def __init__(
        self,
        finder: CandidateFinder,
        estimator: Estimator,
        breakers: Breakers,
        attempts: Attempts,
        ledger: Ledger,
        settings: RoutingSettings,
    ) -> None:
        self._finder = finder
        self._estimator = estimator
        self._breakers = breakers
        self._attempts = attempts
        self._ledger = ledger
        self._settings = settings
        self._policies: dict[str, Policy] = {}

    async def plan(self, call: Call) -> Plan:
        """Find, estimate and decide, without running or logging anything: a dry run is this and nothing more.

        Raises:
            UnknownModel, InvalidRequest: the request names what does not exist.
        """
        policy = self._policy(call)
        model = await self._finder.model(call.request.model)
        started = time.perf_counter_ns()
        now = time.monotonic()
        size = size_of(call.request, model.context_length)
        candidates = self._finder.for_request(call.request, model, call.routing.only)
        estimates = self._estimator.estimate(size, candidates, lambda key: self._breakers.refusal(key, now))
        decision = policy.decide(estimates, call.routing.constraints(offline=self._settings.offline))
        return Plan(
            decision_id=new_decision_id(),
            ts_us=now_us(),
            call=call,
            size=size,
            candidates=candidates,
            estimates=estimates,
            decision=decision,
            decide_us=(time.perf_counter_ns() - started) // 1000,
            deadline_s=(call.routing.deadline_ms or self._settings.deadline_ms) / 1000,
        )

    async def stream(self, call: Call) -> AsyncGenerator[Begun | Delta | Outcome, None]:
        """Yield who serves and each piece of text as it exists, then the outcome, whatever it is.

        Raises:
            UnknownModel, InvalidRequest: before the first piece, when the request names what does not exist. It is
                logged then, and the error carries the decision's id.
        """
        try:
            plan = await self.plan(call)
        except RouterError as error:
            error.decision_id = self.refuse(_refused(call, error))
            raise
        except BaseException:
            self.refuse(_refused(call, RouterError("The request ended before it could be decided.")))
            raise
        self._ledger.decided(plan, self._policy(call))
        if not plan.decision.ranked:
            outcome = self._ledger.settle(plan, (), status="refused", error=_no_candidate(plan))
            await self._ledger.acknowledged()
            yield outcome
            return
        async with aclosing(self._attempts.stream(plan)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Outcome):
                    await self._ledger.acknowledged()
                yield piece

    async def infer(self, call: Call) -> Outcome:
        """Answer whole. Raises as `stream` does."""
        async with aclosing(self.stream(call)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Outcome):
                    return piece
        raise AssertionError("a stream always ends with its outcome")

    async def task_of(self, model_id: str) -> str:
        """The task a model does.

        Raises:
            UnknownModel: naming near ones.
        """
        return (await self._finder.model(model_id)).task

    async def warm(self, model_id: str) -> dict[str, LoadReport]:
        """Load the model's near candidates and learn from it; what was measured, by candidate.

        Raises:
            UnknownModel: naming near ones.
            BackendError: a model cannot be loaded.
        """
        candidates = self._finder.of_model(await self._finder.model(model_id))
        return {c.id: await self._attempts.warm(c) for c in candidates if c.near}

    def refuse(self, refused: Refused) -> str:
        """Log a request that was turned away before it could be decided; returns its decision id."""
        return self._ledger.refused(refused)

    async def acknowledged(self) -> None:
        """Return when what was decided or refused so far may be told: in strict durability, when it is on disk."""
        await self._ledger.acknowledged()

    def _policy(self, call: Call) -> Policy:
        name = call.routing.policy or self._settings.policy
        if name not in self._policies:
            try:
                policy = create(name, weights_of(self._settings))
            except UnknownPolicy as error:
                raise InvalidRequest(str(error), param="routing.policy") from error
            self._policies[name] = policy
        return self._policies[name]


def weights_of(settings: RoutingSettings) -> Weights:
    """The configured weights in the policies' own type."""
    weights = settings.weights
    return Weights(latency=weights.latency, cost=weights.cost, quality=weights.quality)


def _no_candidate(plan: Plan) -> NoCandidate:
    refusals = [Refusal(r.candidate_id, r.code, r.reason) for r in plan.decision.rejections]
    return NoCandidate(plan.call.request.model, refusals)


def _refused(call: Call, error: RouterError) -> Refused:
    return Refused(
        error=error,
        surface=call.surface,
        request_id=call.request_id,
        model=call.request.model,
        task=call.request.task.value,
        input_bytes=call.input_bytes,
    )
