"""`fastest`: the shortest expected time to the complete answer, whatever it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.base import apart, conclude, seconds, tie_break
from policies.constraints import apply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Constraints, Decision, Estimate, Scale


@dataclass(frozen=True, slots=True)
class Fastest:
    """Ranks by expected latency; its score is in seconds. An unknown price is no obstacle."""

    name: ClassVar[str] = "fastest"
    version: ClassVar[str] = "1"
    scale: ClassVar[Scale] = "ratio"

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """Rank the eligible candidates by `latency_s`."""
        slate = apply(estimates, constraints)
        scores = {e.candidate_id: e.latency_s for e in slate[0]}
        return conclude(self, slate, scores, constraints.order, _because)


def _because(first: Estimate, second: Estimate) -> str:
    if first.latency_s == second.latency_s:
        level = f"{first.candidate_id} is as fast as {second.candidate_id}, {seconds(first.latency_s)}"
        return f"{level}, and goes first by {tie_break(first, second)}."
    mine, other = apart(seconds, first.latency_s, second.latency_s)
    return f"{first.candidate_id} is fastest: {mine} against {other} ({second.candidate_id})."
