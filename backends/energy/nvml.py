"""NVML: the energy of one NVIDIA GPU, and a thread that reads it, for the driver may take its time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from backends.energy.types import NoMeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.energy.types import EnergySource

PERIOD_S = 0.1  # a reading may take milliseconds, and the counter moves every 20 to 100 ms
MILLI = 1e-3


class Gpu:
    """One GPU through NVML, read directly: milliseconds where the driver sleeps, so never on an event loop."""

    source: EnergySource = "nvml"

    def __init__(self, index: int, nvml: Any, clock: Callable[[], float] = time.monotonic) -> None:
        """Find out what the GPU can tell.

        Raises:
            NoMeter: neither energy nor power, as with parts of a GPU (MIG), or there is no driver.
        """
        self._nvml = nvml
        self._clock = clock
        self.errors: type[Exception] = nvml.NVMLError
        self._integrated, self._last = 0.0, (0.0, 0.0)
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            raise NoMeter(f"NVML does not start: {error}") from error
        try:
            self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
            self._joules = self._begun()
        except nvml.NVMLError as error:
            self.close()
            raise NoMeter(f"NVML tells no energy and no power of GPU {index}: {error}") from error

    def joules(self) -> float:
        """What was counted since the meter was opened; `errors` when it cannot be read."""
        return self._joules()

    def close(self) -> None:
        """Let go of NVML, which counts how often it was started."""
        self._nvml.nvmlShutdown()

    def _begun(self) -> Callable[[], float]:
        try:
            first = self._energy()
        except self.errors:
            self._last = (self._clock(), self._power())
            return self._added_up
        return lambda: self._energy() - first

    def _added_up(self) -> float:
        """The mean of two power readings, times the time between them."""
        then, watts_then = self._last
        now, watts = self._clock(), self._power()
        self._integrated += (watts_then + watts) / 2 * (now - then)
        self._last = now, watts
        return self._integrated

    def _energy(self) -> float:
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) * MILLI

    def _power(self) -> float:
        return float(self._nvml.nvmlDeviceGetPowerUsage(self._handle)) * MILLI


class Sampled:
    """A slow meter, read by a thread of its own. Whoever asks gets what it had counted one period ago.

    Between two readings the counter is taken to have moved evenly. Looking one period back, there is always a reading
    on either side: nothing is extrapolated, so nobody is told of energy that the meter has not counted. What is
    shorter than a period, and alone, is given the power of the time just before it.
    """

    def __init__(self, meter: Gpu, clock: Callable[[], float] = time.monotonic, *, start: bool = True) -> None:
        self.source: EnergySource = meter.source
        self._meter = meter
        self._clock = clock
        self._closing = threading.Event()
        first = (clock(), 0.0)  # the meter was opened just now
        self._readings: tuple[tuple[float, float], tuple[float, float]] | None = (first, first)
        self._thread = threading.Thread(target=self._live, name="energy", daemon=True)
        if start:
            self._thread.start()

    def joules(self) -> float | None:
        """What the meter had counted one period ago."""
        readings = self._readings  # one look: the thread replaces it whole
        if readings is None:
            return None
        (then, counted_then), (now, counted) = readings
        at = self._clock() - PERIOD_S
        if at >= now or now <= then:
            return counted
        return counted_then + (counted - counted_then) * max(0.0, at - then) / (now - then)

    def sample(self) -> bool:
        """Read the meter; False when it cannot be read any more."""
        readings = self._readings
        try:
            counted = self._meter.joules()
        except self._meter.errors:
            self._readings = None  # which `joules` tells
            return False
        if readings is not None:
            self._readings = (readings[1], (self._clock(), max(counted, readings[1][1])))
        return True

    def close(self) -> None:
        """Stop reading."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self._readings = None
        self._meter.close()

    def _live(self) -> None:
        while not self._closing.wait(PERIOD_S) and self.sample():
            pass
