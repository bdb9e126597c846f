"""How the energy that a device took is shared among the attempts that held it. Reads meters, knows no price.

Where a meter counts, an attempt gets its part of what was counted while it was under way:

    energy = device-seconds / seconds under way x the integral of dE / k over them

`device-seconds` are its own share of the batches it was in, so those of one batch divide its energy as they divide its
time, and one that waited in a queue pays nothing for those before it. `k` is the number of models with attempts under
way on the device: the device-seconds of a model's batches are a second each second at most, also where several are
computed side by side, so `k` models at most held it at once, and share alike. What a device takes while nobody is
served, and for loading models, belongs to no attempt. Nor do all attempts together ever get more than was counted while
at least one was under way: what is left of that is kept, and nobody is given more.
Where no meter counts: watts x device-seconds.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backends.energy import EnergySource, Meter

logger = logging.getLogger("nearfar")

MEMORY = 0.98  # of joules and seconds at each attempt: the last fifty or so say what a device takes while it is busy


class Stay(Struct, frozen=True):
    """A near attempt's stay at a device, from when it began.

    Attributes:
        model: Whose threads work for it.
        mark: What the device's share had come to; None where no meter counts.
    """

    device: str
    model: str
    began_s: float
    mark: float | None


class Energy:
    """The energy of near attempts, by device. One instance per process, for one event loop; no call blocks it."""

    def __init__(
        self,
        watts: Mapping[str, float],
        meters: Mapping[str, Meter],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take `watts` for what a device takes while it is busy, wherever no meter says so."""
        self._watts = watts
        self._clock = clock
        self._devices = {device: _Device(meter) for device, meter in meters.items()}
        self._seen: dict[str, tuple[float, float]] = {}  # joules and device-seconds, fading

    def begin(self, device: str, model: str) -> Stay:
        """An attempt goes to a device. `end` must be called for it, once, however it ends."""
        known = self._devices.get(device)
        return Stay(device, model, self._clock(), None if known is None else known.begin(model))

    def end(self, device: str, held_s: float | None, stay: Stay | None) -> tuple[float | None, EnergySource | None]:
        """The joules of an attempt, and who says so; None where its device-seconds or the device's power are not known.

        Args:
            device: Where it really ran.
            held_s: Its own device-seconds.
            stay: What `begin` gave; without one no meter was read for it.
        """
        counted_j = None if stay is None else self._counted(stay, held_s or 0.0)
        if held_s is None:
            return None, None
        if counted_j is not None and stay is not None and stay.device == device:
            if held_s > 0:
                joules, seconds = self._seen.get(device, (0.0, 0.0))
                self._seen[device] = (MEMORY * joules + counted_j, MEMORY * seconds + held_s)
            return counted_j, self._devices[device].meter.source
        watts = self._watts.get(device)
        if watts is None and held_s > 0:
            return None, None
        return (watts or 0.0) * held_s, "watts"

    def watts_seen(self, device: str) -> float | None:
        """What the device took while attempts held it, as its meter counted; None before it counted any."""
        joules, seconds = self._seen.get(device, (0.0, 0.0))
        return joules / seconds if joules > 0 else None

    def meter(self, device: str) -> EnergySource | None:
        """Whose figures count for the device now; None where no meter does."""
        known = self._devices.get(device)
        return None if known is None or known.failed else known.meter.source

    def _counted(self, stay: Stay, held_s: float) -> float | None:
        known = self._devices.get(stay.device)
        if known is None:
            return None
        worked = not known.failed
        joules = known.end(stay.model, stay.mark, held_s, self._clock() - stay.began_s)
        if worked and known.failed:
            logger.warning("the %s meter of %s cannot be read any more: watts count", known.meter.source, stay.device)
        return joules


class _Device:
    """A meter, and what it has counted for each of the models that were at work at a time."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.failed = False
        self._counted = 0.0
        self._each = 0.0  # joules for each model at work, since the start
        self._left = 0.0  # joules counted since somebody came to an idle device, and given to nobody yet
        self._under_way: Counter[str] = Counter()

    def begin(self, model: str) -> float | None:
        self._look()
        self._under_way[model] += 1
        return None if self.failed else self._each

    def end(self, model: str, mark: float | None, held_s: float, span_s: float) -> float | None:
        self._look()
        self._under_way[model] -= 1
        if not self._under_way[model]:
            del self._under_way[model]
        if self.failed or mark is None:
            return None
        part = min(1.0, held_s / span_s) if span_s > 0 else 1.0
        joules = min(self._left, part * (self._each - mark)) if held_s > 0 else 0.0
        self._left = self._left - joules if self._under_way else 0.0
        return joules

    def _look(self) -> None:
        counted = self.meter.joules()
        if counted is None:
            self.failed = True
            return
        if self._under_way:
            self._each += (counted - self._counted) / len(self._under_way)
            self._left += counted - self._counted
        self._counted = counted
