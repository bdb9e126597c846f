"""Reads what follows the transformer in a sentence-transformers model. Loads no weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec import Struct

_SIMPLE = ("mean", "cls")


class Pipeline(Struct, frozen=True):
    """A transformer, one pooling of its last layer, and nothing else but scaling to length 1.

    Attributes:
        weights: Directory of the transformer.
        pooling: `mean` over the tokens, or the first one's (`cls`).
        normalize: Whether the vectors are scaled to length 1.
    """

    weights: Path
    pooling: str
    normalize: bool


def read(directory: Path) -> Pipeline | str:
    """The pipeline of the model in `directory`, or why it is another kind."""
    modules = _json(directory / "modules.json")
    if not modules:
        return "there is no modules.json"
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        return f"its modules are {', '.join(kinds)}"
    pooling = _pooling(_json(directory / modules[1]["path"] / "config.json"))
    if pooling not in _SIMPLE:
        return f"its pooling is {pooling}"
    return Pipeline(directory / modules[0]["path"], pooling, normalize="Normalize" in kinds)


def config(directory: Path) -> dict[str, Any]:
    """The transformer's own configuration; an empty one when there is none."""
    found: dict[str, Any] = _json(directory / "config.json") or {}
    return found


def _pooling(settings: dict[str, Any] | None) -> str:
    """Names of the pooling's modes, `+` between them: older files have a switch for each mode."""
    settings = settings or {}
    mode = settings.get("pooling_mode")
    if mode is None:
        prefix = "pooling_mode_"
        mode = [key.removeprefix(prefix) for key, on in settings.items() if key.startswith(prefix) and on]
        mode = [name.removesuffix("_token" if name == "cls_token" else "_tokens") for name in mode] or ["mean"]
    return mode if isinstance(mode, str) else "+".join(mode)


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
