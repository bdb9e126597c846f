"""Does a size grow? Slopes with their 95 % intervals."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Two-sided 95 % quantiles of Student's t by degrees of freedom; above the last the normal's.
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 8: 2.31, 10: 2.23, 12: 2.18, 15: 2.13, 20: 2.09, 30: 2.04}

Points = list[tuple[float, float]]


def fitted(series: Sequence[Points]) -> dict[str, float] | None:
    """Bytes a minute that several series have in common, each at a level of its own; None where nothing can be said.

    Points are minutes and bytes. Least squares with an intercept for each series.
    """
    xs, ys = [], []
    for points in series:
        (x_mean, y_mean) = (statistics.fmean(values) for values in zip(*points, strict=True))
        xs += [x - x_mean for x, _ in points]
        ys += [y - y_mean for _, y in points]
    free, spread = len(xs) - len(series) - 1, sum(x * x for x in xs)
    if free < 1 or not spread:
        return None
    slope = sum(x * y for x, y in zip(xs, ys, strict=True)) / spread
    residual = sum((y - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    error = math.sqrt(residual / free / spread)
    t = next((value for degrees, value in sorted(T95.items(), reverse=True) if degrees <= free), T95[1])
    return {"bytes_per_minute": slope, "low": slope - t * error, "high": slope + t * error, "points": len(xs)}
