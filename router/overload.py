"""Why a request is refused for now: nobody may serve it, and somebody could if only what passes by itself were over.

Such a request is not wrong, and its sender is told when to come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from policies.base import known
from policies.constraints import time_s
from router.errors import NoCapacity, NotNow, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from policies.base import Policy
    from policies.types import Constraints, Decision, Estimate
    from router.budgets import Budgets
    from router.charges import Asked
    from router.slate import Candidate

CROWDED = frozenset({"queue", "overloaded"})
ABSENT = frozenset({"unavailable", "budget"})


class Away(NamedTuple):
    """Tells when those who may not be asked now may be after all.

    Attributes:
        policy: Who decides then.
        candidates: The slate.
        back_in_s: When one that is unavailable may be asked again; None where that does not come by itself.
        budgets: What may be spent.
        asked: What each would cost.
    """

    policy: Policy
    candidates: Sequence[Candidate]
    back_in_s: Callable[[Candidate], float | None]
    budgets: Budgets
    asked: Asked

    def ends_in_s(self, e: Estimate, constraints: Constraints) -> float | None:
        """Seconds until the request may be served there; None where it may not be then either."""
        wait_s: float | None = 0.0
        if e.unavailable is not None:
            wait_s = self.back_in_s(next(one for one in self.candidates if one.id == e.candidate_id))
        there = e._replace(unavailable=None, over_budget=None if self._may_come_free(e) else e.over_budget)
        stays = (r.code not in CROWDED for r in self.policy.decide([there], constraints).rejections)
        return None if any(stays) else wait_s

    def _may_come_free(self, e: Estimate) -> bool:
        """Whether the money that it would cost is there, and only set aside for the moment, here or elsewhere."""
        if e.over_budget is None or known(self.asked[e.candidate_id][1]) is None:
            return False
        lacking = self.budgets.lacking({e.candidate_id: self.asked[e.candidate_id]})
        return all(period.may_hold(max(costs)) for period, costs in lacking.items())


def not_now(
    model: str, decision: Decision, estimates: Sequence[Estimate], constraints: Constraints, away: Away
) -> NotNow | None:
    """The refusal, where nobody is eligible, if of somebody because of what passes; None otherwise."""
    codes = {r.candidate_id: r.code for r in decision.rejections}
    crowded = [_free_in_s(e, constraints) for e in estimates if codes.get(e.candidate_id) in CROWDED]
    absent = (away.ends_in_s(e, constraints) for e in estimates if codes.get(e.candidate_id) in ABSENT)
    waits = [*crowded, *(wait_s for wait_s in absent if wait_s is not None)]
    if not waits:
        return None
    refusals = [Refusal(r.candidate_id, r.code, r.reason) for r in decision.rejections]
    return (NoCapacity if crowded else NotNow)(model, refusals, min(waits))


def _free_in_s(e: Estimate, c: Constraints) -> float:
    """When its queue is short enough if nobody joins it; at an admission limit, when a request should have ended."""
    allowed_s = time_s(c)
    if e.overloaded is not None or allowed_s is None:
        return e.service_s
    return max(0.0, min(e.latency_s - allowed_s, e.queue_s - c.queue_share * allowed_s))
