"""What the headers of weight files say: how many weights, and whether the file is whole. Never reads a weight."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_MAX_SAFETENSORS_HEADER_BYTES = 100_000_000  # the format's own limit
_CTRANSLATE2_VERSION = 6  # of the file's layout, since 2021
_CTRANSLATE2_WEIGHTS = {0, 1, 2, 4, 5}  # float32, int8, int16, float16, bfloat16; 3 is int32: tables


def safetensors_weights(file: Path) -> int:
    """The number of weights in a safetensors file; integer tensors are tables and masks, not weights.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError: It is damaged, or shorter than its header promises.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > _MAX_SAFETENSORS_HEADER_BYTES:
            raise ValueError("implausible header")
        header: dict[str, Any] = json.loads(opened.read(length))
    tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
    end = max((tensor["data_offsets"][1] for tensor in tensors), default=0)
    if file.stat().st_size < 8 + length + end:
        raise ValueError("truncated")
    return sum(prod(tensor["shape"]) for tensor in tensors if "F" in tensor["dtype"])


def ctranslate2_kind(file: Path) -> str | None:
    """What a CTranslate2 file holds, as `WhisperSpec`; None when it is no such file, but perhaps a pickle."""
    with file.open("rb") as opened:
        try:
            return _ctranslate2_start(opened)
        except (ValueError, struct.error):
            return None


def ctranslate2_weights(file: Path) -> int:
    """The number of weights in a CTranslate2 file, whose layout is that of `ModelSpec._serialize` of its converter.

    Raises:
        OSError, ValueError: It is damaged, or ends too early.
    """
    weights = 0
    with file.open("rb") as opened:
        try:
            _ctranslate2_start(opened)
            _revision, variables = _read(opened, "<II")
            for _ in range(variables):
                _string(opened)
                (rank,) = _read(opened, "<B")
                shape = _read(opened, f"<{rank}I")
                kind, data_bytes = _read(opened, "<BI")
                opened.seek(data_bytes, os.SEEK_CUR)
                if rank and kind in _CTRANSLATE2_WEIGHTS:
                    weights += prod(shape)
            _read(opened, "<I")  # how many second names follow: there only if all before it was
        except struct.error as error:
            raise ValueError("truncated") from error
    return weights


def check_pickle(file: Path) -> None:
    """Look whether a checkpoint of torch begins, and a zipped one ends, as such a file does; it is not unpickled.

    Raises:
        OSError, ValueError: It does not.
    """
    with file.open("rb") as opened:
        start = opened.read(4)
    whole = zipfile.is_zipfile(file) if start == b"PK\x03\x04" else start[:1] == b"\x80"
    if not whole:
        raise ValueError("damaged")


def _ctranslate2_start(opened: BinaryIO) -> str:
    (version,) = _read(opened, "<I")
    if version != _CTRANSLATE2_VERSION:
        raise ValueError("unknown version")
    kind = _string(opened)
    if not kind.isidentifier():
        raise ValueError("no kind")
    return kind


def _string(opened: BinaryIO) -> str:
    """A length of two bytes, which counts the zero at the end."""
    (length,) = _read(opened, "<H")
    return opened.read(length).rstrip(b"\0").decode("utf-8")


def _read(opened: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, opened.read(struct.calcsize(layout)))
