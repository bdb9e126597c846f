"""The exact cache as clients see it: the same bodies, and headers that say where the answer came from."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.app import create_app
from router.decision_log.log import DecisionLog
from router.section import CacheSettings
from router.sections import CandidateEntry, ModelEntry, Price, Settings
from router.settings import Secrets

CHAT = {"model": "test/chat", "messages": [{"role": "user", "content": "hello"}], "temperature": 0}
MODELS = (
    ModelEntry(
        id="test/chat",
        task="text-generation",
        candidates=(
            CandidateEntry(backend="fake", provider="a", script={"near": True}, price=Price(per_request_usd=0.001)),
        ),
    ),
)


def asked(tmp_path: Path, *requests: tuple[str, Any], cache: bool = True) -> list[httpx.Response]:
    """The answers to some requests, one after the other; a body of None is a GET."""

    async def ask() -> list[httpx.Response]:
        settings = Settings(models=MODELS, cache=CacheSettings(enabled=cache))
        app = create_app(settings, Secrets(), DecisionLog.open(tmp_path / "log.duckdb"))
        async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
            return [
                await client.request("GET" if body is None else "POST", f"http://localhost{path}", json=body)
                for path, body in requests
            ]

    return asyncio.run(ask())


def backend(answer: httpx.Response) -> str:
    return answer.headers["x-nearfar-backend"]


def test_a_chat_is_the_same_from_the_cache(tmp_path: Path) -> None:
    """OpenAI's body is the same but for its id and time, its usage too; model and cost are told in the headers."""
    path = "/v1/chat/completions"
    first, second, streamed = asked(tmp_path, (path, CHAT), (path, CHAT), (path, CHAT | {"stream": True}))
    told = second.headers

    assert ["fake", "cache", "cache"] == [backend(answer) for answer in (first, second, streamed)]
    for name in ("model", "choices"):
        assert first.json()[name] == second.json()[name]
    assert first.json()["usage"] | {"cost": 0.0} == second.json()["usage"]
    assert ("cache", "test/chat", "cached") == tuple(
        told[f"x-nearfar-{name}"] for name in ("provider", "model", "cost-source")
    )
    assert 0 == float(told["x-nearfar-cost-usd"])
    assert first.json()["choices"][0]["message"]["content"] in streamed.text
    assert streamed.text.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "fake/embeddings", "input": ["a", "b"]}),
        ("/v1/embeddings", {"model": "fake/embeddings", "input": "a", "encoding_format": "base64"}),
        ("/v1/inference", {"model": "fake/embeddings", "inputs": ["a", "b"]}),
        ("/v1/inference", {"model": "test/chat", "inputs": "a", "parameters": {"temperature": 0}}),
        ("/models/fake/embeddings", {"inputs": "a"}),
    ],
)
def test_every_surface_has_it(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    """Asked twice in any convention, the second answer is the first one again, from the cache."""
    first, second = asked(tmp_path, (path, body), (path, body))

    assert ("fake", "cache") == (backend(first), backend(second))
    one, other = first.json(), second.json()
    for answer in (one, other):
        if isinstance(answer, dict):
            for name in ("id", "decision_id", "latency_ms", "queue_ms", "reason", "attempts", "backend", "provider"):
                answer.pop(name, None)
            for name in ("device", "cost_usd", "cost_credits", "cost_source", "created"):
                answer.pop(name, None)
    assert one == other


def test_one_surface_answers_another(tmp_path: Path) -> None:
    """The key is what is asked of the model, not the convention it is asked in."""
    first, second = asked(
        tmp_path,
        ("/v1/embeddings", {"model": "fake/embeddings", "input": "a"}),
        ("/v1/inference", {"model": "fake/embeddings", "inputs": "a"}),
    )

    assert ("fake", "cache") == (backend(first), backend(second))
    assert first.json()["data"][0]["embedding"] == second.json()["result"]


def test_a_request_can_do_without_it(tmp_path: Path) -> None:
    """`routing.cache: false` is heard, and so is a configuration that never turned it on."""
    path, off = "/v1/chat/completions", CHAT | {"routing": {"cache": False}}
    on = asked(tmp_path / "on", (path, CHAT), (path, off))
    never = asked(tmp_path / "never", (path, CHAT), (path, CHAT), cache=False)

    assert ["fake"] * 4 == [backend(answer) for answer in (*on, *never)]


def test_metrics_and_system_health_say_how_it_does(tmp_path: Path) -> None:
    """Hits, misses and bytes are counted once, however often they are looked at."""
    path = "/v1/chat/completions"
    *_, metrics, system = asked(
        tmp_path, (path, CHAT), (path, CHAT), ("/metrics", None), ("/metrics", None), ("/v1/system", None)
    )
    counted = dict(line.split() for line in metrics.text.splitlines() if line.startswith("nearfar_cache"))

    assert ("1.0", "1.0", "1.0") == tuple(
        counted[f"nearfar_cache_{name}"] for name in ("hits_total", "misses_total", "entries")
    )
    cache = system.json()["cache"]
    assert float(counted["nearfar_cache_bytes"]) == cache["bytes"] > 0
    assert {"hits": 1, "misses": 1, "entries": 1, "enabled": True} == {
        name: cache[name] for name in ("hits", "misses", "entries", "enabled")
    }
    assert 'nearfar_requests_total{backend="cache",status="ok",surface="/v1/chat/completions"} 1.0' in metrics.text
