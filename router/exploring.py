"""Where a decision is left to chance: the last step before a plan, after everything else that reorders a ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from backends.types import Task
from policies.exploration import Explorer

if TYPE_CHECKING:
    from collections.abc import Container

    from policies.base import Policy
    from policies.types import Constraints, Decision, Estimate
    from router.slate import Candidate


class Given(NamedTuple):
    """What a decision was made of: the candidates, what is expected of each, and the limits."""

    candidates: list[Candidate]
    estimates: list[Estimate]
    constraints: Constraints


def explorer(policy: Policy, epsilon: float) -> Policy:
    """The policy with a share of its decisions left to chance; itself where that is none."""
    return Explorer(policy, epsilon) if epsilon > 0 else policy


def unexplored(policy: Policy) -> Policy:
    """The policy without what is left to chance."""
    return policy.policy if isinstance(policy, Explorer) else policy


def explored(
    policy: Policy, decision: Decision, slate: Given, draw: float | None, among: Container[str] | None = None
) -> Decision:
    """The decision as chance has it, where `policy` explores; None draws nothing, and only says the propensities.

    An alias' fallbacks are never put first by chance: they are for when all others failed. Neither is another vector
    space, whose vectors cannot be compared with those that the sender has; and nobody outside `among`, where that is
    given: a session that keeps its model is explored among that model's candidates alone. Where an answer is at hand
    and goes first, there is nothing to be learnt; and where it does not, chance does not put it there.
    """
    if not isinstance(policy, Explorer):
        return decision
    if not decision.ranked:  # nobody is put first: still, a share of such decisions would have been explored
        return policy.explore(decision, slate.estimates, slate.constraints, None)
    by_id = {candidate.id: candidate for candidate in slate.candidates}
    favourite = by_id[decision.ranked[0]]

    def alike(candidate: Candidate) -> bool:
        embeds = candidate.target.task is Task.FEATURE_EXTRACTION
        return not embeds or candidate.vector_space == favourite.vector_space

    may = {
        candidate.id
        for candidate in slate.candidates
        if candidate.fallback == 0 and alike(candidate) and not (candidate.cached or favourite.cached)
    }
    allowed = may if among is None else {name for name in may if name in among}
    return policy.explore(decision, slate.estimates, slate.constraints, draw, allowed)
