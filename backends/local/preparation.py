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
from backends.local import model_source
from backends.local.errors import translated
from backends.local.model_cache import Key
from backends.local.tasks import LOADERS, TASKS
from backends.types import Status

if TYPE_CHECKING:
    from backends.local.types import Family, LocalOptions
    from backends.types import Target

_LIBRARIES = ("torch", "transformers", "sentence_transformers")
# Architectures that surely cannot do a family's work, by the end of their names.
_UNFIT: dict[Family, tuple[str, ...]] = {
    "embedder": ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"),
    "causal-lm": ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification"),
}


class Prepared(Struct, frozen=True):
    """A target whose files are here: which model it is, and where it would run."""

    model: str
    key: Key
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
    task = TASKS.get(target.task)
    try:
        if task is None:
            return _unavailable(f"this machine cannot do {target.task}")
        if not all(importlib.util.find_spec(library) for library in _LIBRARIES):
            return _unavailable("the local extra is not installed: pip install 'nearfar[local]'")
        directory = model_source.resolve(target, options.models_dir, downloads=downloads).resolve()
        contents = model_source.measure(directory, target.model)
    except BackendError as error:
        return _unavailable(str(error))
    if (contents.architecture or "").endswith(_UNFIT[task.family]):
        return _unavailable(f"'{target.model}' is a {contents.architecture}, which cannot do {target.task} here")
    need = ModelNeed(
        task=target.task,
        parameters=contents.parameters or target.parameters,
        weights_bytes=contents.weights_bytes,
        kv_values_per_token=contents.kv_values_per_token,
    )
    placement = hardware.place(probe, need, options.memory_fraction)
    return Prepared(target.model, Key(directory, task.family), placement)


def load(prepared: Prepared, threads: int) -> Any:
    """Load a model. The first one also pays the import of torch and its kin."""
    with translated(prepared.model):
        import torch
        import transformers

        torch.set_num_threads(threads)
        transformers.utils.logging.disable_progress_bar()
        device, dtype = prepared.placement.device, prepared.placement.dtype
        if device.startswith("cuda") and not torch.cuda.is_available():
            device, dtype = "cpu", "float32"  # nvidia-smi sees a GPU that this torch cannot use
        return LOADERS[prepared.key.family](prepared.key.directory, device, dtype)


def _unavailable(reason: str) -> Status:
    return Status(unavailable=reason, device="cpu")
