"""The packaged Whisper model written out again for transformers: the reference then runs on the very same weights."""

import json
from pathlib import Path

from backends.local.ctranslate2_file import whisper_weights


def write(source: Path, out: Path) -> Path:
    """Write tiny.en of the directory `source` to `out` as safetensors, with its tokenizer and configuration."""
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
    weights = {name: torch.from_numpy(array) for name, array in whisper_weights(source / "model.bin").items()}
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
