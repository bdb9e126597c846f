"""How long to leave alone what fails again and again: each failure in a row doubles the pause, up to the longest."""

from __future__ import annotations

_DOUBLINGS = 60
"""More than any longest pause is away from its first: what is down for days has failed thousands of times."""


def pause_s(failures: int, first_s: float, longest_s: float) -> float:
    """Seconds to wait after so many failures in a row, 1 being the first; 0 before that."""
    return min(longest_s, first_s * 2.0 ** min(failures - 1, _DOUBLINGS)) if failures > 0 else 0.0
