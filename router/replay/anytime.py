"""Intervals that hold at every moment at once, also where the policy learnt from what it saw: confidence sequences.

The empirical-Bernstein sequence with predictable plug-ins for importance-weighted rewards, of Waudby-Smith, Wu, Ramdas,
Karampatziakis & Mineiro, "Anytime-valid off-policy inference for contextual bandits" (arXiv:2210.10768), with their
pseudo-outcomes `w r` (no control variate, k = 0). What it rests on: exp(L y - psi(L) y²) <= 1 + L y for y >= -1 and
0 <= L < 1, psi(L) = -log(1 - L) - L (Fan, Grama & Liu 2015); so `w r`, which has no upper bound, needs none. The upper
limit is one less the lower limit of the same for 1 - r. Each L depends on the past alone, and not on how long the
window is: there are sequences tuned to be tightest after 100, 1000, ... requests, all of them hold together (what may
go wrong is shared out among them), and the best of those near the window's length is taken. So the interval holds at
every moment after a start that stays the same; a window whose start moves is looked at anew. It is wider than an
interval for a fixed policy, looked at once: that is its price.
"""

from __future__ import annotations

from math import log, sqrt
from typing import TYPE_CHECKING

from router.replay.intervals import LEVEL, Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 0.5  # of the bets L
HORIZONS = (100, 1_000, 10_000, 100_000, 1_000_000)
"""After how many requests the sequences are tightest: set beforehand, whatever the window is."""


def sequence(weights: Sequence[float], rewards: Sequence[float], bound: float) -> Interval:
    """The value of a policy, from importance weights and rewards in 0..`bound`, in the order in which they came.

    The estimate is the weighted mean (IPS), kept within the interval.
    """
    scaled = [reward / bound for reward in rewards] if bound > 0 else [0.0] * len(rewards)
    low = _lower(weights, scaled)
    high = 1 - _lower(weights, [1 - reward for reward in scaled])
    mean = sum(w * r for w, r in zip(weights, scaled, strict=True)) / max(len(scaled), 1)
    low, high = max(0.0, low), min(1.0, high)
    low, high = min(low, high), max(low, high)
    estimate = min(high, max(low, mean))
    return Interval(estimate * bound, low * bound, high * bound)


def _lower(weights: Sequence[float], rewards: Sequence[float]) -> float:
    """The best lower limit of the sequences whose horizons are nearest; it may be negative."""
    if not rewards:
        return 0.0
    hope = log(2 * len(HORIZONS) / (1 - LEVEL))  # half of what may go wrong on either side, and each its part of it
    nearest = sorted(HORIZONS, key=lambda horizon: abs(log(horizon / len(rewards))))[:2]
    return max(_tuned(weights, rewards, hope, horizon) for horizon in nearest)


def _tuned(weights: Sequence[float], rewards: Sequence[float], hope: float, horizon: int) -> float:
    tuned = 2 * hope / horizon
    bets = weighed = penalty = 0.0
    mean, squares, seen = 0.5, 0.25, 1.0
    for weight, reward in zip(weights, rewards, strict=True):
        bet = min(LARGEST, sqrt(tuned / (squares / seen)))
        value = weight * reward
        off = value - min(1.0, mean)
        bets += bet
        weighed += bet * value
        penalty += (-log(1 - bet) - bet) * off * off
        squares += (value - mean) ** 2
        seen += 1
        mean += (value - mean) / seen
    return (weighed - hope - penalty) / bets
