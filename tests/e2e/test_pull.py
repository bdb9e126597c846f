"""`nearfar models pull` against a hub on loopback: what it asks, fetches and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import hub_peer
from tests.hub_peer import safetensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hub_peer import Hub

CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"]}).encode()
CHAT = {"config.json": CONFIG, "tokenizer.json": b"{}", "model.safetensors": safetensors(250_000)}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_peer.running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        card = {"pipeline_tag": "text-generation", "safetensors": {"parameters": {"F32": 250_000}, "total": 250_000}}
        hub.models = {"lab/chat": CHAT, "lab/old": {"config.json": CONFIG, "pytorch_model.bin": b"\x80\x02"}}
        hub.cards = {"lab/chat": card, "lab/old": {"pipeline_tag": "text-generation"}}
        yield hub


def pull(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "router", "models", "pull", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "160"},
    )  # fmt: skip


def test_a_model_of_the_hub_is_pulled_by_its_name(hub: Hub, tmp_path: Path) -> None:
    """Without a token and without a setting: who pulls has said that the hub may be asked."""
    done = pull(tmp_path, "lab/chat")
    again = pull(tmp_path, "lab/chat")

    assert (0, 0) == (done.returncode, again.returncode), done.stderr
    assert "lab/chat: ready" in done.stderr
    assert dict.fromkeys(CHAT, 1) == {name: hub.sent().count(name) for name in CHAT}


def test_what_cannot_fit_is_refused_unless_forced(hub: Hub, tmp_path: Path) -> None:
    """The sentence names what is needed, what there is, and the way past it."""
    hub.cards["lab/chat"]["safetensors"] = {"parameters": {"F32": 10**13}, "total": 10**13}
    refused = pull(tmp_path, "lab/chat")
    before = hub.sent()
    forced = pull(tmp_path, "--force", "lab/chat")

    assert (1, 0) == (refused.returncode, forced.returncode), forced.stderr
    assert "'lab/chat' does not fit this machine: it needs " in refused.stderr
    assert "GiB RAM may be used" in refused.stderr
    assert "--force" in refused.stderr
    assert [] == before
    assert "Traceback" not in refused.stderr


def test_one_that_fails_leaves_the_others_alone(hub: Hub, tmp_path: Path) -> None:
    """Both are said, and the exit code tells that something is missing."""
    done = pull(tmp_path, "lab/old", "lab/chat")

    assert 1 == done.returncode
    assert "lab/old: 'lab/old' has only pickled weights" in done.stderr
    assert "local.pickles = true" in done.stderr
    assert "lab/chat: ready" in done.stderr


def test_pickles_are_pulled_where_they_are_allowed(hub: Hub, tmp_path: Path) -> None:
    """By a setting, never by itself."""
    (tmp_path / "nearfar.toml").write_text("local.pickles = true\n")
    done = pull(tmp_path, "lab/old")

    assert 0 == done.returncode, done.stderr
    assert "pytorch_model.bin" in hub.sent()
