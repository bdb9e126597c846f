"""`budget`: a day's money for the far side goes where a dollar buys most.

    score = second_usd * latency_s + quality_usd * (1 - quality) + shadow price * cost
    shadow price = max(1, exp(gain * (spent - elapsed)))  for what a daily budget pays; 1 near, and without a budget

All in dollars. So a far candidate goes first exactly where the time and the quality it gains, and the near cost it
saves, are worth more than its own cost times the shadow price: `spent` is the share of the day's money that is gone,
`elapsed` that of the day. While the money lasts, a dollar is a dollar; the further spending runs ahead of the clock,
the more a request must gain to go far, and what that saves is there for those later that gain more.

This is budget pacing: buy while value > (1 + mu) * cost, and adapt mu so that spending keeps to a target rate (Balseiro
& Gur 2019, "Learning in repeated auctions with budgets"). With the entropy as its mirror map, dual descent multiplies,
mu <- mu * exp(gain * (spending - target rate)) (Balseiro, Lu & Mirrokni 2023, "The best of many worlds: dual mirror
descent for online allocation problems"); those factors over a period make exp(gain * (spent - elapsed)), which needs no
memory but the budget's own. Ours is max(1, mu) for their 1 + mu: unhurried money counts once. The target rate is even
over the day, UTC. The gain of 20 (10 % ahead of the clock, a dollar counts seven times) and both exchange rates are
choices, not measurements.

An unknown quality counts as the median of the known ones; where none is known, quality is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from policies.base import apart, conclude, dollars, figures, known, significant, tie_break, versioned
from policies.constraints import apply, unpriced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Constraints, Decision, Estimate, Scale

STEEPEST = 50.0  # exp of it: dearer than any gain can outweigh, and finite


@dataclass(frozen=True, slots=True)
class Budget:
    """Ranks by what a request costs in all: waiting, lack of quality, and money at its shadow price, in US dollars.

    Raises:
        ValueError: A figure is negative or not finite.
    """

    name: ClassVar[str] = "budget"
    scale: ClassVar[Scale] = "ratio"
    second_usd: float = 0.001
    quality_usd: float = 0.01
    gain: float = 20.0

    def __post_init__(self) -> None:
        given = (self.second_usd, self.quality_usd, self.gain)
        if min(given) < 0 or not isfinite(sum(given)):
            raise ValueError(
                f"second_usd, quality_usd and gain of budget must be finite and 0 or more, but are {given}"
            )

    @property
    def version(self) -> str:
        """Changes with the exchange rates and the gain."""
        return versioned("1", second_usd=self.second_usd, quality_usd=self.quality_usd, gain=self.gain)

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """Rank the eligible candidates whose price is known; the budgets themselves are limits, and come before."""
        slate = apply(estimates, constraints, unpriced)
        qualities = [known(e.quality) for e in slate[0]]
        middle = median([quality for quality in qualities if quality is not None] or [1.0])

        def score(e: Estimate, quality: float | None) -> float:
            lacking = max(0.0, 1 - (middle if quality is None else quality))
            paid = self.shadow_price(e) * (e.cost_usd or 0.0)  # its price is known, or it would not be here
            return self.second_usd * e.latency_s + self.quality_usd * lacking + paid

        scores = {e.candidate_id: score(e, quality) for e, quality in zip(slate[0], qualities, strict=True)}

        def because(first: Estimate, second: Estimate) -> str:
            mine, other = apart(dollars, scores[first.candidate_id], scores[second.candidate_id])
            tie = f", first by {tie_break(first, second)}" if mine == other else ""
            paced = next((e for e in (first, second) if e.pacing is not None), first)
            best = f"{first.candidate_id} costs least in all, {mine} against {other} ({second.candidate_id}){tie}"
            return f"{best}: expected {figures(first)}, {self._pace(paced)}."

        return conclude(self, slate, scores, constraints.order, because)

    def shadow_price(self, e: Estimate) -> float:
        """How many dollars' worth a candidate's dollar must buy; 1 or more."""
        if e.near or e.pacing is None:
            return 1.0
        ahead = self.gain * (e.pacing.spent - e.pacing.elapsed)
        return exp(min(STEEPEST, ahead)) if ahead > 0 else 1.0

    def _pace(self, e: Estimate) -> str:
        if e.pacing is None:
            return "and no daily budget is concerned"
        spent, elapsed = f"{e.pacing.spent:.0%}", f"{e.pacing.elapsed:.0%}"
        price = significant(self.shadow_price(e))
        return f"and a dollar counts {price} times with {spent} of the day's money spent in {elapsed} of the day"
