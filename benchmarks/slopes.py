"""Does a size grow? Slopes with their 95 % intervals: of a plain series, and of one that is a saw-tooth."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# Two-sided 95 % quantiles of Student's t by degrees of freedom; above the last the normal's.
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 8: 2.31, 10: 2.23, 12: 2.18, 15: 2.13, 20: 2.09, 30: 2.04}
WINDOW_S = 15.0  # quartiles of so long do not depend on each other; those of 10 s do (0.4 from one to the next)
SETTLES_S = 15.0  # after a checkpoint what DuckDB says it holds is seconds old
LEAST = 3  # windows of a tooth that say anything of its slope

Points = list[tuple[float, float]]


class Size(NamedTuple):
    """A process at one instant.

    Attributes:
        at_s: When.
        rest_bytes: What it holds in memory beside what DuckDB says it does.
        wal_bytes: What waits in DuckDB's write-ahead log for a checkpoint.
    """

    at_s: float
    rest_bytes: int
    wal_bytes: int


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


def within_teeth(sizes: Sequence[Size], warm_s: float) -> tuple[dict[str, float] | None, list[float]]:
    """Bytes a minute that remain with every request, and the level of each tooth: like is compared with like.

    A tooth ends when a checkpoint empties the write-ahead log. What is allocated for the first one stays with the
    allocators, so that the levels differ, once; what grows with requests grows within every tooth. Lower quartiles of
    windows: a settling of decisions takes a hundred megabytes, for seconds, on a busy machine for half a window.
    """
    width = min(WINDOW_S, sizes[-1].at_s / 20)
    series = [points for tooth in _teeth(sizes) if len(points := _quartiles(tooth, warm_s, width)) >= LEAST]
    return fitted(series), [statistics.fmean(size for _, size in points) for points in series]


def _teeth(sizes: Sequence[Size]) -> list[list[Size]]:
    """The sizes between checkpoints; without those just after one."""
    teeth: list[list[Size]] = [[]]
    since_s, before = -math.inf, 0
    for size in sizes:
        if size.wal_bytes < before / 2:
            teeth.append([])
            since_s = size.at_s
        before = size.wal_bytes
        if size.at_s >= since_s + SETTLES_S:
            teeth[-1].append(size)
    return teeth


def _quartiles(tooth: Sequence[Size], warm_s: float, width: float) -> Points:
    """Minutes and bytes, a point for each window that is full."""
    windows: dict[int, list[Size]] = {}
    for size in tooth:
        if size.at_s >= warm_s:
            windows.setdefault(int(size.at_s // width), []).append(size)
    most = max(map(len, windows.values()), default=0)
    return [
        (statistics.fmean(size.at_s for size in found) / 60, sorted(size.rest_bytes for size in found)[len(found) // 4])
        for found in windows.values()
        if 2 * len(found) >= most
    ]
