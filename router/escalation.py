"""What becomes of a near answer that its model is not sure of: it is kept while a far candidate is asked.

Nothing of it goes out before it is judged. A far candidate's answer takes its place; where none answers, the near one
is given after all. Asks nobody itself.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from policies.base import known

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backends.types import Piece
    from router.judgement import Judgement
    from router.outcome import Answered, Attempt
    from router.runs import Run
    from router.slate import Candidate, Plan


class Escalation:
    """The cascade of one request.

    Attributes:
        kept: The near answer and the run it came from, once another one is wanted.
        held: The pieces of it that have not gone out.
    """

    def __init__(self, plan: Plan, judgement: Judgement) -> None:
        self.kept: tuple[Run, Answered] | None = None
        self.held: list[Piece] = []
        self._plan = plan
        self._judgement = judgement

    def watches(self, candidate: Candidate, others: Iterable[Candidate], left_s: float) -> bool:
        """Whether an answer of this candidate is judged before it goes out: one of `others` may know better."""
        if self._plan.decision.escalate_below is None or not candidate.near or self.kept is not None:
            return False
        judged = self._plan.estimate(candidate.id).accept_from is not None
        return judged and any(self._betters(other, candidate, left_s) for other in others)

    def unsure(self, attempt: Attempt) -> bool:
        """Whether another answer is wanted beside this attempt's."""
        accept_from = self._plan.estimate(attempt.candidate_id).accept_from
        return accept_from is not None and self._judgement.unsure(accept_from, attempt.confidence)

    def keep(self, run: Run, answered: Answered, held: list[Piece]) -> None:
        """Keep an answer, and what has not gone out of it, while others are asked."""
        self.kept, self.held = (run, answered), held

    def wants(self, candidate: Candidate, left_s: float) -> bool:
        """Whether the candidate may know better than the near one whose answer is kept."""
        return self.kept is not None and self._betters(candidate, self.kept[0].candidate, left_s)

    def note(self, winner: Attempt | None, *, asked: bool) -> str:
        """What became of it, for people; empty where no answer was kept. `asked`: somebody else was, too."""
        if self.kept is None or winner is None:
            return ""
        run, answered = self.kept
        near = answered.attempt
        sure = "unknown" if near.confidence is None else f"{near.confidence:.2f}"
        below = f"{run.candidate.id} answered with a confidence of {sure}, {self._wanted(run.candidate)}"
        if winner is near:
            why = "no far candidate answered" if asked else "none could be asked"
            return f"{below}; as {why}, its answer is given after all."
        return f"{below}: {winner.candidate_id} was asked as well, and answered."

    def _betters(self, candidate: Candidate, near: Candidate, left_s: float) -> bool:
        """Whether it may know better: far, another model, in time, and not known to be no better."""
        if candidate.near:
            return False
        mine, theirs = (self._plan.estimate(each.id) for each in (near, candidate))
        own, other = known(mine.quality), known(theirs.quality)
        no_better = own is not None and other is not None and other <= own
        return candidate.listed_as != near.listed_as and not no_better and theirs.latency_s < left_s

    def _wanted(self, near: Candidate) -> str:
        accept_from = self._plan.estimate(near.id).accept_from
        return f"not {accept_from:.2f}" if accept_from is not None and isfinite(accept_from) else "and none is enough"
