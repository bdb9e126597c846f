"""Writes a gguf anew for llama.cpp to compute as torch does: weights in float16, and numbers for a vocabulary.

Quantised weights make llama.cpp quantise what it multiplies them with; float16 ones do not. And a runtime that knows a
token by its number alone needs no part in how text becomes tokens, or tokens text: our tokenizer does both.
"""

from __future__ import annotations

import hashlib
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = 1  # raise it when this file changes what it writes
CLOSING = ";"  # ends each token's text, so that two make no third
_OWN = ("GGUF.", "tokenizer.", "split.", "general.architecture", "general.file_type", "general.quantization_version")


def made(file: Path, ends: Iterable[int], cache_dir: Path) -> Path:
    """The gguf made of `file`, written unless `cache_dir` has it: about 10 s for 270 MB.

    Args:
        file: A gguf with any kinds of weights.
        ends: The tokens that end an answer, at least one.
        cache_dir: What is made lies in its folder `gguf`.
    """
    ends = sorted(ends)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256")
    digest.update(repr((FORMAT, ends, version("gguf"))).encode())
    made_file = cache_dir / "gguf" / f"{digest.hexdigest()[:32]}.gguf"
    if not made_file.is_file():
        made_file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=made_file.parent) as folder:
            write(file, Path(folder, "made.gguf"), ends)
            Path(folder, "made.gguf").replace(made_file)
    return made_file


def write(source: Path, target: Path, ends: list[int]) -> None:
    """Write `target`, one tensor at a time: it takes the memory of the largest."""
    import gguf

    reader = gguf.GGUFReader(str(source))
    writer = gguf.GGUFWriter(str(target), reader.fields["general.architecture"].contents())
    try:
        _describe(reader, writer)
        _number_tokens(writer, len(reader.fields["tokenizer.ggml.tokens"].data), ends)
        for tensor in reader.tensors:
            kind = _kind(tensor)
            shape = [int(size) for size in reversed(tensor.shape)]
            number_bytes = kind.itemsize
            writer.add_tensor_info(tensor.name, shape, kind, int(tensor.n_elements) * number_bytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in reader.tensors:
            weights = gguf.dequantize(tensor.data, tensor.tensor_type)
            writer.write_tensor_data(weights.astype(_kind(tensor)))
    finally:
        writer.close()


def _describe(reader: Any, writer: Any) -> None:
    """Take over what the model is, without its vocabulary and what was said of its weights."""
    import gguf

    for field in reader.fields.values():
        if not field.name.startswith(_OWN):
            listed = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=listed)


def _number_tokens(writer: Any, count: int, ends: list[int]) -> None:
    texts = [f"{number}{CLOSING}" for number in range(count)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(texts)
    writer.add_token_merges([f"{texts[0]} {texts[0]}"])  # there must be one; nothing is ever merged
    writer.add_eos_token_id(ends[0])
    writer.add_add_bos_token(value=False)


def _kind(tensor: Any) -> Any:
    """What the file keeps whole stays whole: norms, and what else is few."""
    import gguf
    import numpy as np

    return np.dtype(np.float32 if tensor.tensor_type == gguf.GGMLQuantizationType.F32 else np.float16)
