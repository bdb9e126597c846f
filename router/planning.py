"""Finding, estimating and deciding: from a call to its plan. Runs nothing and logs nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from policies.registry import UnknownPolicy, create
from policies.types import Weights
from router.deciding import asked_of, decide
from router.errors import InvalidRequest
from router.ledger import new_decision_id, now_us
from router.sizes import size_of
from router.slate import Plan

if TYPE_CHECKING:
    from policies.base import Policy
    from router.availability import Breakers
    from router.budgets import Budgets
    from router.candidates import CandidateFinder
    from router.estimates import Estimator
    from router.intents.signal import IntentSignal
    from router.request import Call
    from router.sections import RoutingSettings


class Planner:
    """Makes a plan of every call, from what is known at that instant."""

    def __init__(
        self,
        finder: CandidateFinder,
        signal: IntentSignal,
        estimator: Estimator,
        breakers: Breakers,
        budgets: Budgets,
        settings: RoutingSettings,
    ) -> None:
        self._finder = finder
        self._signal = signal
        self._estimator = estimator
        self._breakers = breakers
        self._budgets = budgets
        self._settings = settings
        self._policies: dict[str, Policy] = {}

    async def plan(self, call: Call) -> Plan:
        """Find, estimate and decide.

        Raises:
            UnknownModel, InvalidRequest: the request names what does not exist.
        """
        policy = self.policy(call)
        model = await self._finder.model(call.request.model)
        intent = await self._signal.of(call.request)
        started = time.perf_counter_ns()
        now = time.monotonic()
        size = size_of(call.request, model.context_length)
        candidates = self._finder.for_request(call.request, model, call.routing.only)
        found = self._estimator.estimate(size, candidates, lambda key: self._breakers.refusal(key, now))
        constraints = call.routing.constraints(offline=self._settings.offline)
        asked = asked_of(call.request, size, candidates, found) if self._budgets else {}
        decision, estimates, refusal = decide(policy, found, constraints, self._budgets, asked)
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
            deadline_s=(call.routing.deadline_ms or self._settings.deadline_ms) / 1000,
            refusal=refusal,
        )

    def policy(self, call: Call) -> Policy:
        """The policy the call asks for, or the configured one.

        Raises:
            InvalidRequest: there is none of this name.
        """
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
