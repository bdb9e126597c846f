"""Intervals for means of requests that come in clusters. Arithmetic only: it knows no policy and no log.

* Standard errors by the jackknife over clusters: leave one out, see how far the figure moves (Efron & Stein 1981; for
  ratios and few clusters it errs on the wide side, where the linearised variance errs on the narrow one).
* Quantiles of Student's t, with the degrees of freedom that unequal weights leave (Satterthwaite's; Imbens & Kolesár
  2016, "Robust standard errors in small samples"): a thousand requests of which ten weigh anything are ten.
* Shares (0..1) by Wilson's interval (1927) at the number of independent requests that has the same standard error, as
  surveys do (Korn & Graubard 1998): no failure in 300 requests does not prove that there are none.
"""

from __future__ import annotations

from collections import defaultdict
from math import inf, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEVEL = 0.95
_NORMAL = NormalDist()


class Interval(NamedTuple):
    """A figure and what it lies between at the level."""

    estimate: float
    low: float
    high: float


Sums = tuple[float, ...]


def t_quantile(probability: float, dof: float) -> float:
    """Student's t by the Cornish-Fisher expansion (Abramowitz & Stegun 26.7.5): within 0.5 % from 5 degrees up."""
    z = _NORMAL.inv_cdf(probability)
    if dof == inf:
        return z
    dof = max(dof, 3.0)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / dof**n for n, term in enumerate(terms, start=1))


def by_cluster(clusters: Sequence[int], columns: Sequence[Sequence[float]]) -> list[Sums]:
    """The columns summed within each cluster: what the jackknife leaves out one at a time."""
    if len(set(clusters)) == len(clusters):
        return list(zip(*columns, strict=True))
    sums: defaultdict[int, list[float]] = defaultdict(lambda: [0.0] * len(columns))
    for cluster, *values in zip(clusters, *columns, strict=True):
        kept = sums[cluster]
        for n, value in enumerate(values):
            kept[n] += value
    return [tuple(kept) for kept in sums.values()]


def spread(left_out: Sequence[float]) -> float:
    """The jackknife's standard error of a figure, from what it is without each cluster; infinite where there is one."""
    count = len(left_out)
    if count < 2:
        return inf
    mean = sum(left_out) / count
    return sqrt((count - 1) / count * sum((one - mean) ** 2 for one in left_out))


def mean_of(groups: Sequence[Sums]) -> tuple[float, float]:
    """The mean of (total, count) pairs, and its standard error."""
    total, count = (sum(column) for column in zip(*groups, strict=True)) if groups else (0.0, 0.0)
    if not count:
        return 0.0, inf
    return total / count, spread([(total - t) / (count - c) if count > c else 0.0 for t, c in groups])


def dof_of(weights: Iterable[float]) -> float:
    """Degrees of freedom that these weights leave, one for each cluster."""
    squares = [weight * weight for weight in weights]
    fourth = sum(square * square for square in squares)
    return min(len(squares) - 1.0, sum(squares) ** 2 / fourth) if fourth else 1.0


def student(estimate: float, se: float, dof: float) -> Interval:
    """Estimate and interval of a figure without bounds."""
    half = max(t_quantile((1 + LEVEL) / 2, dof) * se, 1e-9 * abs(estimate))  # of equal values, what adding them lost
    return Interval(estimate, estimate - half, estimate + half)


def share(estimate: float, se: float, dof: float, ess: float) -> Interval:
    """Estimate and interval of a figure in 0..1; with no spread at all it is as uncertain as `ess` equal answers."""
    estimate = min(1.0, max(0.0, estimate))
    spread = estimate * (1 - estimate)
    n = spread / se**2 if se > 1e-9 and spread > 1e-12 else ess
    if se == inf or n < 1e-6:
        return Interval(estimate, 0.0, 1.0)
    t2 = t_quantile((1 + LEVEL) / 2, dof) ** 2
    centre = (estimate + t2 / (2 * n)) / (1 + t2 / n)
    half = sqrt(t2 * (spread / n + t2 / (4 * n * n))) / (1 + t2 / n)
    return Interval(estimate, max(0.0, min(estimate, centre - half)), min(1.0, max(estimate, centre + half)))
