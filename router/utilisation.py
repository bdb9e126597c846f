"""How busy each device was over the last day. Counts seconds, knows no request and no price."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SLOT_S = 900.0
SLOTS = 96  # a day: night and day weigh as they come


class Utilisation:
    """Busy device-seconds by quarter of an hour, of the last 96 of them; older ones are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._busy: dict[str, dict[int, float]] = {}

    def add(self, device: str, seconds: float) -> None:
        """An attempt that held the device for so long has just ended: all of it counts to the present quarter."""
        slots = self._busy.setdefault(device, {})
        slot = self._slot()
        slots[slot] = slots.get(slot, 0.0) + seconds
        for old in [number for number in slots if number <= slot - SLOTS]:
            del slots[old]

    def of(self, device: str) -> tuple[float, float]:
        """Seconds that have passed since the start, or in the last day, and those in which the device was busy.

        Two models that held it at once count twice, so the second may exceed the first.
        """
        slot = self._slot()
        first = max(0, slot - SLOTS + 1)
        passed_s = self._clock() - self._since - first * SLOT_S
        return passed_s, sum(busy for number, busy in self._busy.get(device, {}).items() if number >= first)

    def share(self, device: str) -> float | None:
        """Busy seconds by seconds passed; None before any have."""
        passed_s, busy_s = self.of(device)
        return busy_s / passed_s if passed_s > 0 else None

    def _slot(self) -> int:
        return int((self._clock() - self._since) // SLOT_S)
