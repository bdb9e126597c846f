"""The packaged Whisper model written out again for transformers, so that the reference runs on the very same weights.

The layout of `model.bin` is that of CTranslate2's `python/ctranslate2/specs/model_spec.py`, version 6.
"""

import json
import struct
from pathlib import Path

_DTYPES = ("float32", "int8", "int16", "int32", "float16")
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


def write(source: Path, out: Path) -> Path:
    """Write tiny.en of the directory `source` to `out` as safetensors, with its tokenizer and configuration."""
    import numpy as np
    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    hints = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config = WhisperConfig(
        vocab_size=51864, d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
        decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536,
        bos_token_id=50256, eos_token_id=50256, pad_token_id=50256, decoder_start_token_id=50257,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    weights = {name: torch.from_numpy(array.astype(np.float32)) for name, array in _renamed(source / "model.bin")}
    lacking, unknown = model.load_state_dict(weights, strict=False)
    assert (set(lacking), unknown) <= ({"proj_out.weight"}, [])  # tied
    model.generation_config = GenerationConfig(
        decoder_start_token_id=50257, bos_token_id=50256, eos_token_id=50256, pad_token_id=50256,
        no_timestamps_token_id=50362, prev_sot_token_id=50360, max_length=448, max_initial_timestamp_index=50,
        is_multilingual=False, return_timestamps=False, alignment_heads=hints["alignment_heads"],
        suppress_tokens=hints["suppress_ids"], begin_suppress_tokens=hints["suppress_ids_begin"],
    )  # fmt: skip
    model.save_pretrained(out)
    tokenizer = WhisperTokenizer.from_pretrained(str(source))
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(out)
    return out


def _renamed(path: Path):
    """Every weight by transformers' name."""
    import numpy as np

    for name, array in _read(path):
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


def _read(path: Path):
    """Names and arrays, in the file's order."""
    import numpy as np

    data, at = path.read_bytes(), 0

    def take(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(form)
        return value

    def name() -> str:
        nonlocal at
        length = take("H")
        at += length
        return data[at - length : at - 1].decode()

    assert (6, "WhisperSpec") == (take("I"), name())
    take("I")  # the specification's revision
    for _ in range(take("I")):
        key = name()
        shape = [take("I") for _ in range(take("B"))]
        dtype, length = np.dtype(_DTYPES[take("B")]), take("I")
        yield key, np.frombuffer(data, dtype, count=length // dtype.itemsize, offset=at).reshape(shape)
        at += length
