"""Scores outputs as they come, and forgets them: what a reference said is kept until the run ends, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from router.compare.quality import score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.types import Output
    from router.compare.run import Metric, Trial

DIGITS = 6


class Scores:
    """The scores of one run. An output whose measure is the reference's waits for that, if it has to.

    Args:
        metric: By what; None scores nothing.
        reference: The candidate whose output is the measure where an input says none.
        expected: What each input says of a right answer.
    """

    def __init__(self, metric: Metric | None, reference: str | None, expected: Sequence[Any]) -> None:
        self._metric = metric
        self._reference = reference
        self._expected = expected
        self._said: dict[int, Output] = {}
        self._waiting: defaultdict[int, list[tuple[Trial, Output]]] = defaultdict(list)

    def of(self, trial: Trial, output: Output) -> list[Trial]:
        """The trials, this one or earlier ones, whose scores are known now."""
        if self._metric is None:
            return []
        right = self._expected[trial.input]
        if right is not None:
            return [replace(trial, score=_rounded(score(self._metric, output, right)))]
        found = []
        if trial.candidate == self._reference and trial.input not in self._said:
            self._said[trial.input] = output
            found = [self._measured(*one) for one in self._waiting.pop(trial.input, [])]
        if trial.input in self._said:
            return [*found, self._measured(trial, output)]
        if self._reference is not None:
            self._waiting[trial.input].append((trial, output))
        return found

    def _measured(self, trial: Trial, output: Output) -> Trial:
        if self._metric is None:
            return trial
        return replace(trial, score=_rounded(score(self._metric, output, self._said[trial.input])))


def _rounded(value: float | None) -> float | None:
    """What is left of a score where vectors are float32: the digits behind say which way a sum was rounded."""
    return None if value is None else round(value, DIGITS)
