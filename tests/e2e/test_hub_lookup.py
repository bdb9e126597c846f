"""A model that nobody listed: looked up on a hub (a loopback one), its price unknown until given."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Server

MODELS = {
    "lab/chatter": {
        "id": "lab/chatter",
        "pipeline_tag": "text-generation",
        "safetensors": {"parameters": {"F32": 1_000_000}, "total": 1_000_000},
    },
    "lab/painter": {"id": "lab/painter", "pipeline_tag": "image-to-video"},
}


class Hub(ThreadingHTTPServer):
    """Answers model lookups, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path.split("?")[0])  # type: ignore[attr-defined]
        found = MODELS.get(self.path.split("?")[0].removeprefix("/api/models/"))
        body = json.dumps(found or {"error": "Repository not found"}).encode()
        self.send_response(200 if found else 404)
        if not found:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet: the tests look at `asked`."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{found.server_address[1]}")
        yield found
        found.shutdown()
        thread.join()


def test_any_model_of_the_hub_can_be_asked_for(
    hub: Hub, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Task and size come from the hub, once; the price is unknown, so what ranks by cost rejects it with a hint."""
    monkeypatch.setenv("HF_TOKEN", "hf_made_up_for_this_test")
    server = serve()
    fast = server.post("/v1/route", {"model": "lab/chatter", "inputs": "hi", "routing": {"policy": "fastest"}}).body
    balanced = server.post("/v1/inference", {"model": "lab/chatter", "inputs": "hi"})
    missing = server.post("/v1/inference", {"model": "lab/nothing", "inputs": "hi"})
    unserved = server.post("/v1/inference", {"model": "lab/painter", "inputs": "hi"})
    far = next(row for row in fast["candidates"] if row["backend"] == "remote")

    assert ("text-generation", "huggingface:lab/chatter") == (fast["task"], fast["chosen"])
    assert (None, "unknown") == (far["cost_usd"], far["cost_source"])
    assert 422 == balanced.status
    assert "price unknown" in balanced.body["error"]["message"]
    assert (404, 404) == (missing.status, unserved.status)
    assert 1 == hub.asked.count("/api/models/lab/chatter")
    assert "made_up" not in json.dumps([fast, balanced.body, missing.body, unserved.body]) + server.errors()


def test_without_a_token_or_permission_nobody_is_asked(hub: Hub, serve: Callable[..., Server]) -> None:
    """No token, no downloads: an unknown model is a plain 404 and nothing leaves this machine."""
    server = serve()

    assert 404 == server.post("/v1/inference", {"model": "lab/chatter", "inputs": "hi"}).status
    assert [] == hub.asked
