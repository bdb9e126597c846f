"""What a meter of energy is."""

from __future__ import annotations

from typing import Literal, Protocol

EnergySource = Literal["rapl", "nvml", "watts"]


class Meter(Protocol):
    """Counts a device's energy."""

    source: EnergySource

    def joules(self) -> float | None:
        """What was counted since the meter was opened; None from the first failure on. Costs microseconds."""
        ...

    def close(self) -> None:
        """Let go of it; it counts nothing any more."""
        ...


class NoMeter(Exception):
    """There is no meter; the message says why. Never leaves this package."""
