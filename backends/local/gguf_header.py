"""What the header of a gguf file says of its model, and whether the file is whole. Never reads a weight.

The format: github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

from msgspec import Struct

if TYPE_CHECKING:
    from pathlib import Path

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# Weights in a block, and its bytes, by ggml's number of the type: f32, f16, q4_0, q4_1, q5_0, q5_1, q8_0, the k-quants
# from q2 to q6, and bf16. Of others only the first byte is looked for.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 30: (1, 2),
}  # fmt: skip
_MAX_RANK = 8


class GgufHeader(Struct, frozen=True, kw_only=True):
    """A gguf's model: the number of its weights, and its `metadata` without the lists, which are vocabularies."""

    parameters: int
    metadata: dict[str, Any]

    def of_model(self, key: str) -> Any:
        """What the metadata say under `llama.KEY`, for whichever architecture it is; None when they do not."""
        return self.metadata.get(f"{self.metadata.get('general.architecture')}.{key}")


def read(file: Path) -> GgufHeader:
    """Read the header.

    Raises:
        OSError, ValueError: It is damaged, or the file is shorter than it promises.
    """
    with file.open("rb") as opened:
        try:
            magic, version, tensors, entries = _unpack(opened, "4sIQQ")
            if magic != b"GGUF" or version not in {2, 3}:
                raise ValueError("no gguf")
            metadata = {}
            for _ in range(entries):
                key = _string(opened)
                (kind,) = _unpack(opened, "I")
                metadata[key] = _value(opened, kind)
            found = [_tensor(opened) for _ in range(tensors)]
        except struct.error as error:
            raise ValueError("truncated") from error
        alignment = int(metadata.get("general.alignment") or 32)
        start = -(-opened.tell() // alignment) * alignment
    if file.stat().st_size < start + max((end for _, end in found), default=0):
        raise ValueError("truncated")
    plain = {key: value for key, value in metadata.items() if value is not None}
    return GgufHeader(parameters=sum(weights for weights, _ in found), metadata=plain)


def _tensor(opened: BinaryIO) -> tuple[int, int]:
    """How many weights it has, and where its data end."""
    _string(opened)
    (rank,) = _unpack(opened, "I")
    if rank > _MAX_RANK:
        raise ValueError("implausible tensor")
    shape = _unpack(opened, f"{rank}Q")
    kind, offset = _unpack(opened, "IQ")
    weights = prod(shape)
    block = _BLOCKS.get(kind)
    return weights, offset + (weights // block[0] * block[1] if block else 1)


def _value(opened: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(opened)
    if kind != _ARRAY:
        return _unpack(opened, _number(kind))[0]
    kind, count = _unpack(opened, "IQ")
    if kind == _STRING:
        for _ in range(count):
            _string(opened)
    else:
        _exactly(opened, count * struct.calcsize("<" + _number(kind)))
    return None


def _number(kind: int) -> str:
    if kind not in _NUMBERS:
        raise ValueError("unknown kind of value")
    return _NUMBERS[kind]


def _string(opened: BinaryIO) -> str:
    (length,) = _unpack(opened, "Q")
    return _exactly(opened, length).decode("utf-8", errors="replace")


def _unpack(opened: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack("<" + layout, opened.read(struct.calcsize("<" + layout)))


def _exactly(opened: BinaryIO, length: int) -> bytes:
    if length > 1 << 30:  # no vocabulary is a gigabyte: do not try to read what a broken length asks for
        raise ValueError("implausible length")
    data = opened.read(length)
    if len(data) < length:
        raise ValueError("truncated")
    return data
