"""The hub's own client against a hub on loopback: what a model would need, its download, and its progress."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from backends.errors import BackendError, ModelNotFound, OutOfMemory, Unavailable
from backends.hardware import GIB, Probe
from backends.local import hub_models, model_source, room
from backends.types import Target, Task
from tests import hub_peer
from tests.hub_peer import SHA, safetensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hub_peer import Hub

CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 128}).encode()
CHAT = {
    "config.json": CONFIG,
    "tokenizer.json": b"{}",
    "model.safetensors": safetensors(1000),
    "pytorch_model.bin": b"\x80\x02" + bytes(5000),
    "onnx/model.onnx": bytes(4000),
    "README.md": b"# A model",
}
PAINTER = {
    "model_index.json": json.dumps(
        {
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "safety_checker": [None, None],
        }
    ).encode(),
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": safetensors(300),
    "unet/diffusion_pytorch_model.fp16.safetensors": safetensors(300, "F16", 2),
    "unet/diffusion_pytorch_model.bin": b"\x80\x02",
    "text_encoder/config.json": b"{}",
    "text_encoder/model.safetensors": safetensors(200),
    "text_encoder/model.fp16.safetensors": safetensors(200, "F16", 2),
    "scheduler/scheduler_config.json": b"{}",
    "v1-5-pruned.safetensors": safetensors(5000),
    "v1-5-pruned.ckpt": b"PK\x03\x04",
}
WHISPER = {
    "config.json": b"{}",
    "vocabulary.txt": b"<|endoftext|>\n",
    "tokenizer.json": b"{}",
    "model.bin": struct.pack("<IH12sIII", 6, 12, b"WhisperSpec\0", 3, 0, 0),
}
GGUF = {f"chat.{kind}.gguf": b"GGUF" + bytes(size) for kind, size in (("Q2_K", 50), ("Q4_K_M", 80), ("F16", 300))}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, an empty cache, and the client's addresses turned to it."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with hub_peer.running() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "".join(template[1:]))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        hub.models = {"lab/chat": CHAT, "lab/painter": PAINTER, "lab/whisper": WHISPER, "lab/gguf": GGUF}
        hub.cards = {
            "lab/chat": {"safetensors": {"parameters": {"F32": 1000, "I64": 7}, "total": 1007}},
            "lab/gguf": {"gguf": {"total": 140, "architecture": "llama"}},
        }
        yield hub


def target(model: str = "lab/chat", task: Task = Task.TEXT_GENERATION, **fields: Any) -> Target:
    return Target(backend="local", provider="local", model=model, task=task, **fields)


SIZES = [
    pytest.param("lab/chat", "transformers", {"config.json", "model.safetensors", "tokenizer.json"}, 1000, id="chat"),
    pytest.param(
        "lab/painter",
        "diffusers",
        {
            "model_index.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
            "text_encoder/config.json",
            "text_encoder/model.safetensors",
            "scheduler/scheduler_config.json",
        },
        500,
        id="pipeline",
    ),
    pytest.param("lab/whisper", "ctranslate2", set(WHISPER), None, id="speech"),
    pytest.param("lab/gguf", "gguf", {"chat.Q4_K_M.gguf"}, 140, id="one precision of a gguf"),
]


@pytest.mark.parametrize(("model", "layout", "files", "parameters"), SIZES)
def test_what_a_model_needs_is_known_before_it_is_downloaded(
    hub: Hub, model: str, layout: str, files: set[str], parameters: int | None
) -> None:
    """Only what a loader reads counts, in one precision; no weight is asked for, at most the headers."""
    remote = hub_models.look_up(target(model))

    assert (layout, files, parameters) == (remote.layout, set(remote.files), remote.parameters)
    assert remote.weights_bytes == sum(
        len(hub.models[model][name]) for name in files if name.endswith((".safetensors", ".bin", ".gguf"))
    )
    assert not [name for name in hub.sent() if name.endswith((".safetensors", ".bin", ".gguf"))]


@pytest.mark.parametrize("model", ["lab/chat", "lab/painter", "lab/whisper", "lab/gguf"])
def test_a_download_brings_what_is_needed_and_nothing_else(hub: Hub, tmp_path: Path, model: str) -> None:
    """Told byte for byte, and found by the next look with no connection at all."""
    told: list[tuple[str, int, int]] = []
    directory = model_source.resolve(target(model), tmp_path, downloads=True, progress=lambda *step: told.append(step))
    remote = hub_models.look_up(target(model))
    asked = list(hub.asked)

    present = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert set(remote.files) == present
    assert 0 == remote.download_bytes
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert ("download", told[-1][2], told[-1][2]) == told[-1]
    assert directory == model_source.resolve(target(model), tmp_path)
    assert asked == hub.asked


def test_what_does_not_fit_is_refused_before_the_download(hub: Hub, tmp_path: Path) -> None:
    """A model of 26 GB in float32 on a machine of 8: the sentence names both, and nothing was downloaded."""
    hub.cards["lab/chat"]["safetensors"]["parameters"] = {"F32": 7_000_000_000}
    small = Probe(platform="test", cores=2, ram_total_bytes=8 * GIB, ram_available_bytes=8 * GIB)
    with pytest.raises(OutOfMemory, match=r"'lab/chat' does not fit.* needs 3\d\.\d GiB in float32; 5\.6 of 8\.0 GiB"):
        model_source.resolve(
            target(),
            tmp_path,
            downloads=True,
            admit=lambda remote: room.check(remote, Task.TEXT_GENERATION, small, 0.7),
        )

    assert [] == hub.sent()


def test_a_full_disk_is_named_before_the_download(hub: Hub) -> None:
    """A petabyte is more than any test machine has."""
    hub.sizes["model.safetensors"] = 1 << 50
    large = Probe(platform="test", cores=2, ram_total_bytes=1 << 60, ram_available_bytes=1 << 60)
    with pytest.raises(OutOfMemory, match=r"1048576\.0 GiB are to be downloaded"):
        room.check(hub_models.look_up(target()), Task.TEXT_GENERATION, large, 0.7)


def test_a_busy_machine_does_not_forbid_a_download(hub: Hub) -> None:
    """What counts is what it has, not what happens to be free."""
    busy = Probe(platform="test", cores=2, ram_total_bytes=8 * GIB, ram_available_bytes=0)

    room.check(hub_models.look_up(target()), Task.TEXT_GENERATION, busy, 0.7)


def test_only_pickles_are_refused_unasked_and_taken_when_allowed(hub: Hub, tmp_path: Path) -> None:
    """Refused by the list of files; allowed, it is the one file that a loader reads."""
    hub.models["lab/old"] = {name: CHAT[name] for name in ("config.json", "pytorch_model.bin")} | {"x.ckpt": b"PK"}
    with pytest.raises(Unavailable, match=r"only pickled weights.*local\.pickles = true"):
        model_source.resolve(target("lab/old"), tmp_path, downloads=True)

    assert [] == hub.sent()
    directory = model_source.resolve(target("lab/old"), tmp_path, downloads=True, pickles=True)
    assert {"config.json", "pytorch_model.bin"} == {path.name for path in directory.iterdir()}


def test_a_download_that_broke_off_is_no_model_and_goes_on_later(hub: Hub, tmp_path: Path) -> None:
    """Ctrl-C in the second file: nothing is found by the model's name; the next attempt brings what was missing."""
    steps = []

    def interrupt(*step: Any) -> None:
        steps.append(step)
        if len(steps) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model_source.resolve(target(), tmp_path, downloads=True, progress=interrupt)
    with pytest.raises(Unavailable, match="nearfar models pull"):
        model_source.resolve(target(), tmp_path)
    model_source.resolve(target(), tmp_path, downloads=True)

    assert {"config.json", "model.safetensors", "tokenizer.json"} == set(hub.sent())
    assert 1 == hub.sent().count("model.safetensors")


REFUSALS = [
    pytest.param(target("lab/nothing"), ModelNotFound, "'lab/nothing' is not on the hub", id="unknown"),
    pytest.param(target("not a/valid/name"), ModelNotFound, "no name of a model", id="impossible name"),
    pytest.param(target("lab/empty"), Unavailable, "no weights that can be loaded", id="no weights"),
    pytest.param(target("lab/shards"), Unavailable, r"has no model-2\.safetensors", id="a shard is missing"),
]


@pytest.mark.parametrize(("asked", "error", "sentence"), REFUSALS)
def test_what_the_hub_cannot_give_is_said(
    hub: Hub, tmp_path: Path, asked: Target, error: type[BackendError], sentence: str
) -> None:
    """Each in our own words, which hold no address and no path."""
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    hub.models["lab/empty"] = {"config.json": CONFIG}
    hub.models["lab/shards"] = {
        "config.json": CONFIG,
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-1.safetensors": safetensors(10),
    }
    with pytest.raises(error, match=sentence) as caught:
        model_source.resolve(asked, tmp_path, downloads=True)

    assert "127.0.0.1" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_an_unreachable_hub_is_named_as_such(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is not the same as no model."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="the hub did not give 'lab/chat'"):
        model_source.resolve(target(), tmp_path, downloads=True)


def test_our_own_model_is_never_looked_for_on_the_hub(hub: Hub, tmp_path: Path) -> None:
    """Nobody can slip something in under its name."""
    ours = target("lab/chat", source="package:nearfar-shapes-64")
    with pytest.raises(Unavailable, match="nearfar models pull"):
        model_source.resolve(ours, tmp_path, downloads=True)

    assert [] == hub.asked


def test_the_commit_is_the_one_asked_for(hub: Hub) -> None:
    """All sizes are those of one commit."""
    assert SHA == hub_models.look_up(target()).revision
