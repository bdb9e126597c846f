"""95 % intervals of one candidate's figures, for trials that are not independent. Numbers in, bounds out.

Trials of one input are alike, and so are trials that ran one after the other: a hundred of them can weigh as little as
twenty. So each figure's variance is taken twice, by leaving out one input at a time and by leaving out one of twenty
stretches of time at a time, and added up less what both count (two-way clusters: Cameron, Gelbach and Miller 2011).

* Quantiles: from one order statistic to another (Thompson 1936; between two by interpolation, Nyblom 1992), at the
  number of independent trials that has the same variance of the share below the quantile (Woodruff 1952; Korn and
  Graubard 1998). Where not so many trials reach beyond it, there is no end: p99 of 30 trials has no upper one.
* Means: Student's t with inputs as what is independent, and for figures in 0..1 Wilson's at the number of independent
  answers (both `router.replay.intervals`). Repeats of an input do not make more inputs of it, so that with fewer than
  `FEW_INPUTS` of them there is no interval.
"""

from __future__ import annotations

from math import exp, floor, inf, lgamma, log
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from router.replay.intervals import LEVEL, by_cluster, mean_of, share, student, t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    below = [float(one <= value) for one in sample.values]
    alone = p * (1 - p) / n
    stretches = min(STRETCHES, n // 2)
    if stretches < 2:
        return n
    by_time = _variance([at * stretches // n for at in range(n)], below)
    parts, dof = [by_time], stretches - 1
    if FEW_INPUTS <= len(set(sample.inputs)) < n:
        parts.append(_variance(sample.inputs, below))
        dof = min(dof, len(set(sample.inputs)) - 1)
    together = sum(parts) - (len(parts) - 1) * alone
    if together <= alone:
        return n
    return alone / together * n * (t_quantile(0.975, inf) / t_quantile(0.975, dof)) ** 2


def mean_bounds(sample: Sample) -> Bounds:
    """A mean of what has no upper limit and is never below 0."""
    value, error, inputs = _mean(sample)
    if inputs < FEW_INPUTS:
        return Bounds(value)
    found = student(value, error, inputs - 1)
    return Bounds(value, max(0.0, found.low), found.high)


def share_bounds(sample: Sample, *, as_many: int | None = None) -> Bounds:
    """A mean of figures in 0..1; where all are the same, as uncertain as so many independent ones (default: inputs)."""
    value, error, inputs = _mean(sample)
    if inputs < FEW_INPUTS:
        return Bounds(value)
    return Bounds(*share(value, error, inputs - 1, as_many or inputs))


def _mean(sample: Sample) -> tuple[float, float, int]:
    groups = by_cluster(sample.inputs, (sample.values, [1.0] * len(sample.values)))
    return *mean_of(groups), len(groups)


def _variance(clusters: Sequence[int], values: Sequence[float]) -> float:
    return mean_of(by_cluster(clusters, (values, [1.0] * len(values))))[1] ** 2


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
