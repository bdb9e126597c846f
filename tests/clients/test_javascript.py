"""The JavaScript clients of OpenAI and of the hub, in Node: each script runs its calls and prints what came."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.conftest import javascript
from tests.clients.far import ARGUMENTS, WORDS
from tests.e2e.conftest import MINILM
from tests.e2e.media import base64_of, wav

if TYPE_CHECKING:
    from tests.clients.conftest import House

CALLED = {"name": "weather", "arguments": ARGUMENTS}


@pytest.fixture(scope="module")
def openai_js(house: House) -> dict[str, Any]:
    return javascript("openai.mjs", house.url, base64_of(wav()))


@pytest.fixture(scope="module")
def hub_js(house: House) -> dict[str, Any]:
    return javascript("huggingface.mjs", house.url, base64_of(wav()))


def test_openai_js_generates_near_whole_and_streamed(openai_js: dict[str, Any]) -> None:
    """Chats and completions; the pieces add up to the whole."""
    assert "Paris" in openai_js["chat"]
    assert openai_js["chat"] == openai_js["chatStreamed"]
    assert "Paris" in openai_js["completion"]
    assert openai_js["completion"] == openai_js["completionStreamed"]


def test_openai_js_calls_tools_far(openai_js: dict[str, Any]) -> None:
    """Whole, and put together by the client's stream helper."""
    assert CALLED.items() <= openai_js["tool"].items()
    assert CALLED.items() <= openai_js["toolStreamed"].items()
    assert "tool_calls" == openai_js["finish"]


def test_openai_js_does_the_other_tasks(openai_js: dict[str, Any]) -> None:
    """Vectors from text and from token ids, drawings, transcripts, models."""
    assert (384, 8) == (openai_js["embedding"], openai_js["floats"])
    assert ["PNG", "PNG"] == openai_js["images"]
    assert openai_js["transcript"].strip() in openai_js["srt"]
    assert MINILM == openai_js["model"]
    assert {MINILM, "far/able", "breaks"} <= set(openai_js["listed"])


def test_openai_js_raises_its_own_errors(openai_js: dict[str, Any]) -> None:
    """400, 404, 422 and 5xx have classes of their own; a stream that breaks raises too."""
    told = {
        name: (openai_js[name]["kind"], openai_js[name]["status"]) for name in ("notFound", "bad", "unable", "broken")
    }

    assert ("NotFoundError", 404) == told["notFound"]
    assert ("BadRequestError", 400) == told["bad"]
    assert ("UnprocessableEntityError", 422) == told["unable"]
    assert ("InternalServerError", 502) == told["broken"]
    assert "tools" == openai_js["unable"]["param"]
    assert openai_js["cut"] is not None


def test_hub_js_does_every_task(hub_js: dict[str, Any]) -> None:
    """Raw bytes and JSON alike."""
    assert 384 == hub_js["embedding"]
    assert hub_js["labels"] > 1
    assert "sports" == hub_js["zeroShot"][0]["label"]
    assert "PNG" == hub_js["image"]
    assert {"label", "score"} <= hub_js["photo"][0].keys()
    assert hub_js["transcript"]


def test_hub_js_generates_and_chats(hub_js: dict[str, Any]) -> None:
    """Whole and streamed. It asks for completions in OpenAI's shape, and hands their chunks on as they come."""
    assert "Paris" in hub_js["generated"]
    assert hub_js["generated"] == "".join(hub_js["generatedStreamed"])
    assert "".join(WORDS) == hub_js["chat"] == hub_js["chatStreamed"]
    assert CALLED.items() <= hub_js["tool"].items()


def test_hub_js_raises_its_own_errors(hub_js: dict[str, Any]) -> None:
    """With the status and our words."""
    assert (404, 400, 422) == tuple(hub_js[name]["status"] for name in ("notFound", "bad", "unable"))
    assert "tools" in json.dumps(hub_js["unable"])
