"""95 % intervals of one candidate's figures, for trials that are not independent. Numbers in, bounds out.

Trials of one input are alike, and so are trials that ran one after the other: a hundred of them can weigh as little as
twenty. So each figure's variance is taken twice, by leaving out one input at a time and by leaving out one of twenty
stretches of time at a time, and added up less what both count (two-way clusters: Cameron, Gelbach and Miller 2011).

* Quantiles: from one order statistic to another (Thompson 1936; between two by interpolation, Nyblom 1992), at the
  number of independent trials that has the same variance of the share below the quantile (Woodruff 1952; Korn and
  Graubard 1998). Where not so many trials reach beyond it, there is no end: p99 of 30 trials has no upper one.
* Means of money and of time: Student's t with inputs as what is independent, freed of their skewness by Hall's
  transformation (1992): a few slow requests push a mean up, and its interval with it. Where one in 25 requests stalls
  for up to twenty times as long, and none or a few of them are among a hundred, no interval of these can tell how many
  there will be: it then holds in 91 to 94 of 100 runs (simulated), bootstraps too.
* Figures in 0..1: Wilson's, at the number of independent answers (`router.replay.intervals`).

Repeats of an input do not make more inputs of it, so that with fewer than `FEW_INPUTS` of them means have no interval.
"""

from __future__ import annotations

from math import copysign, exp, floor, inf, lgamma, log, sqrt
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from router.replay.intervals import LEVEL, Interval, by_cluster, mean_of, share, t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.replay.intervals import Sums

STRETCHES = 20
FEW_INPUTS = 5
"""With fewer inputs than that nothing is said of others: the figures hold for these inputs, at other times."""


class Bounds(Struct, frozen=True):
    """A figure and its 95 % interval; an end is None where so few trials do not show one."""

    value: float
    low: float | None = None
    high: float | None = None


class Sample(NamedTuple):
    """A candidate's values in the order in which they came, and the input of each."""

    values: Sequence[float]
    inputs: Sequence[int]


def quantile(values: Sequence[float], p: float) -> float:
    """The p-quantile by linear interpolation (Hyndman and Fan's definition 7, numpy's default)."""
    ordered = sorted(values)
    return _between(ordered, (len(ordered) - 1) * p)


def quantile_bounds(sample: Sample, p: float) -> Bounds:
    """A quantile between the order statistics that enclose it."""
    ordered = sorted(sample.values)
    value = quantile(ordered, p)
    n = len(ordered)
    m = max(1, round(effective(sample, value, p)))
    ranks = [_rank(m, p, probability) for probability in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)]
    ends = [rank * (n + 1) / (m + 1) - 1 if 1 <= rank <= m else None for rank in ranks]
    low, high = (None if end is None else _between(ordered, min(end, n - 1)) for end in ends)
    return Bounds(value, low, high)


def effective(sample: Sample, value: float, p: float) -> float:
    """How many independent trials would tell the share at or below `value` as well as these do."""
    n = len(sample.values)
    stretches, inputs = min(STRETCHES, n // 2), len(set(sample.inputs))
    if stretches < 2:
        return n
    below, alone = [float(one <= value) for one in sample.values], p * (1 - p) / n
    parts = [_variance([at * stretches // n for at in range(n)], below)]
    if FEW_INPUTS <= inputs < n:
        parts.append(_variance(sample.inputs, below))
    together = sum(variance for variance, _ in parts) - (len(parts) - 1) * alone
    if together <= alone:
        return n
    dof = min(dof for _, dof in parts)
    return alone / together * n * (t_quantile(0.975, inf) / t_quantile(0.975, dof)) ** 2


def mean_bounds(sample: Sample) -> Bounds:
    """A mean of what has no upper limit and is never below 0."""
    groups = by_cluster(sample.inputs, (sample.values, [1.0] * len(sample.values)))
    if len(groups) < FEW_INPUTS:
        return Bounds(mean_of(groups)[0])
    found = skewed(groups)
    return Bounds(found.estimate, max(0.0, found.low), found.high)


def skewed(groups: Sequence[Sums]) -> Interval:
    """The mean of (total, count) pairs, whose distribution need not be symmetric."""
    value, error = mean_of(groups)
    off = [total - value * count for total, count in groups]
    square = fmean(one * one for one in off)
    skewness = fmean(one**3 for one in off) / square**1.5 if square else 0.0
    bend, t = skewness / sqrt(len(groups)), t_quantile(0.975, len(groups) - 1)
    return Interval(value, value - error * _unbent(t, bend), value - error * _unbent(-t, bend))


def _unbent(t: float, bend: float) -> float:
    """The studentised mean that Hall's cubic makes this t of."""
    if abs(bend) < 1e-6:
        return t
    inside = 1 + bend * (t - bend / 6)
    return 3 / bend * (copysign(abs(inside) ** (1 / 3), inside) - 1)


def share_bounds(sample: Sample, *, as_many: int | None = None) -> Bounds:
    """A mean of figures in 0..1; where all are the same, as uncertain as so many independent ones (default: inputs)."""
    groups = by_cluster(sample.inputs, (sample.values, [1.0] * len(sample.values)))
    value, error = mean_of(groups)
    if len(groups) < FEW_INPUTS:
        return Bounds(value)
    return Bounds(*share(value, error, len(groups) - 1, as_many or len(groups)))


def _variance(clusters: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """The variance of a mean of clusters, and the degrees of freedom that it is known with (Satterthwaite's).

    Where a few clusters make most of it, as in a tail, it is not known as well as their number says.
    """
    groups = by_cluster(clusters, (values, [1.0] * len(values)))
    value, error = mean_of(groups)
    squares = [(total - value * count) ** 2 for total, count in groups]
    fourth = fmean(one * one for one in squares)
    peaked = fourth / fmean(squares) ** 2 if fourth else 3.0
    return error**2, min(len(groups) - 1.0, 2 * len(groups) / max(peaked - 1, 0.1))


def _rank(m: int, p: float, probability: float) -> float:
    """Which of m ordered independent values lies above the p-quantile with this probability; whole numbers are values.

    Below 1 and above m there is none.
    """
    below = 0.0
    for k in range(m + 1):
        here = exp(lgamma(m + 1) - lgamma(k + 1) - lgamma(m - k + 1) + k * log(p) + (m - k) * log(1 - p))
        if below + here >= probability:
            return k + (probability - below) / here
        below += here
    return m + 1.0


def _between(ordered: Sequence[float], place: float) -> float:
    """The value at a place counted from 0, by interpolation."""
    at = min(max(0, floor(place)), len(ordered) - 1)
    following = ordered[min(at + 1, len(ordered) - 1)]
    return ordered[at] + (following - ordered[at]) * (place - at) if following > ordered[at] else ordered[at]
