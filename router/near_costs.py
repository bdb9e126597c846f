"""What near attempts cost on each basis, and the energy they took. One instance per process; its memory is bounded.

Each is a full answer to another question:

* `occupancy` = device-seconds x rate / 3600: what the far side would charge for compute. Never zero, needs no sensor.
* `marginal` = energy x price of electricity: what it adds to the bill of a machine that is owned and always on. The
  energy is all that the device took while the attempt held it, so the power that an idle machine takes anyway is in it.
* `amortised` = device-seconds x rate / 3600 / utilisation, where utilisation = busy / passed seconds since the start
  and at most over the last day: full absorption costing, every hour of the device paid by those who used it. It falls
  as load rises, so nothing that decides gets to see it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from backends.energy import Meters, open_meters
from router.energy_shares import Energy
from router.outcome import Bases, Cost
from router.pricing import near_rates
from router.utilisation import Utilisation

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.hardware import Probe
    from backends.types import Target
    from router.energy_shares import Stay
    from router.pricing import Basis, LocalRates
    from router.sections import LocalSettings


class NearCosts:
    """Prices near attempts, and what they would cost. For one event loop; no call blocks it."""

    def __init__(
        self, rates: LocalRates, meters: Meters | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rates = rates
        self._meters = meters or Meters({}, {})
        self._energy = Energy(rates.watts, self._meters.found, clock)
        self._utilisation = Utilisation(clock)

    @classmethod
    def opened(cls, local: LocalSettings, machine: Probe) -> NearCosts:
        """With this machine's rate card and meters, which are left alone where `local.watts` says enough. Blocks."""
        devices = ("cpu", *(gpu.device for gpu in machine.gpus))
        if local.watts is None:
            meters = open_meters(devices)
        else:
            meters = Meters({}, dict.fromkeys(devices, "local.watts goes before any meter"))
        return cls(near_rates(local, machine), meters)

    def close(self) -> None:
        """Let go of the meters."""
        self._meters.close()

    def expected(self, seconds: float, device: str) -> tuple[float | None, Basis]:
        """What holding a device for so long would cost, on the configured basis; by its power as seen so far."""
        return self.rates.expected(seconds, device, self._energy.watts_seen(device))

    def begin(self, device: str, target: Target) -> Stay:
        """An attempt goes to a device. `cost` must be called for it, once, however it ends."""
        by_name = target.source is None or target.source == "hub"
        return self._energy.begin(device, target.model if by_name else str(target.source))

    def cost(self, device: str, held_s: float | None, stay: Stay | None = None) -> Cost:
        """What an attempt cost that held a device by itself for so long; unknown where nobody knows how long it did.

        Args:
            device: Where it really ran.
            held_s: Its device-seconds: of a batch, its own share.
            stay: What `begin` gave; without one no meter counts for it.
        """
        energy_j, source = self._energy.end(device, held_s, stay)
        if held_s is None:
            return Cost(None, "unknown", Bases())
        self._utilisation.add(device, held_s)
        bases = Bases(
            occupancy_usd=self.rates.occupancy_usd(held_s, device),
            marginal_usd=self.rates.marginal_usd(energy_j),
            amortised_usd=self._amortised_usd(held_s, device),
            energy_j=energy_j,
            energy_source=source,
        )
        usd = bases.occupancy_usd if self.rates.cost_mode == "occupancy" else bases.marginal_usd
        return Cost(usd, "unknown" if usd is None else "measured", bases)

    def report(self) -> list[dict[str, Any]]:
        """By device: its meter, or why it has none; its power while busy, as seen or assumed; and how busy it was."""
        return [self._device(device) for device in (*self._meters.found, *self._meters.missing)]

    def _device(self, device: str) -> dict[str, Any]:
        meter, seen = self._energy.meter(device), self._energy.watts_seen(device)
        return {
            "device": device,
            "meter": meter,
            "no_meter": self._meters.missing.get(device) if device not in self._meters.found else _unread(meter),
            "watts": self.rates.watts.get(device) if seen is None else seen,
            "watts_source": self.rates.watts_source if seen is None else meter,
            "utilisation": self._utilisation.share(device),
        }

    def _amortised_usd(self, held_s: float, device: str) -> float:
        passed_s, busy_s = self._utilisation.of(device)
        return self.rates.occupancy_usd(held_s, device) * passed_s / busy_s if held_s > 0 else 0.0


def _unread(meter: str | None) -> str | None:
    return "it cannot be read any more" if meter is None else None
