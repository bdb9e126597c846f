"""Why a request is refused for now: nobody may serve it in time, and somebody could if less were to be done.

Such a request is not wrong, and its sender is told when to come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.constraints import time_s
from router.errors import NoCapacity, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Constraints, Decision, Estimate


def no_capacity(
    model: str, decision: Decision, estimates: Sequence[Estimate], constraints: Constraints
) -> NoCapacity | None:
    """The refusal where nobody is eligible and a queue or an admission limit is why; None otherwise."""
    if decision.ranked:
        return None
    codes = {r.candidate_id: r.code for r in decision.rejections}
    waits = [_free_in_s(e, constraints) for e in estimates if codes.get(e.candidate_id) in {"queue", "overloaded"}]
    if not waits:
        return None
    refusals = [Refusal(r.candidate_id, r.code, r.reason) for r in decision.rejections]
    return NoCapacity(model, refusals, min(waits))


def _free_in_s(e: Estimate, c: Constraints) -> float:
    """When its queue is short enough if nobody joins it; at an admission limit, when a request should have ended."""
    allowed_s = time_s(c)
    if e.overloaded is not None or allowed_s is None:
        return e.service_s
    return max(0.0, min(e.latency_s - allowed_s, e.queue_s - c.queue_share * allowed_s))
