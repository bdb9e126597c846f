"""What becomes of a near answer that its model is not sure of: it is kept while a far candidate is asked.

Nothing of it goes out before it is judged. A far candidate's answer takes its place; where none answers, the near one
is given after all. Asks nobody itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.base import known

if TYPE_CHECKING:
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

    def watches(self, candidate: Candidate) -> bool:
        """Whether an answer of this candidate is judged before it goes out."""
        return self._plan.decision.escalate_below is not None and candidate.near and self.kept is None

    def unsure(self, attempt: Attempt) -> bool:
        """Whether another answer is wanted beside this attempt's."""
        return self._judgement.unsure(self._plan.decision, attempt.confidence)

    def keep(self, run: Run, answered: Answered, held: list[Piece]) -> None:
        """Keep an answer, and what has not gone out of it, while others are asked."""
        self.kept, self.held = (run, answered), held

    def wants(self, candidate: Candidate, left_s: float) -> bool:
        """Whether the candidate may know better: far, another model, in time, and not known to be no better."""
        if self.kept is None or candidate.near:
            return False
        near = self.kept[0].candidate
        mine, theirs = (self._plan.estimate(each.id) for each in (near, candidate))
        own, other = known(mine.quality), known(theirs.quality)
        no_better = own is not None and other is not None and other <= own
        return candidate.listed_as != near.listed_as and not no_better and theirs.latency_s < left_s

    def note(self, winner: Attempt | None) -> str:
        """What became of it, for people; empty where no answer was kept."""
        if self.kept is None or winner is None:
            return ""
        run, answered = self.kept
        near = answered.attempt
        sure = "unknown" if near.confidence is None else f"{near.confidence:.2f}"
        below = f"{run.candidate.id} answered with a confidence of {sure}, not {self._wanted()}"
        if winner is near:
            return f"{below}; as no far candidate answered, its answer is given after all."
        return f"{below}: {winner.candidate_id} was asked as well, and answered."

    def _wanted(self) -> str:
        return f"{self._plan.decision.escalate_below or 0.0:.2f}"
