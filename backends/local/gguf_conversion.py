"""Turns a gguf checkpoint into safetensors, once, in a process of its own so that its memory goes back when it ends.

`python -m backends.local.gguf_conversion DIRECTORY GGUF OUT GENERATION_JSON`; knows nothing of packages or the hub.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def convert(directory: str, gguf: str, out: str, generation: dict[str, object]) -> None:
    """Write `directory/gguf` as a transformers directory in bfloat16, with `generation` as its defaults.

    The gguf moves in beside the safetensors: llama.cpp may compute the model, and needs it.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(directory, gguf_file=gguf, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(directory, gguf_file=gguf, dtype=torch.bfloat16, local_files_only=True)
    # A model that came from a gguf calls itself quantised and refuses to be saved, though its weights no longer are.
    model.hf_quantizer = None
    vars(model.config).pop("quantization_config", None)
    tokens = {key: getattr(model.config, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**tokens, **generation)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    Path(directory, gguf).rename(Path(out, gguf))


if __name__ == "__main__":
    convert(sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
