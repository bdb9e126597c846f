"""Where a model's files lie on this machine, and how large it is. Reads headers, never weights; loads nothing."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from backends.errors import Unavailable
from backends.local import weight_packages

if TYPE_CHECKING:
    from backends.types import Target

PACKAGE = "package:"
# What a safetensors checkpoint needs, and nothing that runs code when it is read.
WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja")
UNWANTED = ("onnx/*", "openvino/*", "original/*")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_MAX_HEADER_BYTES = 100_000_000  # the safetensors format's own limit


class Contents(Struct, frozen=True, kw_only=True):
    """What the files say about a model. None where they do not say."""

    parameters: int | None
    weights_bytes: int
    architecture: str | None
    kv_values_per_token: int | None
    context_length: int | None


def resolve(target: Target, models_dir: Path, *, downloads: bool = False) -> Path:
    """Find the directory with the target's files: configured, unpacked package, hub cache, and last the hub itself.

    With `downloads` the hub is asked when nothing is here; it is the only path that opens a connection.

    Raises:
        Unavailable: The weights are not on this machine, or only in a form that can run code.
    """
    source = target.source or "hub"
    if source != "hub" and not source.startswith(PACKAGE):
        return _checked(Path(source).expanduser(), target.model)
    if source.startswith(PACKAGE):
        unpacked = weight_packages.installed(source.removeprefix(PACKAGE), models_dir)
        if unpacked is not None:
            return _checked(unpacked, target.model)
    directory = _from_hub(target, local_files_only=True) or (_downloaded(target) if downloads else None)
    if directory is None:
        raise Unavailable(f"weights not on this machine: run `nearfar models pull {target.model}`")
    return _checked(directory, target.model)


def measure(directory: Path, model: str) -> Contents:
    """Read the size and the shape of the model in `directory`, from its headers.

    Raises:
        Unavailable: A file is damaged or shorter than its header promises.
    """
    try:
        config = _config(directory)
        headers = [_parameters(file) for file in weight_files(directory) if file.suffix == ".safetensors"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"the files of '{model}' are damaged or incomplete") from error
    text = config.get("text_config", config)
    return Contents(
        parameters=sum(headers) or None,
        weights_bytes=sum(file.stat().st_size for file in weight_files(directory)),
        architecture=next(iter(config.get("architectures") or ()), None),
        kv_values_per_token=_kv_values(text),
        context_length=text.get("max_position_embeddings"),
    )


def weight_files(directory: Path) -> list[Path]:
    """The weight files a loader would read; the shards an index names, even those that are missing."""
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        return sorted({directory / name for name in _json(index)["weight_map"].values()})
    return sorted(directory.glob("*.safetensors")) or sorted(directory.glob("*.gguf"))


def _checked(directory: Path, model: str) -> Path:
    if not directory.is_dir():
        raise Unavailable(f"the directory configured for '{model}' does not exist")
    try:
        files = weight_files(directory)
    except (ValueError, KeyError, AttributeError) as error:
        raise Unavailable(f"the files of '{model}' are damaged or incomplete") from error
    if not files and any(any(directory.glob(pattern)) for pattern in PICKLES):
        raise Unavailable(f"'{model}' has only pickled weights, which can run code: safetensors or gguf are needed")
    if not files:
        raise Unavailable(f"weights not on this machine: run `nearfar models pull {model}`")
    missing = [file.name for file in files if not file.exists()]  # False for a dangling link too
    if missing:
        raise Unavailable(f"the weights of '{model}' are incomplete: {', '.join(missing)} missing")
    return directory


def _from_hub(target: Target, *, local_files_only: bool) -> Path | None:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise Unavailable("huggingface_hub is not installed") from error
    try:
        return Path(
            snapshot_download(
                target.model,
                revision=target.revision,
                local_files_only=local_files_only,
                allow_patterns=list(WANTED),
                ignore_patterns=list(UNWANTED),
            )
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _downloaded(target: Target) -> Path | None:
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return _from_hub(target, local_files_only=False)
    except (HfHubHTTPError, OSError) as error:
        raise Unavailable(f"the hub did not give '{target.model}': {type(error).__name__}") from error


def _config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    return _json(path) if path.exists() or any(directory.glob("*.safetensors")) else {}  # a gguf holds its own


def _json(path: Path) -> dict[str, Any]:
    parsed = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(parsed, dict):
        raise TypeError("not a JSON object")
    return parsed


def _parameters(file: Path) -> int:
    """Weights in a safetensors file; integer tensors are tables and masks, not weights."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > _MAX_HEADER_BYTES:
            raise ValueError("implausible header")
        header: dict[str, Any] = json.loads(opened.read(length))
    tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
    end = max((tensor["data_offsets"][1] for tensor in tensors), default=0)
    if file.stat().st_size < 8 + length + end:
        raise ValueError("truncated")
    return sum(prod(tensor["shape"]) for tensor in tensors if "F" in tensor["dtype"])


def _kv_values(config: dict[str, Any]) -> int | None:
    """`2 x layers x kv_heads x head_dim`; the field names are those of transformers' decoder configurations."""
    layers, heads, width = (config.get(key) for key in ("num_hidden_layers", "num_attention_heads", "hidden_size"))
    if not (layers and heads and width):
        return None
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or width // heads
    return int(2 * layers * kv_heads * head_dim)
