"""How many threads may compute without waiting for other processes. Knows no runtime.

Threads that compute in step are as slow as the slowest: two of them on two cores, one of which somebody else keeps
busy, take many times as long as one thread. So the cores that others use are counted, at most ten times a second.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S = 0.1  # shorter ones are too coarse: the kernel counts in hundredths of a second
TOLERATED = 0.35  # cores that others may use before one thread fewer is faster; background noise stays below


class SpareCores:
    """Counts the cores that other processes use. Used from one thread at a time."""

    def __init__(
        self,
        threads: int,
        *,
        cores: int | None = None,
        busy_s: Callable[[], float] | None = None,
        own_s: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count.

        Args:
            threads: The most there may be, and what is answered before anything is known.
            cores: Of the machine; found out when None.
            busy_s: Core seconds that all processes together have used.
            own_s: Core seconds that this process has used.
            clock: Seconds, monotonic.
        """
        self._most = self._threads = threads
        self._cores = cores or psutil.cpu_count() or 1
        self._busy_s = busy_s or _busy_s
        self._own_s = own_s
        self._clock = clock
        self._since_s = clock()
        self._foreign_s = self._used_by_others_s() if threads > 1 else 0.0

    def threads(self) -> int:
        """At least 1, at most as many as asked for: one a core that others leave alone."""
        elapsed_s = self._clock() - self._since_s
        if self._most == 1 or elapsed_s < WINDOW_S:
            return self._threads
        foreign_s = self._used_by_others_s()
        foreign = max(0.0, foreign_s - self._foreign_s) / elapsed_s
        self._since_s, self._foreign_s = self._since_s + elapsed_s, foreign_s
        self._threads = max(1, min(self._most, int(self._cores - foreign + TOLERATED)))
        return self._threads

    def _used_by_others_s(self) -> float:
        return self._busy_s() - self._own_s()


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0) + getattr(times, "steal", 0.0))
