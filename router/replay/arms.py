"""What each candidate's answers are like, learnt from those that were given: the direct model of doubly robust figures.

A straight line per candidate over what was predicted of it, fitted on the other folds (cross-fitting, Chernozhukov et
al. 2018), so that no request is judged by a model that has seen it. Folds go by cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDS = 5
_PRIOR = 2.0  # as many answers of no candidate in particular stand behind each candidate's own
_STEADY = 10  # answers before a slope is believed

Answer = tuple[int, str, float | None, float]
"""Cluster, candidate, what was predicted of it (None: nothing), and what came."""


class Arms:
    """Means and slopes per candidate and fold."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        sums: dict[tuple[str, int], list[float]] = {}
        everything = [[0.0, 0.0] for _ in range(FOLDS)]
        self._low, self._high = float("inf"), float("-inf")
        for cluster, arm, predicted, value in answers:
            fold = cluster % FOLDS
            x = 0.0 if predicted is None else predicted
            kept = sums.setdefault((arm, fold), [0.0] * 5)
            for n, part in enumerate((1.0, x, value, x * x, x * value)):
                kept[n] += part
            everything[fold][0] += 1
            everything[fold][1] += value
            self._low, self._high = min(self._low, value), max(self._high, value)
        count, total = (sum(column) for column in zip(*everything, strict=True))
        self._overall = [(total - t) / (count - n) if count > n else 0.0 for n, t in everything]
        self._lines = {
            (arm, fold): self._line(sums, arm, fold) for arm in {arm for arm, _ in sums} for fold in range(FOLDS)
        }

    def expect(self, cluster: int, arm: str, predicted: float | None) -> float:
        """What this candidate's answer is expected to be, by all folds but this request's own."""
        fold = cluster % FOLDS
        line = self._lines.get((arm, fold))
        if line is None:
            return self._overall[fold]
        mean_x, mean_y, slope = line
        value = mean_y if predicted is None else mean_y + slope * (predicted - mean_x)
        return min(self._high, max(self._low, value))

    def _line(self, sums: dict[tuple[str, int], list[float]], arm: str, out: int) -> tuple[float, float, float]:
        others = [kept for (name, fold), kept in sums.items() if name == arm and fold != out]
        n, x, y, xx, xy = (sum(column) for column in zip(*others, strict=True)) if others else (0.0,) * 5
        mean_y = (y + _PRIOR * self._overall[out]) / (n + _PRIOR)
        if n < _STEADY:
            return x / n if n else 0.0, mean_y, 0.0
        mean_x = x / n
        spread = xx - n * mean_x * mean_x
        slope = (xy - mean_x * y) / spread if spread > 1e-9 * xx else 0.0
        return mean_x, mean_y, slope
