"""Headers of gguf files, as ggml's own writer makes them."""

from __future__ import annotations

import struct

import pytest

from backends.errors import Unavailable
from backends.local import gguf_header, model_source

gguf = pytest.importorskip("gguf")
numpy = pytest.importorskip("numpy")


@pytest.fixture
def file(tmp_path):
    """A llama of two layers: a vocabulary, a matrix in float16 and one in 8 bits, in blocks of 32 with a scale each."""
    path = tmp_path / "llama.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(2048)
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_token_list([f"token {n} ✓" for n in range(500)])
    writer.add_token_scores([0.5] * 500)
    writer.add_bool("general.test", val=True)
    writer.add_tensor("half", numpy.zeros((10, 64), dtype=numpy.float16))
    eight = gguf.quants.quantize(numpy.ones((3, 64), dtype=numpy.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("eight", eight, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_model_is_measured(file):
    """Weights are counted as weights, in whatever precision they are kept; `2 x layers x kv_heads x head_dim`."""
    contents = model_source.measure(file.parent, "some/model")

    assert ("gguf", "llama", 640 + 192) == (contents.layout, contents.architecture, contents.parameters)
    assert (2 * 2 * 2 * 16, 2048) == (contents.kv_values_per_token, contents.context_length)
    assert file.stat().st_size == contents.weights_bytes


def test_vocabularies_are_passed_over(file):
    """What is kept of the metadata is small."""
    header = gguf_header.read(file)

    assert header.metadata["general.test"] is True
    assert "tokenizer.ggml.tokens" not in header.metadata
    assert 2048 == header.of_model("context_length")


def data_start(path):
    """Where the tensors' data begin."""
    return gguf.GGUFReader(path).data_offset


def test_a_file_cut_short_anywhere_is_refused(file):
    """In the header, between two tensors, in the last block."""
    whole = file.read_bytes()
    needed = data_start(file) + 640 * 2 + 6 * 34
    for length in (0, 3, 30, 5000, data_start(file), needed - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(Unavailable, match="damaged or incomplete"):
            model_source.measure(file.parent, "some/model")


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(struct.pack("<4sIQQ", b"GGUF", 9, 0, 0), id="version"),
        pytest.param(struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 1 << 62), id="length of a name"),
        pytest.param(struct.pack("<4sIQQQsI", b"GGUF", 3, 0, 1, 1, b"a", 77), id="kind of value"),
        pytest.param(struct.pack("<4sIQQQsI", b"GGUF", 3, 1, 0, 1, b"a", 1 << 31), id="rank"),
        pytest.param(struct.pack("<4sIQQQsIIQ", b"GGUF", 3, 0, 1, 1, b"a", 9, 4, 1 << 62), id="length of a list"),
    ],
)
def test_nonsense_is_refused_without_being_followed(tmp_path, header):
    """No length from a broken file makes this process ask for memory."""
    (tmp_path / "broken.gguf").write_bytes(header + bytes(64))
    with pytest.raises(Unavailable, match="damaged or incomplete"):
        model_source.measure(tmp_path, "some/model")


def test_of_several_precisions_the_first_is_meant(file):
    """As the loader takes it."""
    (file.parent / "zzz.gguf").write_bytes(b"not looked at")

    assert 832 == model_source.measure(file.parent, "some/model").parameters
