"""How likely a candidate is to answer in time: plain arithmetic on its predicted quantiles."""

from __future__ import annotations

from bisect import bisect_right
from math import log
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.types import Estimate, Quantiles

NORMAL = NormalDist()
Z = tuple(NORMAL.inv_cdf(p) for p in (0.5, 0.9, 0.95, 0.99))
PRIOR_SPREAD = 1.0
"""Standard deviation of ln(latency) where nothing was ever observed: one answer in twenty takes over five times as long
as expected. A choice on the careful side, not a measurement: whoever is unknown has to be expected well within time."""
LEAST_S = 1e-9  # what a duration of 0 counts as: its logarithm must exist


def chance_within(e: Estimate, within_s: float) -> float:
    """P(total latency <= `within_s`), in 0..1; rises with `within_s`.

    Between two predicted quantiles, ln(latency) is interpolated over the normal deviate of the probability: a latency
    is log-normal piece by piece, which keeps a heavy tail heavy (on log-normal tails of transfer times: Downey 2001,
    "Evidence for long-tailed distributions in the internet"). Below the median the piece from p50 to p90 goes on; above
    p99 that from p95 to p99. Quantiles that coincide are a step.

    Without quantiles, log-normal around `latency_s` with `PRIOR_SPREAD`.
    """
    if within_s <= 0:
        return 0.0
    x = log(max(within_s, LEAST_S))
    if e.latency is None:
        return NORMAL.cdf((x - log(max(e.latency_s, LEAST_S))) / PRIOR_SPREAD)
    return _interpolated(e.latency, x)


def _interpolated(latency: Quantiles, x: float) -> float:
    points = (latency.p50_s, latency.p90_s, latency.p95_s, latency.p99_s)
    at = [log(max(point, LEAST_S)) for point in points]
    i = min(max(bisect_right(at, x), 1), len(at) - 1)  # the piece that begins at i - 1
    low, high = at[i - 1], at[i]
    if low == high:  # a step: x is below all of it, or above
        return 0.0 if x < low else 1.0
    return NORMAL.cdf(Z[i - 1] + (x - low) * (Z[i] - Z[i - 1]) / (high - low))
