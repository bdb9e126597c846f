"""How long one request takes once its turn has come, learnt online from what others took. Knows no queue and no clock.

The prior says of what a duration is made (`router.priors`): something fixed, a part that grows with what is read, one
that grows with what is made. Each part has a factor, and the logarithms of the factors are the state of an extended
Kalman filter on log seconds, which is recursive least squares with a memory (Haykin, "Adaptive Filter Theory", ch. 10):
so every factor stays above 0, a larger request is never expected to be faster, and errors are relative. Innovations are
clipped (Huber, 1964) at `CLIP` times their usual size: a single outlier moves little, however far away it lies. A level
that changed is found by a two-sided CUSUM on them (Page, 1954) and taken over at once.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from router.priors import weighed

if TYPE_CHECKING:
    from router.priors import Parts

CLIP = 2.0
FIRST_SPREAD = 0.5  # in the logarithm: what is assumed of noise before any was seen
LEAST_SPREAD, MOST_SPREAD = 0.02, 3.0
SHAPE_VARIANCE = 1.0  # how far the prior's parts may be off among each other, in the logarithm, squared
MEASURED_VARIANCE = 0.05  # likewise where it was measured on purpose
LEVEL_DRIFT, SHAPE_DRIFT = 4e-4, 2e-5  # variance that comes back with each observation, in units of the noise
SLACK, ALARM, MOST_STEP = 0.5, 9.0, 3.0  # of the CUSUM, in units of the usual error
LEAST_AFTER = 5  # observations that a new level is taken from
RECENT = 64
FIT_ROUNDS = 30
FARTHEST = 40.0  # in the logarithm
_OUTSIDE = 0.3173  # share of a normal distribution outside one standard deviation


class Change(Struct, frozen=True):
    """The level moved by `shift` (in the logarithm), `since` that many observations."""

    shift: float
    since: int


class ServiceModel(Struct):
    """The filter of one candidate.

    Attributes:
        logs: The logarithm of each part's factor.
        variances: Their covariance, row by row.
        spread: The usual error: two thirds of all are smaller.
        seen: Observations taken in.
        recent: The last errors, oldest first.
        rising, falling: The two sums of the CUSUM, and how many observations they stand for.
    """

    logs: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0])
    variances: list[float] = msgspec.field(default_factory=lambda: [0.0] * 9)
    spread: float = FIRST_SPREAD
    seen: int = 0
    recent: list[float] = msgspec.field(default_factory=list)
    rising: tuple[float, int] = (0.0, 0)
    falling: tuple[float, int] = (0.0, 0)

    def factors(self) -> Parts:
        """What each part is multiplied by."""
        a, b, c = self.logs
        return math.exp(a), math.exp(b), math.exp(c)

    def seconds(self, parts: Parts) -> float:
        """What a request of these parts should take."""
        return weighed(self.factors(), parts)

    def observe(self, parts: Parts, seconds: float) -> Change | None:
        """Take in how long a request took; the change, where that shows that the level is another one now."""
        error = math.log(seconds / self.seconds(parts))
        if self.seen == 0:  # a guess deserves no weight beside a fact
            self._begin(error)
            return None
        self.seen += 1
        self._correct(parts, max(-CLIP * self.spread, min(error, CLIP * self.spread)))
        change = self._changed(error)
        self._widen(error)
        self.recent = [*self.recent[1 - RECENT :], error]
        if change is not None:
            self._move(change.shift)
            self.recent = [*self.recent[: -change.since], *(e - change.shift for e in self.recent[-change.since :])]
        return change

    def fit(self, measured: list[tuple[Parts, float]]) -> None:
        """Begin with what was measured on purpose: one measurement is met exactly, several as well as can be."""
        self.logs, self.seen = [0.0, 0.0, 0.0], 0
        for number in range(FIT_ROUNDS):
            for parts, seconds in measured:
                error = math.log(seconds / self.seconds(parts))
                if self.seen == 0:
                    self._begin(error)
                elif len(measured) > 1:
                    self._correct(parts, error, noise=0.1 + 1.0 / (1 + number))
        self._move(median(math.log(seconds / self.seconds(parts)) for parts, seconds in measured))
        self._begin(0.0, MEASURED_VARIANCE)

    def _begin(self, error: float, shape: float = SHAPE_VARIANCE) -> None:
        self._move(error)
        level = self.spread**2
        self.variances = [level + shape * (i == j) for i in range(3) for j in range(3)]
        self.seen = 1

    def _move(self, shift: float) -> None:
        self.logs = [max(-FARTHEST, min(log + shift, FARTHEST)) for log in self.logs]

    def _correct(self, parts: Parts, error: float, *, noise: float = 1.0) -> None:
        """One step of the filter. The gradient of log seconds is each part's share of them: together they are 1."""
        usual = (noise * self.spread) ** 2
        factors = self.factors()
        whole = weighed(factors, parts)
        p0, p1, p2 = factors[0] * parts[0] / whole, factors[1] * parts[1] / whole, factors[2] * parts[2] / whole
        level, shape = LEVEL_DRIFT * usual, SHAPE_DRIFT * usual
        v = [known + level for known in self.variances]
        for i in (0, 4, 8):
            v[i] = min(v[i] + shape, 4 * SHAPE_VARIANCE)
        g0 = v[0] * p0 + v[1] * p1 + v[2] * p2
        g1 = v[3] * p0 + v[4] * p1 + v[5] * p2
        g2 = v[6] * p0 + v[7] * p1 + v[8] * p2
        total = g0 * p0 + g1 * p1 + g2 * p2 + usual
        gains = (g0, g1, g2)
        self.logs = [
            max(-FARTHEST, min(log + gain * error / total, FARTHEST))
            for log, gain in zip(self.logs, gains, strict=True)
        ]
        self.variances = [v[3 * i + j] - gains[i] * gains[j] / total for i in range(3) for j in range(3)]

    def _widen(self, error: float) -> None:
        """Follow the size that two thirds of the errors stay below: a quantile, so that no single one is too large."""
        step = max(0.05, min(0.4, 4 / self.seen))
        up = abs(error) > self.spread
        self.spread *= math.exp(step * (up - _OUTSIDE))
        self.spread = max(LEAST_SPREAD, min(self.spread, MOST_SPREAD))

    def _changed(self, error: float) -> Change | None:
        """The CUSUM's step. The shift is that of the median, before and after; both sums begin anew."""
        step = max(-MOST_STEP, min(error / self.spread, MOST_STEP))
        self.rising, self.falling = _summed(self.rising, step), _summed(self.falling, -step)
        total, since = max(self.rising, self.falling)
        if total < ALARM or since < LEAST_AFTER:
            return None
        errors = [*self.recent, error]
        since = min(since, len(errors) - 1)
        self.rising = self.falling = (0.0, 0)
        before = errors[:-since]
        usual = median(before) if len(before) >= LEAST_AFTER else 0.0
        return Change(median(errors[-since:]) - usual, since)


def _summed(sum_since: tuple[float, int], step: float) -> tuple[float, int]:
    total = sum_since[0] + step - SLACK
    return (total, sum_since[1] + 1) if total > 0 else (0.0, 0)
