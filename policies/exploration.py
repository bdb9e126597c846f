"""Exploration: now and then chance puts another eligible candidate first, with a probability that the log knows.

Of `k` arms each gets probability epsilon / k, and the policy's own favourite 1 - epsilon on top (epsilon-greedy; the
floor is what keeps the weights of inverse propensity scoring bounded by k / epsilon). Which one goes first is the
inverse of their cumulative distribution at a draw that is given, in the order of their ids: the draw and the
propensities reproduce the choice, and nothing else is needed for it.

Arms are candidates of the policy's own ranking, so no hard limit, price cap, budget or wish for privacy is crossed. Not
all of them: whoever the sender put behind others with `order`, is expected to answer too late, or is not in `among` (an
alias' fallback, another model than the session's) is never put first by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from policies.base import placed, significant, versioned
from policies.constraints import too_late

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from policies.base import Policy
    from policies.types import Constraints, Decision, Estimate


@dataclass(frozen=True, slots=True)
class Explorer:
    """Any policy, with a share of its decisions left to chance.

    Whatever reorders a ranking after a policy must do so before `explore`, or the propensities are not those of the
    choice that is made.

    Attributes:
        policy: Whose favourite goes first otherwise.
        epsilon: The share, in 0..1.
        draw: What chance says to `decide`, in 0 (included) .. 1 (excluded); None leaves the favourite in its place, and
            says with what probability each would have been chosen.

    Raises:
        ValueError: `epsilon` or `draw` is outside its range.
    """

    policy: Policy
    epsilon: float
    draw: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"the share of exploration must be in 0..1, but is {self.epsilon}")
        if self.draw is not None:
            _check(self.draw)

    @property
    def name(self) -> str:
        """The policy's own."""
        return self.policy.name

    @property
    def version(self) -> str:
        """The policy's own, and this code's with its share: what is compared must agree in both."""
        return f"{self.policy.version}+explored-{versioned('1', epsilon=self.epsilon)}"

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """The policy's decision, explored at `draw`."""
        return self.explore(self.policy.decide(estimates, constraints), estimates, constraints, self.draw)

    def explore(
        self,
        decision: Decision,
        estimates: Sequence[Estimate],
        constraints: Constraints,
        draw: float | None,
        among: Container[str] | None = None,
    ) -> Decision:
        """The decision with the candidate first that the draw says, and the propensities of all.

        Args:
            decision: After everything else that reorders it.
            estimates: What it was made of.
            constraints: The limits it was made under.
            draw: As in the class; None where nothing is to be left to chance.
            among: Who may be put first by chance; None for whoever else may.

        Raises:
            ValueError: `draw` is outside its range.
        """
        decision = decision._replace(
            version=self.version, explore_rate=self.epsilon, draw=None, explored=False, propensities={}
        )  # what was said before the last reordering is no longer true
        by_id = {e.candidate_id: e for e in estimates}
        arms = _arms([by_id[name] for name in decision.ranked], constraints, among)
        if len(arms) < 2:
            return decision
        favourite = decision.ranked[0]
        each = self.epsilon / len(arms)
        odds = {name: each if name in arms else 0.0 for name in decision.ranked}
        odds[favourite] += 1 - self.epsilon
        chosen = favourite if draw is None else chosen_at(draw, odds)
        return decision._replace(
            ranked=(chosen, *(name for name in decision.ranked if name != chosen)),
            reason=decision.reason if chosen == favourite else self._chance(chosen, odds[chosen], decision),
            draw=draw,
            explored=chosen != favourite,
            propensities=odds,
        )

    def _chance(self, chosen: str, probability: float, decision: Decision) -> str:
        share, percent = significant(100 * self.epsilon), significant(100 * probability)
        return (
            f"Chance put {chosen} first, to learn what it does: {share} % of decisions explore, and this one had a "
            f"probability of {percent} %. Without chance: {decision.reason}"
        )


def chosen_at(draw: float, propensities: dict[str, float]) -> str:
    """Whom the draw puts first. A logged choice is checked with it.

    Raises:
        ValueError: nobody has a propensity above 0, or `draw` is outside its range.
    """
    _check(draw)
    names = sorted(name for name, odds in propensities.items() if odds > 0)
    if not names:
        raise ValueError("nobody has a propensity above 0")
    bounds = accumulate(propensities[name] for name in names)
    # Rounding may leave the last bound a hair below 1.
    return next((name for name, bound in zip(names, bounds, strict=True) if draw < bound), names[-1])


def _arms(ranked: Sequence[Estimate], constraints: Constraints, among: Container[str] | None) -> set[str]:
    """The favourite, and whoever may be put first in its place."""
    if not ranked:
        return set()
    favourite, *others = ranked
    place = placed(favourite, constraints.order)
    may = {
        e.candidate_id
        for e in others
        if (among is None or e.candidate_id in among)
        and placed(e, constraints.order) == place
        and not too_late(e, constraints)
    }
    return may | {favourite.candidate_id}


def _check(draw: float) -> None:
    if not 0 <= draw < 1:
        raise ValueError(f"a draw must be at least 0 and less than 1, but is {draw}")
