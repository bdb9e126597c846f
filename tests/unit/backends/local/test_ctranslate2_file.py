"""What CTranslate2 wrote, read again: what is something else is refused by name."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from backends.errors import Unavailable
from backends.local.ctranslate2_file import whisper_weights


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def written(*arrays: tuple[str, np.ndarray, int], spec: str = "WhisperSpec", version: int = 6) -> bytes:
    """A file of these arrays, each with its number of a type."""
    body = struct.pack("<I", version) + text(spec) + struct.pack("<II", 3, len(arrays))
    for name, array, kind in arrays:
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        body += text(name) + shape + struct.pack("<BI", kind, array.nbytes) + array.tobytes()
    return body


def test_weights_have_transformers_names(tmp_path) -> None:
    """What was stacked is taken apart; the bias of keys, which Whisper has not, is left out."""
    stacked = np.arange(24, dtype=np.float16).reshape(6, 4)
    (tmp_path / "model.bin").write_bytes(
        written(
            ("decoder/layer_0/attention/linear_1/weight", stacked, 4),
            ("decoder/layer_0/attention/linear_1/bias", np.arange(6, dtype=np.float32), 0),
            ("encoder/layer_norm/gamma", np.ones(4, dtype=np.float32), 0),
            ("encoder/num_heads", np.array(6, dtype=np.int16), 2),
        )
    )
    read = whisper_weights(tmp_path / "model.bin")
    layer = "model.decoder.layers.0.encoder_attn"

    assert {
        f"{layer}.k_proj.weight",
        f"{layer}.v_proj.weight",
        f"{layer}.v_proj.bias",
        "model.encoder.layer_norm.weight",
    } == (set(read))
    assert stacked[3:].tolist() == read[f"{layer}.v_proj.weight"].tolist()
    assert "float32" == read[f"{layer}.k_proj.weight"].dtype


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (written(spec="TransformerSpec"), "no Whisper model"),
        (written(version=5), "no Whisper model"),
        (written(("encoder/conv1/weight", np.zeros(9, dtype=np.int8), 1)), "int8: floating point is needed"),
    ],
)
def test_what_is_something_else_is_refused(tmp_path, body: bytes, why: str) -> None:
    """Rather than converted to nonsense."""
    (tmp_path / "model.bin").write_bytes(body)

    with pytest.raises(Unavailable, match=why):
        whisper_weights(tmp_path / "model.bin")
