"""Turns CTranslate2's Whisper into ONNX files of 8-bit weights for Transformers.js, once, in a process of its own.

`python -m backends.local.whisper_onnx_conversion DIRECTORY MODEL_BIN OUT {}`: it has no options. Beside the weights,
DIRECTORY has the configurations that transformers reads: they say the model's shape, and go along.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from backends.local import whisper_onnx_graphs
from backends.local.ctranslate2_file import whisper_weights
from backends.local.whisper_onnx_merging import Shape, merge


def convert(weights: Path, out: Path) -> None:
    """Write the configurations and `onnx/{encoder_model,decoder_model_merged}_quantized.onnx`."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig.from_pretrained(weights.parent)
    model = WhisperForConditionalGeneration(config).eval()
    read = {name: torch.from_numpy(array) for name, array in whisper_weights(weights).items()}
    read["proj_out.weight"] = read["model.decoder.embed_tokens.weight"]
    model.load_state_dict(read, strict=True)
    (out / "onnx").mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=out) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer doubts constants; tests compare what is heard
        work = Path(folder)
        whisper_onnx_graphs.export(model, work)
        for name in ("encoder_model", "first", "step"):
            _rounded(work / f"{name}.onnx", work / f"{name}_rounded.onnx")
        heads = config.decoder_attention_heads
        shape = Shape(heads, config.d_model // heads)
        merged = out / "onnx/decoder_model_merged_quantized.onnx"
        merge(work / "first_rounded.onnx", work / "step_rounded.onnx", merged, shape)
        shutil.move(work / "encoder_model_rounded.onnx", out / "onnx/encoder_model_quantized.onnx")
    for file in weights.parent.glob("*.json"):
        shutil.copyfile(file, out / file.name)


def _rounded(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kinds = ["MatMul", "Gather"]
    quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=kinds)


if __name__ == "__main__":
    convert(Path(sys.argv[1]) / sys.argv[2], Path(sys.argv[3]))
