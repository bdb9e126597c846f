"""`slo`: the cheapest candidate that answers in time with the chance asked for.

    in time:  P(total latency <= deadline) >= target          (`policies.chances`)
    score  =  cost / (1 + cost)        for who reaches the target: 0..1, in the order of the costs
              1 + (1 - P)              for the others: 1..2, the likeliest first

Where nobody reaches the target, whoever comes closest serves: a request is never refused for that. A chance constraint
on the deadline (Charnes & Cooper 1959, "Chance-constrained programming"), not a limit on the expected latency: the mean
says nothing of the one answer in twenty that comes late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.base import apart, conclude, dollars, known, seconds, tie_break, versioned
from policies.chances import chance_within
from policies.constraints import apply, priced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Constraints, Decision, Estimate, Scale


@dataclass(frozen=True, slots=True)
class Slo:
    """Ranks those that keep the deadline with a chance of `target` by cost, then the others by their chance.

    Raises:
        ValueError: `target` is not above 0 and below 1: nobody is ever certain.
    """

    name: ClassVar[str] = "slo"
    scale: ClassVar[Scale] = "grouped"
    target: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise ValueError(f"the target of slo must lie between 0 and 1, but is {self.target}")

    @property
    def version(self) -> str:
        """Changes with `target`."""
        return versioned("1", target=self.target)

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """Rank the eligible candidates whose price is known; without a deadline, everybody is in time."""
        slate = priced(apply(estimates, constraints))
        within_s = constraints.deadline_s
        chances = {e.candidate_id: 1.0 if within_s is None else chance_within(e, within_s) for e in slate[0]}

        def score(e: Estimate) -> float:
            cost, chance = known(e.cost_usd) or 0.0, chances[e.candidate_id]
            return cost / (1 + cost) if chance >= self.target else 1 + (1 - chance)

        def because(first: Estimate, second: Estimate) -> str:
            return self._because(first, second, chances, within_s)

        return conclude(self, slate, {e.candidate_id: score(e) for e in slate[0]}, constraints.order, because)

    def _because(self, first: Estimate, second: Estimate, chances: dict[str, float], within_s: float | None) -> str:
        mine, other = chances[first.candidate_id], chances[second.candidate_id]
        goal = "in time" if within_s is None else f"within {seconds(max(within_s, 0.0))}"
        if mine < self.target:
            best = f"{first.candidate_id} comes closest to {_percent(self.target)} {goal}, which nobody reaches"
            tie = f", first by {tie_break(first, second)}" if mine == other else ""
            closest, next_best = apart(_percent, mine, other)
            return f"{best}: {closest} against {next_best} ({second.candidate_id}){tie}."
        cost, dearer = apart(dollars, known(first.cost_usd) or 0.0, known(second.cost_usd) or 0.0)
        best = f"{first.candidate_id} is the cheapest that answers {goal} with {_percent(self.target)} or more"
        if other < self.target:
            return f"{best}: {cost} at {_percent(mine)}; {second.candidate_id} has {_percent(other)} ({dearer})."
        tie = f", first by {tie_break(first, second)}" if first.cost_usd == second.cost_usd else ""
        return f"{best}: {cost} at {_percent(mine)} against {dearer} ({second.candidate_id}){tie}."


def _percent(chance: float, digits: int = 3) -> str:
    """Never rounded up to certainty."""
    shown = f"{chance:.{digits - 2}%}"
    return f"over 99.{'9' * (digits - 2)}%" if chance < 1 and float(shown[:-1]) == 100 else shown
