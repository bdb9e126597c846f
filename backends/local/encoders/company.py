"""Whether somebody computes alone. Knows no runtime.

Two callers on all cores at once wait for each other's threads. Where callers met an instant ago they will again: so for
a moment each counts as one of several, also when the other is just not there.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REMEMBERED_S = 0.1


class Company:
    """A block that several threads enter, each told whether it is alone there."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._inside = 0
        self._met_s = -REMEMBERED_S  # when two were inside last

    def __enter__(self) -> bool:
        with self._lock:
            now_s = self._clock()
            self._inside += 1
            if self._inside > 1:
                self._met_s = now_s
            return now_s - self._met_s > REMEMBERED_S

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._inside > 1:
                self._met_s = self._clock()
            self._inside -= 1
