"""Whether a model that is still on the hub would fit here: its memory, and the disk it would be kept on."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec

from backends import hardware
from backends.errors import OutOfMemory
from backends.hardware import GIB, ModelNeed, Probe
from backends.local import hub_models

if TYPE_CHECKING:
    from pathlib import Path

    from backends.local.hub_models import RemoteModel
    from backends.types import Task


def check(remote: RemoteModel, task: Task, probe: Probe, memory_fraction: float) -> None:
    """Refuse what could not be kept or could never be loaded, however idle this machine is.

    Raises:
        OutOfMemory: naming what is needed and what there is.
    """
    _check_disk(remote, hub_models.cache_dir())
    need = ModelNeed(task=task, parameters=remote.parameters, weights_bytes=remote.weights_bytes)
    placement = hardware.place(_idle(probe), need, memory_fraction)
    if not placement.fits:
        raise OutOfMemory(f"'{remote.model}' does not fit this machine: it {placement.reason}")


def _check_disk(remote: RemoteModel, folder: Path) -> None:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if remote.download_bytes > free:
        raise OutOfMemory(
            f"'{remote.model}' does not fit the disk: {remote.download_bytes / GIB:.1f} GiB are to be downloaded, "
            f"{free / GIB:.1f} GiB are free"
        )


def _idle(probe: Probe) -> Probe:
    gpus = tuple(msgspec.structs.replace(gpu, vram_free_bytes=gpu.vram_total_bytes) for gpu in probe.gpus)
    return msgspec.structs.replace(probe, ram_available_bytes=probe.ram_total_bytes, gpus=gpus)
