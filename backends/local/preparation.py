"""What is done for a model before its first request: look at its files, place it on this machine, load it.

Blocks, so it runs on threads; the only module that sets torch up. Knows no request.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from backends import hardware
from backends.errors import BackendError
from backends.hardware import ModelNeed, Placement, Probe
from backends.local import generation_runtimes, llama_cpp, model_source, room
from backends.local.encoders import choice
from backends.local.errors import translated
from backends.local.model_cache import Key
from backends.local.tasks import FAMILIES, task_for
from backends.local.types import LocalTask, Opening
from backends.types import Status

if TYPE_CHECKING:
    from backends.local.types import Family, LocalOptions
    from backends.types import Target

# What a family's models need, and the extra of ours that brings it.
_LIBRARIES: dict[Family, tuple[str, tuple[str, ...]]] = {
    "embedder": ("local", ("torch", "transformers", "sentence_transformers")),
    "sequence-classifier": ("local", ("torch", "transformers")),
    "causal-lm": ("local", ("torch", "transformers")),
    "diffusion": ("images", ("torch", "transformers", "diffusers", "PIL")),
    "image-classifier": ("images", ("torch", "transformers", "PIL")),
    "speech": ("speech", ("faster_whisper",)),
}

# What may be asked for by name; other families have one runtime, which is no choice.
RUNTIMES: dict[Family, tuple[str, ...]] = {
    "embedder": choice.NAMES,
    "causal-lm": (generation_runtimes.REFERENCE, llama_cpp.NAME),
}

# Families whose loaders set up what they use, which may not be torch.
_OWN_THREADS: frozenset[Family] = frozenset({"embedder", "speech"})


class Prepared(Struct, frozen=True):
    """A target whose files are here: which model it is, how its task is done, and where it would run."""

    model: str
    key: Key
    task: LocalTask
    placement: Placement


def machine(probe: Probe | None) -> Probe:
    """The machine as this torch can use it: its CPU build sees no CUDA GPU."""
    probe = probe or hardware.probe()
    try:
        cpu_only = importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return probe
    if cpu_only and any(gpu.kind == "cuda" for gpu in probe.gpus):
        return msgspec.structs.replace(probe, gpus=(), gpu_note="the installed torch is built for the CPU only")
    return probe


def look(target: Target, options: LocalOptions, probe: Probe, *, downloads: bool) -> Prepared | Status:
    """Find the files of a target and where it would run; a `Status` says why it cannot."""
    try:
        directory = model_source.resolve(
            target,
            options.models_dir,
            downloads=downloads,
            pickles=options.pickles,
            admit=lambda remote: room.check(remote, target.task, probe, options.memory_fraction),
        ).resolve()
        contents = model_source.measure(directory, target.model)
        task = task_for(target, contents)
    except BackendError as error:
        return Status(unavailable=str(error), device="cpu")
    extra, libraries = _LIBRARIES[task.family]
    if not all(importlib.util.find_spec(library) for library in libraries):
        return Status(unavailable=f"the extra '{extra}' is not installed: pip install 'nearfar[{extra}]'", device="cpu")
    known = RUNTIMES.get(task.family, ())
    if target.runtime is not None and target.runtime not in known:
        why = f"one of {', '.join(known)}" if known else "its kind of model has one runtime here"
        return Status(unavailable=f"there is no runtime {target.runtime!r} for it: {why}", device="cpu")
    need = ModelNeed(
        task=target.task,
        parameters=contents.parameters or target.parameters,
        weights_bytes=contents.weights_bytes,
        kv_values_per_token=contents.kv_values_per_token,
    )
    placement = hardware.place(probe, need, options.memory_fraction)
    return Prepared(target.model, Key(directory, task.family, target.runtime), task, placement)


def load(prepared: Prepared, opening: Opening) -> Any:
    """Load a model as `opening` says. The first one also pays the import of its libraries."""
    with translated(prepared.model):
        if opening.device.startswith("cuda") and not _cuda():
            opening = msgspec.structs.replace(opening, device="cpu", dtype="float32")
        if prepared.key.family not in _OWN_THREADS:
            _settle_torch(opening.threads)
        return FAMILIES[prepared.key.family].load(opening)


def _settle_torch(threads: int) -> None:
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()


def _cuda() -> bool:
    """False when nvidia-smi sees a GPU that this torch cannot use."""
    import torch

    return bool(torch.cuda.is_available())
