"""Whether somebody computes alone, and has done so for a moment. Knows no runtime.

Callers that met an instant ago will meet again, also when the other one is just not there.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

REMEMBERED_S = 0.1


class Met(NamedTuple):
    """Whom a caller met: nobody now (`alone`), and nobody now nor for a moment before (`undisturbed`)."""

    alone: bool
    undisturbed: bool


class Company:
    """A block that several threads enter, each told whom it meets there."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._inside = 0
        self._met_s = -REMEMBERED_S  # when two were inside last

    def __enter__(self) -> Met:
        with self._lock:
            now_s = self._clock()
            self._inside += 1
            if self._inside > 1:
                self._met_s = now_s
            return Met(self._inside == 1, now_s - self._met_s > REMEMBERED_S)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._inside > 1:
                self._met_s = self._clock()
            self._inside -= 1
