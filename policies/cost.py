"""`cheapest`: the smallest expected cost. It never guesses: a candidate without a known price is rejected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.base import apart, conclude, dollars, known, tie_break
from policies.constraints import apply, unpriced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Constraints, Decision, Estimate, Scale


@dataclass(frozen=True, slots=True)
class Cheapest:
    """Ranks by expected cost, then latency; its score is in US dollars."""

    name: ClassVar[str] = "cheapest"
    version: ClassVar[str] = "1"
    scale: ClassVar[Scale] = "ratio"

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """Rank the eligible candidates whose price is known by `cost_usd`."""
        slate = apply(estimates, constraints, unpriced)
        scores = {e.candidate_id: cost for e in slate[0] if (cost := known(e.cost_usd)) is not None}

        def because(first: Estimate, second: Estimate) -> str:
            cost, other = scores[first.candidate_id], scores[second.candidate_id]
            if cost == other:
                level = f"{first.candidate_id} costs as little as {second.candidate_id}, {dollars(cost)}"
                return f"{level}, and goes first by {tie_break(first, second)}."
            mine, theirs = apart(dollars, cost, other)
            return f"{first.candidate_id} is cheapest: {mine} against {theirs} ({second.candidate_id})."

        return conclude(self, slate, scores, constraints.order, because)
