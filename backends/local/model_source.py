"""Where a model's files lie on this machine, and how large it is. Reads headers, never weights; loads nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from backends.errors import Unavailable
from backends.local import gguf_header, hub_models, model_layout, weight_headers, weight_packages
from backends.local.model_layout import Files, Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.local.hub_models import Progress, RemoteModel
    from backends.types import Target

PACKAGE = "package:"
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)


class Contents(Struct, frozen=True, kw_only=True):
    """What the files say about a model; None where they do not say.

    Attributes:
        parameters: Its weights; of a pipeline, those of all its components, each counted once.
        weights_bytes: Size of the files a loader reads.
        architecture: The class that runs it: `LlamaForCausalLM`, `StableDiffusionPipeline`, `WhisperSpec`; of a gguf
            llama.cpp's name for it: `llama`.
        layout: By which library's habits the files lie there.
        kv_values_per_token: `2 x layers x kv_heads x head_dim`.
        context_length: In tokens.
    """

    parameters: int | None
    weights_bytes: int
    architecture: str | None
    layout: Layout
    kv_values_per_token: int | None = None
    context_length: int | None = None


def resolve(
    target: Target,
    models_dir: Path,
    *,
    downloads: bool = False,
    pickles: bool = False,
    admit: Callable[[RemoteModel], None] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Find the directory with the target's files: configured, fetched package, hub cache, and last the hub itself.

    Args:
        target: Which model, and where its files come from.
        models_dir: Where fetched packages lie.
        downloads: Whether the hub may be asked for what is not here: the only way to a connection.
        pickles: Whether weights that can run code when they are read are good enough.
        admit: Told what would be downloaded, before it is; what it raises ends that.
        progress: Told of a download: its stage, the bytes done and their total.

    Raises:
        Unavailable: The weights are not on this machine, damaged, or only in a form that can run code.
        ModelNotFound, Unauthorized: The hub was asked and does not give the model.
    """
    source = target.source or hub_models.HUB
    directory = _given(source, models_dir, target.model)
    if directory is None and _on_hub(source):
        directory = hub_models.cached(target)
        if downloads and (directory is None or _trouble(directory, target.model, pickles=pickles)):
            remote = hub_models.look_up(target, pickles=pickles)
            if admit is not None:
                admit(remote)
            directory = hub_models.download(target, remote, progress)
    trouble = _absent(target.model) if directory is None else _trouble(directory, target.model, pickles=pickles)
    if directory is None or trouble:
        raise Unavailable(trouble or _absent(target.model))
    return directory


def measure(directory: Path, model: str) -> Contents:
    """Read the size and the shape of the model in `directory`, from its headers: of every file a loader would read.

    Raises:
        Unavailable: A file is damaged or shorter than its header promises.
    """
    try:
        files = _survey(directory)
        return _MEASURES[files.layout](directory, files)
    except _DAMAGED as error:
        raise Unavailable(f"the files of '{model}' are damaged or incomplete") from error


def _given(source: str, models_dir: Path, model: str) -> Path | None:
    """The directory that a source names; None where it names none that is here."""
    if source.startswith(PACKAGE):
        return weight_packages.installed(source.removeprefix(PACKAGE), models_dir)
    if source == hub_models.HUB:
        return None
    directory = Path(source).expanduser()
    if not directory.is_dir():
        raise Unavailable(f"the directory configured for '{model}' does not exist")
    return directory


def _on_hub(source: str) -> bool:
    """A package of our own making has no twin there: who offers its name is somebody else."""
    package = weight_packages.packages().get(source.removeprefix(PACKAGE))
    return package is None or package.shipped is None


def _trouble(directory: Path, model: str, *, pickles: bool) -> str | None:
    """Why the files there cannot be used; None when they can."""
    try:
        files = _survey(directory)
    except _DAMAGED:
        return f"the files of '{model}' are damaged or incomplete"
    missing = [name for name in files.weights if not (directory / name).exists()]  # False for a dangling link too
    if files.pickled and not pickles:
        return hub_models.pickled(model)
    if len(missing) == len(files.weights):
        return _absent(model)
    if missing:
        return f"the weights of '{model}' are incomplete: {', '.join(missing)} missing"
    if files.layout == "ctranslate2" and weight_headers.ctranslate2_kind(directory / files.weights[0]) is None:
        return f"the weights of '{model}' are none of CTranslate2, whatever they are called"
    return None


def _absent(model: str) -> str:
    return f"weights not on this machine: run `nearfar models pull {model}`"


def _survey(directory: Path) -> Files:
    paths = [path for pattern in ("*", "*/*") for path in directory.glob(pattern)]
    names = {path.relative_to(directory).as_posix() for path in paths if not path.is_dir()}
    return model_layout.survey(names, lambda name: json.loads((directory / name).read_text(encoding="utf-8")))


def _transformers(directory: Path, files: Files) -> Contents:
    config = _config(directory, files)
    text = config.get("text_config", config)
    return Contents(
        parameters=_parameters(directory, files),
        weights_bytes=_bytes(directory, files),
        architecture=next(iter(config.get("architectures") or ()), None),
        kv_values_per_token=_kv_values(text),
        context_length=text.get("max_position_embeddings"),
        layout=files.layout,
    )


def _diffusers(directory: Path, files: Files) -> Contents:
    return Contents(
        parameters=_parameters(directory, files),
        weights_bytes=_bytes(directory, files),
        architecture=str(_object(directory / model_layout.INDEX)["_class_name"]),
        layout=files.layout,
    )


def _ctranslate2(directory: Path, files: Files) -> Contents:
    file = directory / files.weights[0]
    return Contents(
        parameters=weight_headers.ctranslate2_weights(file),
        weights_bytes=_bytes(directory, files),
        architecture=weight_headers.ctranslate2_kind(file),
        layout=files.layout,
    )


def _gguf(directory: Path, files: Files) -> Contents:
    """A model in parts says everything but its tensors in the first."""
    headers = [gguf_header.read(directory / name) for name in files.weights]
    first = headers[0]
    keys = ("block_count", "attention.head_count", "attention.head_count_kv", "embedding_length")
    layers, heads, kv_heads, width = map(first.of_model, keys)
    named = {"num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads}
    return Contents(
        parameters=sum(header.parameters for header in headers) or None,
        weights_bytes=_bytes(directory, files),
        architecture=first.metadata.get("general.architecture"),
        kv_values_per_token=_kv_values(
            named | {"hidden_size": width, "head_dim": first.of_model("attention.key_length")}
        ),
        context_length=first.of_model("context_length"),
        layout=files.layout,
    )


_MEASURES: dict[Layout, Callable[[Path, Files], Contents]] = {
    "transformers": _transformers,
    "diffusers": _diffusers,
    "ctranslate2": _ctranslate2,
    "gguf": _gguf,
}


def _bytes(directory: Path, files: Files) -> int:
    return sum((directory / name).stat().st_size for name in files.weights)


def _parameters(directory: Path, files: Files) -> int | None:
    """The weights in all the files, each of which is looked at; None when one of them cannot be counted."""
    counts = [_count(directory / name) for name in files.weights]
    return sum(count for count in counts if count is not None) if counts and None not in counts else None


def _count(file: Path) -> int | None:
    if file.suffix == ".safetensors":
        return weight_headers.safetensors_weights(file)
    weight_headers.check_pickle(file)
    return None


def _config(directory: Path, files: Files) -> dict[str, Any]:
    names = set(files.companions)
    folder = model_layout.main_folder(lambda name: _json(directory / name), names)
    path = directory / folder / "config.json"
    # A transformers model has one; a first module that only looks words up has none.
    return _object(path) if path.exists() or model_layout.MODULES not in names else {}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _object(path: Path) -> dict[str, Any]:
    parsed = _json(path)
    if not isinstance(parsed, dict):
        raise TypeError("not a JSON object")
    return parsed


def _kv_values(config: dict[str, Any]) -> int | None:
    """`2 x layers x kv_heads x head_dim`; the field names are those of transformers' decoder configurations."""
    layers, heads, width = (config.get(key) for key in ("num_hidden_layers", "num_attention_heads", "hidden_size"))
    if not (layers and heads and width):
        return None
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or width // heads
    return int(2 * layers * kv_heads * head_dim)
