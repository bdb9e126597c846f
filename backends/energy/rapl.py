"""RAPL: the energy of the CPU packages, as the Linux kernel's powercap files show it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from backends.energy.types import NoMeter

if TYPE_CHECKING:
    from pathlib import Path

    from backends.energy.types import EnergySource

MICRO = 1e-6


class Rapl:
    """The energy of all CPU packages, from `/sys/class/powercap/*/energy_uj`. A reading takes a few microseconds each.

    Only domains called `package...` count, each name once: `core`, `uncore` and `dram` are parts of or beside them,
    `psys` is the whole board with the packages in it, and `intel-rapl-mmio` shows a package a second time.
    A counter that fell has gone past `max_energy_range_uj` once: at 200 W that takes some 20 minutes, and whoever wants
    the energy of longer stretches than that must look in between.
    """

    source: EnergySource = "rapl"

    def __init__(self, root: Path) -> None:
        """Open the counters.

        Raises:
            NoMeter: there are none, or this process may not read them.
        """
        zones = _packages(root / "sys/class/powercap")
        if not zones:
            raise NoMeter("no RAPL: /sys/class/powercap shows no CPU package (a virtual machine, or not Linux)")
        self._counters: list[_Counter] = []
        try:
            for zone in zones:
                self._counters.append(_Counter(zone))
        except (OSError, ValueError) as error:
            self.close()
            what = "may only be read by root" if isinstance(error, PermissionError) else "cannot be read"
            raise NoMeter(f"RAPL's energy_uj {what} ({type(error).__name__})") from error
        self._counted = 0
        self._failed = False

    def joules(self) -> float | None:
        """What the packages took since the meter was opened."""
        if self._failed:
            return None
        try:
            self._counted += sum(counter.moved() for counter in self._counters)
        except (OSError, ValueError):
            self._failed = True
            return None
        return self._counted * MICRO

    def close(self) -> None:
        """Close the files."""
        self._failed = True
        for counter in self._counters:
            os.close(counter.file)
        self._counters = []


class _Counter:
    """One `energy_uj`, kept open: reading it anew is one system call."""

    def __init__(self, zone: Path) -> None:
        self._range = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
        self.file = os.open(zone / "energy_uj", os.O_RDONLY)
        try:
            self._last = self._read()
        except (OSError, ValueError):
            os.close(self.file)
            raise

    def moved(self) -> int:
        """Microjoules since the last look, past the end of its range at most once."""
        now = self._read()
        moved = now - self._last if now >= self._last else now + self._range - self._last
        self._last = now
        return max(0, moved)

    def _read(self) -> int:
        return int(os.pread(self.file, 32, 0))


def _packages(powercap: Path) -> list[Path]:
    found: dict[str, Path] = {}
    try:
        for zone in sorted(powercap.iterdir(), key=lambda zone: (len(zone.name), zone.name)):  # `intel-rapl:` first
            name = _name(zone)
            if name.startswith("package"):
                found.setdefault(name, zone)
    except OSError:  # no such directory, or it may not be listed: nothing is shown there
        return []
    return list(found.values())


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""  # a control, not a zone
