"""How a diffusers pipeline is made of the files in a directory, and of nothing else. Knows no request."""

from __future__ import annotations

import inspect
import logging
import warnings
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from backends.errors import Unavailable
from backends.local.diffusion import Diffusion

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from backends.local.types import Opening

MAX_STEPS = 150
MAX_GUIDANCE = 50.0
DEFAULTS_FILE = "nearfar.json"
_NEEDED = ("prompt", "width", "height", "num_inference_steps", "generator", "output_type", "callback_on_step_end")
# Whose warnings are kept out of the log: the first quotes prompts and finds fault with what the built-in model is made
# of, the second with settings that other versions wrote, the third recommends torchvision.
_TALKATIVE = ("diffusers.pipelines", "diffusers.configuration_utils", "transformers.utils.import_utils")


class Defaults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`nearfar.json` beside `model_index.json`: what this model wants where its pipeline's defaults do not fit it."""

    steps: Annotated[int, Meta(ge=1, le=MAX_STEPS)] | None = None
    guidance_scale: Annotated[float, Meta(ge=0, le=MAX_GUIDANCE)] | None = None


def load(opening: Opening) -> Diffusion:
    """Load the pipeline in `opening.directory`, from these files only.

    A safety checker among them stays. Weights come as safetensors; `opening.pickles` lets others in.

    Raises:
        Unavailable: diffusers is not installed, or this is nothing that draws from a text.
    """
    _hush()
    try:
        from diffusers.utils import logging as diffusers_logging
    except ImportError as error:
        raise Unavailable("the extra 'images' is not installed: pip install 'nearfar[images]'") from error
    import torch

    directory = opening.directory
    index = msgspec.json.decode((directory / "model_index.json").read_bytes(), type=dict[str, Any])
    defaults = _defaults(directory)
    if not opening.pickles:
        _refuse_pickles(directory, index)
    diffusers_logging.disable_progress_bar()
    pipeline = _pipeline_class(index.get("_class_name")).from_pretrained(
        str(directory),
        dtype=getattr(torch, opening.dtype),
        variant=_variant(directory),
        use_safetensors=None if opening.pickles else True,
        local_files_only=True,
    )
    pipeline.set_progress_bar_config(disable=True)
    model = Diffusion(pipeline.to(opening.device), opening.device, opening.dtype)
    model.steps = defaults.steps or model.steps
    model.guidance_scale = model.guidance_scale if defaults.guidance_scale is None else defaults.guidance_scale
    return model


def _hush() -> None:
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    # Older models' settings are mended when they are read; diffusers would tell their authors.
    warnings.filterwarnings("ignore", message="The configuration file of", category=FutureWarning)


def _defaults(directory: Path) -> Defaults:
    file = directory / DEFAULTS_FILE
    if not file.is_file():
        return Defaults()
    try:
        return msgspec.json.decode(file.read_bytes(), type=Defaults)
    except msgspec.DecodeError as error:  # which a ValidationError is, too
        raise Unavailable(f"the model's {DEFAULTS_FILE} is not understood: {error}") from error


def _refuse_pickles(directory: Path, parts: Iterable[str]) -> None:
    for name in parts:
        folder = directory / name
        if any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
            raise Unavailable(f"its {name} has only pickled weights, which can run code: safetensors are needed")


def _pipeline_class(kind: Any) -> Any:
    """The class a model index names. One that names code of its own is not followed."""
    import diffusers

    known = getattr(diffusers, kind, None) if isinstance(kind, str) else None
    if not (isinstance(known, type) and issubclass(known, diffusers.DiffusionPipeline)):
        raise Unavailable(f"{kind} is no pipeline of the diffusers {diffusers.__version__} installed here")
    takes = inspect.signature(known.__call__).parameters
    missing = [name for name in _NEEDED if name not in takes]
    if missing:
        raise Unavailable(f"a {kind} cannot be served: its calls take no {', '.join(missing)}")
    if "image" in takes and known not in diffusers.pipelines.auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values():
        raise Unavailable(f"a {kind} starts from an image, not from a text")
    return known


def _variant(directory: Path) -> str | None:
    """Half-precision files, where some part of the model has no others."""
    halves = {file.parent for file in directory.glob("*/*.fp16*.safetensors")}
    wholes = {file.parent for file in directory.glob("*/*.safetensors") if ".fp16" not in file.name}
    return "fp16" if halves - wholes else None
