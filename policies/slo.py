"""`slo`: the cheapest candidate that answers in time with the chance asked for.

    in time:  P(an answer by the deadline) >= target          (`policies.chances`, `policies.rescue`)
    score  =  cost / (1 + cost)        for who reaches the target: 0..1, in the order of the costs
              1 + (1 - P)              for the others: 1..2, the likeliest first

Chance and cost are those of the candidate with whoever takes over where it is late: a cheap one that is late now and
then is not ruled out by that, and costs the other's price as often.

Where nobody reaches the target, whoever comes closest serves: a request is never refused for that. A chance constraint
on the deadline (Charnes & Cooper 1959, "Chance-constrained programming"), not a limit on the expected latency: the mean
says nothing of the one answer in twenty that comes late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.base import apart, conclude, dollars, seconds, tie_break, versioned
from policies.constraints import apply, unpriced
from policies.rescue import NOTE, chains

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.rescue import Chain
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
        return versioned("2", target=self.target)

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """Rank the eligible candidates whose price is known; without a deadline, everybody is in time."""
        slate = apply(estimates, constraints, unpriced)
        within_s = constraints.deadline_s
        found = chains(slate[0], constraints)

        def score(e: Estimate) -> float:
            chance, cost = found[e.candidate_id]
            return cost / (1 + cost) if chance >= self.target else 1 + (1 - chance)

        def because(first: Estimate, second: Estimate) -> str:
            return self._because(first, second, found, within_s) + (NOTE if constraints.gives_up else "")

        return conclude(self, slate, {e.candidate_id: score(e) for e in slate[0]}, constraints.order, because)

    def _because(self, first: Estimate, second: Estimate, found: dict[str, Chain], within_s: float | None) -> str:
        (mine, my_cost), (other, other_cost) = found[first.candidate_id], found[second.candidate_id]
        goal = "in time" if within_s is None else f"within {seconds(max(within_s, 0.0))}"
        if mine < self.target:
            best = f"{first.candidate_id} comes closest to {_percent(self.target)} {goal}, which nobody reaches"
            tie = f", first by {tie_break(first, second)}" if mine == other else ""
            closest, next_best = apart(_percent, mine, other)
            return f"{best}: {closest} against {next_best} ({second.candidate_id}){tie}."
        cost, dearer = apart(dollars, my_cost, other_cost)
        best = f"{first.candidate_id} is the cheapest that answers {goal} with {_percent(self.target)} or more"
        if other < self.target:
            return f"{best}: {cost} at {_percent(mine)}; {second.candidate_id} has {_percent(other)} ({dearer})."
        tie = f", first by {tie_break(first, second)}" if my_cost == other_cost else ""
        return f"{best}: {cost} at {_percent(mine)} against {dearer} ({second.candidate_id}){tie}."


def _percent(chance: float, digits: int = 3) -> str:
    """Never rounded up to certainty."""
    shown = f"{chance:.{digits - 2}%}"
    return f"over 99.{'9' * (digits - 2)}%" if chance < 1 and float(shown[:-1]) == 100 else shown
