"""`balanced`: latency, cost and quality weighed against each other.

    weighed = ( w_latency * latency / max latency
              + w_cost    * cost / max cost
              + w_quality * (1 - quality) ) / (w_latency + w_cost + w_quality)
    score   = ( weighed + w_lateness * P(no answer by the deadline) ) / (1 + w_lateness)

The maxima are over the eligible candidates, so latency, cost and quality each lie in 0..1 and so does the score.
Lateness stands apart: weights that say what a second or a dollar is worth say nothing of an answer that is of no use
any more. By default one chance in four of being late counts as much as all the rest together. Without a deadline, or
with one that nobody is near, the order is that of what is weighed.

* Cost and lateness are those of the candidate with whoever takes over where it is late (`policies.rescue`).
* Divided by the maximum, not stretched between minimum and maximum: twice as slow stays twice as slow, and two
  candidates that differ by 1 % differ by 1 % in the score. Min-max would make that difference the whole scale.
* Quality has a scale of its own and is not stretched at all.
* An unknown quality counts as the median of the known ones; when none is known, quality is left out of the sum.
* A maximum of 0 (everything is free) makes that term 0 for all.
* The price of any relative score: another eligible candidate can change the maxima and with them the order of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from policies.base import apart, conclude, figures, known, significant, tie_break, versioned
from policies.constraints import apply, unpriced
from policies.rescue import NOTE, chains
from policies.types import Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Constraints, Decision, Estimate, Scale


@dataclass(frozen=True, slots=True)
class Balanced:
    """Ranks by the weighted score above, which has no unit.

    Raises:
        ValueError: A weight is negative or not finite, or all of them are 0.
    """

    name: ClassVar[str] = "balanced"
    scale: ClassVar[Scale] = "ratio"
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        weights = (self.weights.latency, self.weights.cost, self.weights.quality)
        if min(*weights, self.weights.lateness) < 0 or not isfinite(sum(weights)) or not any(weights):
            raise ValueError(f"weights of balanced must be finite, not negative and not all 0, but are {weights}")

    @property
    def version(self) -> str:
        """Changes with the ratios of the weights, not with their scale."""
        latency, cost, quality = self._shares()
        return versioned("3", latency=latency, cost=cost, quality=quality, lateness=self.weights.lateness)

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """Rank the eligible candidates whose price is known by the weighted score."""
        slate = apply(estimates, constraints, unpriced)
        found = chains(slate[0], constraints)
        terms = {
            "latency": _against_largest([e.latency_s for e in slate[0]]),
            "cost": _against_largest([found[e.candidate_id].cost_usd for e in slate[0]]),
            "quality": _shortfalls([known(e.quality) for e in slate[0]]),
        }
        weighed = [(share, term) for share, term in zip(self._shares(), terms.values(), strict=True) if term]
        total = sum(share for share, _ in weighed) or 1.0  # only quality weighs and none is known: all score 0
        lateness = 0.0 if constraints.deadline_s is None else self.weights.lateness
        late = [1 - found[e.candidate_id].chance for e in slate[0]]
        scores = {
            e.candidate_id: (part / total + lateness * chance) / (1 + lateness)
            for e, part, chance in zip(slate[0], _added(weighed, len(late)), late, strict=True)
        }

        def because(first: Estimate, second: Estimate) -> str:
            what = "latency, cost and quality" if terms["quality"] else "latency and cost (no quality is known)"
            mine, other = apart(significant, scores[first.candidate_id], scores[second.candidate_id])
            risk = _risk(late[slate[0].index(first)], late[slate[0].index(second)])
            best = f"{first.candidate_id} has the best balance of {what}{risk}: score {mine} against {other}"
            tie = f", first by {tie_break(first, second)}" if mine == other else ""
            note = NOTE if constraints.gives_up else ""
            return f"{best} ({second.candidate_id}){tie}; expected {figures(first)}.{note}"

        return conclude(self, slate, scores, constraints.order, because)

    def _shares(self) -> tuple[float, float, float]:
        return _parts(self.weights.latency, self.weights.cost, self.weights.quality)


@lru_cache(maxsize=16)
def _parts(latency: float, cost: float, quality: float) -> tuple[float, float, float]:
    """Each weight's part of their sum, rounded so that (1, 2, 3) and (0.1, 0.2, 0.3) are the same policy."""
    total = latency + cost + quality
    return round(latency / total, 9), round(cost / total, 9), round(quality / total, 9)


def _risk(mine: float, other: float) -> str:
    """Where lateness had a say, its chances."""
    return f" and a chance of being late of {mine:.0%} against {other:.0%}" if max(mine, other) >= 0.005 else ""


def _against_largest(values: list[float]) -> list[float]:
    largest = max(values, default=0.0)
    return [value / largest if largest else 0.0 for value in values]


def _added(weighed: Sequence[tuple[float, list[float]]], count: int) -> list[float]:
    """The weighted sum of the terms of each of so many candidates."""
    sums = [0.0] * count
    for share, term in weighed:
        sums = [so_far + share * value for so_far, value in zip(sums, term, strict=True)]
    return sums


def _shortfalls(qualities: list[float | None]) -> list[float]:
    """1 - quality of each, the median standing in for the unknown; empty when none is known."""
    certain = [quality for quality in qualities if quality is not None]
    if not certain:
        return []
    middle = median(certain)
    return [1 - (middle if quality is None else quality) for quality in qualities]
