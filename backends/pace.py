"""How fast requests are served, of those that were of late."""

from __future__ import annotations

_MEMORY = 0.95  # what of the seconds and weights seen so far counts beside those of one more request


class Pace:
    """Seconds of all over the weight of all.

    A mean of the requests' own ratios would go by the small ones, whose time is hardly their weight's.
    """

    def __init__(self) -> None:
        self._seconds = self._weight = 0.0

    def learn(self, seconds: float, weight: float) -> None:
        """One more request; its weight is above 0."""
        self._seconds = _MEMORY * self._seconds + seconds
        self._weight = _MEMORY * self._weight + weight

    @property
    def s_per_weight(self) -> float | None:
        """Seconds that a weight of 1 takes; None while none was seen."""
        return self._seconds / self._weight if self._weight else None
