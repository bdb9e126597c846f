"""By default nothing that was sent in is on disk or in the process's log, whatever became of the request."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from backends.errors import InvalidInput, RemoteError
from router.app import create_app
from router.decision_log.log import DecisionLog
from router.section import CacheSettings
from router.sections import ModelEntry, Settings
from router.settings import Secrets
from tests.unit.router.house import fake

CANARY = "kestrel-40917 flies over the quarry at dawn"
MODELS = (
    ModelEntry(id="test/well", task="text-generation", candidates=(fake("a", near=True),)),
    ModelEntry(id="test/fails", task="text-generation", candidates=(fake("b", fail="RemoteError"),)),
    ModelEntry(id="test/breaks", task="text-generation", candidates=(fake("c", fail_after_tokens=2),)),
    ModelEntry(id="test/slow", task="text-generation", candidates=(fake("d", latency_ms=500),)),
)
BODIES: tuple[tuple[str, Any], ...] = (
    ("/v1/chat/completions", {"model": "test/well", "messages": [{"role": "user", "content": CANARY}]}),
    ("/v1/chat/completions", {"model": "test/well", "messages": [{"role": "user", "content": CANARY}], "stream": True}),
    ("/v1/chat/completions", {"model": "test/well", "messages": [{"role": CANARY, "content": CANARY}]}),
    ("/v1/chat/completions", {"model": "test/well", "messages": CANARY}),
    ("/v1/chat/completions", {"model": "test/fails", "messages": [{"role": "user", "content": CANARY}]}),
    (
        "/v1/chat/completions",
        {"model": "test/breaks", "messages": [{"role": "user", "content": CANARY}], "stream": True},
    ),
    ("/v1/inference", {"model": "test/slow", "inputs": CANARY, "routing": {"deadline_ms": 20}}),
    ("/v1/inference", {"model": "test/well", "inputs": CANARY, "parameters": {"seed": -1}}),
    ("/v1/inference", {"model": "test/well", "inputs": CANARY, "routing": {"only": ["nobody"]}}),
    ("/v1/inference", {"model": "test/none", "inputs": CANARY}),
    ("/v1/inference", {"model": "test/well", "inputs": CANARY, "task": "text-classification"}),
    ("/v1/embeddings", {"model": "fake/embeddings", "input": [CANARY, ""]}),
    ("/v1/embeddings", {"model": "fake/embeddings", "input": CANARY}),
    ("/models/fake/embeddings", {"inputs": CANARY}),
)


BUGS = (InvalidInput(f"status 400: no: {CANARY!r}"), RemoteError(f"near '{CANARY[3:30]}'"), KeyError(CANARY))


async def asked(client: httpx.AsyncClient, backend: Any) -> list[int]:
    """The status of every request, also of those whose backend repeats in an error what it was asked."""
    answers = [await client.post(f"http://localhost{path}", json=body) for path, body in BODIES]
    for error in BUGS:

        async def refuse(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        backend.infer = refuse
        answers.append(await client.post(f"http://localhost{BODIES[0][0]}", json=BODIES[0][1]))
    return [answer.status_code for answer in answers]


def full(_: object) -> None:
    raise OSError("no space left on device")


def around(words: bytes, content: bytes) -> bytes:
    """What the words stand among in a file, for whoever has to find out why; nothing where they are not there."""
    at = content.find(words)
    return content[max(0, at - 200) : at + 100] if at >= 0 else b""


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("spilling", [False, True])
def test_nothing_sent_in_is_kept_anywhere(tmp_path: Path, caplog, monkeypatch, spilling) -> None:
    """The database, its log of writes, the spill file, refused rows and what is logged: the words are in none.

    With `spilling` the database takes nothing meanwhile, so that all rows lie in the spill file when it is looked at.
    """
    settings = Settings(models=MODELS, cache=CacheSettings(enabled=True))
    found: list[dict[str, bytes]] = []
    queue_rows = 1 if spilling else 100_000

    async def test() -> list[int]:
        app = create_app(settings, Secrets(), DecisionLog.open(tmp_path / "log.duckdb", queue_rows=queue_rows))
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with app.lifespan(), httpx.AsyncClient(transport=transport) as client:
            if spilling:
                monkeypatch.setattr(DecisionLog, "_step", full)
            statuses = await asked(client, app.state.services.backends["fake"])
            found.append(await asyncio.to_thread(contents, tmp_path))
            monkeypatch.undo()
        return statuses

    with caplog.at_level(logging.DEBUG):
        statuses = asyncio.run(test())
    found.append(contents(tmp_path))

    assert {200, 400, 404, 422, 500, 502, 504} <= set(statuses)
    assert spilling == (b"test/fails" in found[0].get("log.duckdb.spill", b""))
    for words in (CANARY, CANARY[3:30], "kestrel-40917"):
        assert [] == [
            around(words.encode(), content)
            for files in found
            for content in files.values()
            if words.encode() in content
        ]
        assert words not in caplog.text
