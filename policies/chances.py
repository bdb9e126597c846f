"""How likely a candidate is to answer in time: plain arithmetic on its predicted quantiles."""

from __future__ import annotations

from bisect import bisect_right
from math import erfc, log, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.types import Estimate, Quantiles

P = (0.5, 0.9, 0.95, 0.99)
Z = tuple(NormalDist().inv_cdf(p) for p in P)
SQRT_HALF = sqrt(0.5)
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
    within_s = max(within_s, LEAST_S)
    if e.latency is None:
        return _cdf(log(within_s / max(e.latency_s, LEAST_S)) / PRIOR_SPREAD)
    return _interpolated(e.latency, within_s)


def _interpolated(latency: Quantiles, within_s: float) -> float:
    i = bisect_right(latency, within_s, 1, len(P) - 1)  # the piece that begins at i - 1
    low, high = max(latency[i - 1], LEAST_S), max(latency[i], LEAST_S)
    spread = log(high / low)
    if spread <= 0:  # a step: the time is below all of it, or above
        return 0.0 if within_s < low else P[i - 1] if i < len(P) - 1 else 1.0
    chance = _cdf(Z[i - 1] + log(within_s / low) * (Z[i] - Z[i - 1]) / spread)
    least, most = P[i - 1] if within_s >= low else 0.0, P[i] if within_s < high else 1.0
    return min(max(chance, least), most)  # p95 itself is 0.95, not a bit less


def _cdf(z: float) -> float:
    """Of the standard normal distribution."""
    return 0.5 * erfc(-z * SQRT_HALF)
