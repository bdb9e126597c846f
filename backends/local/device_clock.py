"""Whose seconds a device's are, while several batches are computed on it side by side. Knows no batch and no device.

As with processor sharing: a clock that runs as fast as time where one is computed, and at the n-th of it where n are.
What a batch held is what that clock showed at its end, less what it showed at its beginning; so all batches together
hold a device for a second each second at most.
"""

from __future__ import annotations

import threading


class DeviceClock:
    """Used from any thread, each for an instant. Times are `time.perf_counter`'s."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._each_s = 0.0  # what each batch would hold that was there from the start
        self._at = 0.0
        self.batches = 0  # that are computed now

    def begin(self, now: float) -> float:
        """One more batch is computed; the mark that `end` needs."""
        with self._lock:
            self._move(now)
            self.batches += 1
            return self._each_s

    def end(self, now: float, mark: float) -> float:
        """A batch is done: the seconds that it held the device."""
        with self._lock:
            self._move(now)
            self.batches -= 1
            return self._each_s - mark

    def _move(self, now: float) -> None:
        if now <= self._at:  # another thread read its clock later, and came first
            return
        if self.batches:
            self._each_s += (now - self._at) / self.batches
        self._at = now
