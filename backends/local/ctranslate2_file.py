"""Reads the weights of a Whisper model that CTranslate2 wrote, by the names that transformers has for them.

The layout of `model.bin` is that of CTranslate2's `python/ctranslate2/specs/model_spec.py`, version 6.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from backends.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DTYPES = ("float32", "int8", "int16", "int32", "float16")
_FLOATS = ("float32", "float16")
_PARTS = {  # of a layer: transformers' names of what CTranslate2 stacked into one matrix
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
    "ffn/layer_norm": ("final_layer_norm",),
}
_TOPS = {"position_encodings/encodings": "embed_positions.weight", "embeddings/weight": "embed_tokens.weight"}
_KINDS = {"gamma": "weight", "beta": "bias"}
_SETTINGS = 8  # numbers, at most, of what is no weight


def whisper_weights(path: Path) -> dict[str, Any]:
    """Every weight of the model in float32.

    Raises:
        Unavailable: it is no such file, or its weights are rounded to integers.
    """
    import numpy as np

    named: dict[str, Any] = {}
    for name, array in _read(path):
        if array.size > _SETTINGS and array.dtype.name not in _FLOATS:
            raise Unavailable(f"{path.name} holds weights of {array.dtype.name}: floating point is needed")
        named.update({own: part.astype(np.float32) for own, part in _renamed(name, array)})
    return named


def _renamed(name: str, array: Any) -> Iterator[tuple[str, Any]]:
    import numpy as np

    side, *rest = name.split("/")
    kind = _KINDS.get(rest[-1], rest[-1])
    if rest[0].startswith("layer_") and rest[0] != "layer_norm":
        owners = _PARTS["/".join(rest[1:-1])]
        layer = rest[0].removeprefix("layer_")
        for owner, part in zip(owners, np.split(array, len(owners)), strict=True):
            if not (owner.endswith("k_proj") and kind == "bias"):  # Whisper's keys have none
                yield f"model.{side}.layers.{layer}.{owner}.{kind}", part
    elif array.ndim:  # numbers without dimensions are settings
        top = _TOPS.get("/".join(rest)) or f"{'.'.join(rest[:-1])}.{kind}"
        if "alignment" not in top:
            yield f"model.{side}.{top}", array


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Names and arrays, in the file's order."""
    import numpy as np

    data, at = path.read_bytes(), 0

    def take(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(form)
        return int(value)

    def name() -> str:
        nonlocal at
        length = take("H")
        at += length
        return data[at - length : at - 1].decode()

    if (take("I"), name()) != (6, "WhisperSpec"):
        raise Unavailable(f"{path.name} is no Whisper model of CTranslate2's version 6")
    take("I")  # the specification's revision
    for _ in range(take("I")):
        key = name()
        shape = [take("I") for _ in range(take("B"))]
        dtype, length = np.dtype(_DTYPES[take("B")]), take("I")
        yield key, np.frombuffer(data, dtype, count=length // dtype.itemsize, offset=at).reshape(shape)
        at += length
