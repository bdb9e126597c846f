"""Finds the meter of each device."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.energy.nvml import Gpu, Sampled
from backends.energy.rapl import Rapl
from backends.energy.types import NoMeter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backends.energy.types import Meter


class Meters:
    """The meters of a machine by device, and of each device without one why it has none."""

    def __init__(self, found: dict[str, Meter], missing: dict[str, str]) -> None:
        self.found = found
        self.missing = missing

    def close(self) -> None:
        """Close every meter."""
        for meter in self.found.values():
            meter.close()


def open_meters(devices: Iterable[str], root: Path = Path("/"), nvml: Any = None) -> Meters:
    """Open whatever meters these devices have. Blocks for as long as NVML takes to start: keep it off the event loop.

    Args:
        devices: `cpu`, `cuda:0`, ...; a GPU's number is that of `nvidia-smi`.
        root: Where `/sys` is found; tests bring their own.
        nvml: The module `pynvml` of nvidia-ml-py; None imports it when a GPU is there to be metered.
    """
    found: dict[str, Meter] = {}
    missing: dict[str, str] = {}
    for device in devices:
        try:
            if device == "cpu":
                found[device] = Rapl(root)
            elif device.startswith("cuda:"):
                found[device] = Sampled(Gpu(int(device.removeprefix("cuda:")), nvml or _pynvml()))
            else:
                missing[device] = f"no meter of {device} is known"
        except NoMeter as why:
            missing[device] = str(why)
    return Meters(found, missing)


def _pynvml() -> Any:
    try:
        return import_module("pynvml")
    except ImportError as error:
        raise NoMeter("NVML is not asked: pip install 'nearfar[energy]'") from error
