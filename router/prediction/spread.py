"""Quantiles around a prediction, kept calibrated online. Knows no candidate and no clock.

Kept are the last scores: log(what was observed / what was predicted), each against the prediction that was made before.
A quantile is the prediction times that of the scores, at a level that adaptive conformal inference moves (Gibbs and
Candes, "Adaptive Conformal Inference Under Distribution Shift", 2021, arXiv:2106.00193): after each observation the
share left above it changes by gain * (promised share - missed), so that the share of misses tends to what was promised
however the process changes.
Where the window is too short for a level, the tail is Pareto's, fitted by Hill's estimator (1975) to the upper scores.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Quantiles

TAILS = (0.1, 0.05, 0.01)  # of p90, p95 and p99
GAINS = (0.01, 0.01, 0.005)
WINDOW = 300
MIDDLE_WINDOW = 100  # of the median, which needs fewer and should follow faster
RESOLVED = 4  # scores above a quantile that say where it is; with fewer it is extrapolated
UPPER, LEAST_UPPER = 0.2, 5  # share of the scores that the tail is fitted to
LEAST_TAIL = 1e-4
FARTHEST = 20.0  # scores, in the logarithm
BEYOND = 1.0  # likewise: how far past the highest score a quantile may be extrapolated
# What is assumed before enough was seen: normal scores of a spread of 0.5, that give way one by one.
ASSUMED = tuple(0.5 * z for z in (-1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28, 1.64))
TRUSTED = 10  # scores, from which on the middle is moved by them


class Spread(Struct, dict=True):
    """The scores of one candidate, and the levels of its quantiles.

    Attributes:
        scores: Oldest first.
        tails: What each quantile leaves above it at present, as the share of the scores.
        seen: Scores ever taken in.
        kept, told: How many observations had a predicted p95, and how many of them stayed below.
    """

    scores: list[float] = msgspec.field(default_factory=list)
    tails: list[float] = msgspec.field(default_factory=lambda: list(TAILS))
    seen: int = 0
    told: int = 0
    kept: int = 0

    def __post_init__(self) -> None:
        self._rank()

    def _rank(self) -> None:
        """Keep the scores, and the last of them, in order as well: every answer asks for it, and few change much."""
        self._ranked, self._recent = sorted(self.scores), sorted(self.scores[-MIDDLE_WINDOW:])

    def observe(self, score: float, seconds: float, promised: Quantiles | None) -> None:
        """Take in a score, and whether the quantiles that were promised kept their word."""
        if promised is not None:
            self.judge(seconds, promised)
        score = round(max(-FARTHEST, min(score, FARTHEST)), 4)
        if len(self.scores) >= MIDDLE_WINDOW:
            _remove(self._recent, self.scores[-MIDDLE_WINDOW])
        if len(self.scores) >= WINDOW:
            _remove(self._ranked, self.scores.pop(0))
        self.scores.append(score)
        insort(self._ranked, score)
        insort(self._recent, score)
        self.seen += 1

    def outlasted(self, score: float, seconds: float, promised: Quantiles | None) -> None:
        """Something took longer than this, and nobody knows how much.

        A quantile it outlasted was missed. As a score it counts for one of those above it, each in turn (Efron's
        redistribution to the right, 1967), else as it is; below the middle it says nothing, and counts for nothing.
        """
        if promised is not None and seconds > promised.p50_s:
            self._miss(seconds, promised)
        ranked = self._ranked
        above = bisect_right(ranked, score)
        if 2 * above < len(ranked):
            return
        if above < len(ranked):
            turn = (self.seen * 0.618034) % 1.0
            score = ranked[above + int(turn * (len(ranked) - above))]
        self.observe(score, seconds, None)

    def judge(self, seconds: float, promised: Quantiles) -> None:
        """Move the levels: down where a quantile was missed, up a little where it held."""
        self.told += 1
        self.kept += seconds <= promised.p95_s
        for index, limit_s in enumerate((promised.p90_s, promised.p95_s, promised.p99_s)):
            self._step(index, missed=seconds > limit_s)

    def _miss(self, seconds: float, promised: Quantiles) -> None:
        for index, limit_s in enumerate((promised.p90_s, promised.p95_s, promised.p99_s)):
            if seconds > limit_s:
                self._step(index, missed=True)
        if seconds > promised.p95_s:
            self.told += 1

    def _step(self, index: int, *, missed: bool) -> None:
        moved = self.tails[index] + GAINS[index] * (TAILS[index] - missed)
        self.tails[index] = max(-0.5, min(moved, 0.5))  # below 0 it is owed: the limit stays at its highest

    def moved(self, shift: float, since: int) -> None:
        """The prediction changed by `shift` because of the last `since` scores: against it they were smaller."""
        if since:
            self.scores[-since:] = [score - shift for score in self.scores[-since:]]
            self._rank()

    def offsets(self) -> tuple[float, float, float, float]:
        """The logarithms of what the prediction is multiplied by: for the median, p90, p95 and p99; they never fall."""
        recent = self._recent
        middle = 0.0
        if len(recent) >= TRUSTED:
            middle = (recent[(len(recent) - 1) // 2] + recent[len(recent) // 2]) / 2
        assumed = ASSUMED[len(self.scores) :]
        ranked = sorted([*self.scores, *assumed]) if assumed else self._ranked
        found = [middle]
        for tail in self.tails:
            found.append(max(found[-1], _upper(ranked, tail)))
        return found[0], found[1], found[2], found[3]


def _remove(ranked: list[float], score: float) -> None:
    del ranked[bisect_left(ranked, score)]


def _upper(ranked: Sequence[float], tail: float) -> float:
    """The score that this share of all lies above."""
    count = len(ranked)
    above = tail * (count + 1)
    if above >= RESOLVED:
        place = count - above
        low = min(int(place), count - 2)
        return ranked[low] + (place - low) * (ranked[low + 1] - ranked[low])
    upper = min(max(LEAST_UPPER, int(UPPER * count)), count - 1)
    base = ranked[-upper - 1]
    mean_excess = sum(ranked[-upper:]) / upper - base
    extrapolated = base + mean_excess * math.log(upper / (count * max(tail, LEAST_TAIL)))
    return min(extrapolated, ranked[-1] + BEYOND)
