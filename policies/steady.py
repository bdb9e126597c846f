"""Steadiness: a blip does not move a choice, and a session keeps its model. Pure steps on a decision that was made.

Both reorder what is eligible, and add nobody. A decision in which chance had a say is left as it is: its propensities
hold for the order that was drawn. So whatever explores comes behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from policies.base import Policy
    from policies.types import Constraints, Decision, Estimate


@dataclass(frozen=True, slots=True)
class Steady:
    """A policy with hysteresis around it: whoever was first the last time stays so unless another is clearly better.

    Attributes:
        policy: Whose decision it is, by name and version.
        incumbent: The candidate that was first the last time; None when nobody was.
        margin: How much better another one must be, as a share of the incumbent's score; 0 switches hysteresis off.
    """

    policy: Policy
    incumbent: str | None
    margin: float

    @property
    def name(self) -> str:
        """The policy's own."""
        return self.policy.name

    @property
    def version(self) -> str:
        """The policy's own: what was put first the last time is no parameter."""
        return self.policy.version

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """The policy's decision, held at the incumbent where the request did not order its providers itself."""
        decision = self.policy.decide(estimates, constraints)
        return decision if constraints.order else held(decision, self.incumbent, self.margin, estimates)


def held(decision: Decision, incumbent: str | None, margin: float, estimates: Sequence[Estimate]) -> Decision:
    """Put the incumbent first where the best is better than it by no more than `margin` of the incumbent's score.

    Only where the policy's scores are comparable (`Decision.scale`), and never across groups. What a request loses by
    it is at most `margin` of its score: estimates are no more exact than that. Where both have the same score, the
    faster one goes first: then the same is asked of their latencies, in seconds.
    """
    ranked = decision.ranked
    if margin <= 0 or decision.draw is not None or incumbent not in ranked or incumbent == ranked[0]:
        return decision
    best, mine = _comparable(decision, ranked[0]), _comparable(decision, incumbent)
    if best is None or mine is None or best[0] != mine[0] or not (1 - margin) * mine[1] <= best[1] <= mine[1]:
        return decision
    if best == mine:
        latencies = {e.candidate_id: e.latency_s for e in estimates}
        if latencies[ranked[0]] < (1 - margin) * latencies[incumbent]:
            return decision
    stays = f"{incumbent} was first before and stays so: {ranked[0]} is better by {margin:.0%} or less."
    return _first(decision, {incumbent}, stays)


def kept(decision: Decision, candidates: Collection[str], model: str) -> Decision:
    """Put the candidates of a session's model first, in the policy's order, where one of them is eligible."""
    ranked = decision.ranked
    if decision.draw is not None or not ranked or ranked[0] in candidates or not set(candidates) & set(ranked):
        return decision
    return _first(decision, candidates, f"The session keeps its model, {model}.")


def _first(decision: Decision, candidates: Collection[str], why: str) -> Decision:
    ranked = sorted(decision.ranked, key=lambda candidate_id: candidate_id not in candidates)
    return decision._replace(ranked=tuple(ranked), reason=f"{decision.reason} {why}")


def _comparable(decision: Decision, candidate_id: str) -> tuple[int, float] | None:
    """A candidate's group, and its score within it on a scale on which half is twice as good."""
    score = decision.scores.get(candidate_id)
    if score is None or decision.scale is None:
        return None
    if decision.scale == "ratio":
        return 0, score
    part = score - floor(score)  # x / (1 + x) of what it stands for: seconds, dollars, odds
    return floor(score), part / (1 - part) if part < 1 else inf
