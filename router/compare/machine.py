"""What a run ran on, in a few figures: without them its seconds say little."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

from backends import hardware

if TYPE_CHECKING:
    from backends.hardware import Probe

PACKAGES = ("nearfar", "torch", "onnxruntime", "xllamacpp", "faster-whisper")
Machine = dict[str, str | int | float | bool | None]


def machine_of(probe: Probe) -> Machine:
    """The machine and the software that computes on it; None where something is not installed, or not known."""
    now = hardware.now()
    return {
        "platform": probe.platform,
        "cores": probe.cores,
        "ram_bytes": probe.ram_total_bytes,
        "gpus": ", ".join(gpu.name for gpu in probe.gpus) or None,
        "load_1m": now.load_1m,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
