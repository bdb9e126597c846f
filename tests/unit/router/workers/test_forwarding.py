"""Requests that one worker hands to another: whole, or refused, or broken off as they were."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any, Self

import pytest

from router.workers.forwarding import Forwarding, is_own
from router.workers.peers import is_private
from tests.unit.loops import in_a_loop

HEADERS = [(b"host", b"x"), (b"authorization", b"Bearer secret"), (b"expect", b"100-continue")]


class First:
    """A first worker that takes one request apart and says what it is to say; no more than the wire is looked at."""

    def __init__(self, path: Path, *said: bytes) -> None:
        self.path, self._said = path, said
        self.got = b""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.got = await reader.readuntil(b"\r\n\r\n")
        if b"chunked" in self.got:
            self.got += await reader.readuntil(b"0\r\n\r\n")
        for piece in self._said:
            writer.write(piece)
            await writer.drain()
        writer.close()


async def asked(first: Path, method: str = "GET", body: tuple[bytes, ...] = (), **scope: Any) -> list[dict[str, Any]]:
    """What a client hears that asks a worker beside the first."""
    sent: list[dict[str, Any]] = []
    pieces = [{"type": "http.request", "body": piece, "more_body": True} for piece in body]
    pieces.append({"type": "http.request", "body": b"", "more_body": False})

    async def own(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"own", "more_body": False})

    async def receive() -> dict[str, Any]:
        return pieces.pop(0) if pieces else await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asking = {"type": "http", "method": method, "path": "/v1/files/a b", "raw_path": b"/v1/files/a%20b",
              "query_string": b"limit=2", "headers": HEADERS, "client": ("127.0.0.1", 1),
              "server": ("127.0.0.1", 80)}  # fmt: skip
    await Forwarding(own, first)(asking | scope, receive, send)
    return sent


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="nearfar-test-") as folder:
        yield Path(folder) / "worker-0"


@in_a_loop
async def test_an_answer_in_chunks_is_passed_on_as_it_comes(path: Path) -> None:
    """With its status and its own headers; those that belong to the connection between the two stay there."""
    answer = (b"HTTP/1.1 201 Created\r\ncontent-type: text/x\r\nTransfer-Encoding: chunked\r\nConnec",
              b"tion: close\r\n\r\n3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")  # fmt: skip
    async with First(path, *answer) as first:
        sent = await asked(path)

    assert {"type": "http.response.start", "status": 201, "headers": [(b"content-type", b"text/x")]} == sent[0]
    assert b"abcde" == b"".join(message["body"] for message in sent[1:])
    assert [True, False] == [sent[1]["more_body"], sent[-1]["more_body"]]
    head = first.got.decode()
    assert head.startswith("GET /v1/files/a%20b?limit=2 HTTP/1.1\r\n")
    assert "authorization: Bearer secret" in head
    assert "expect" not in head


@in_a_loop
async def test_a_body_of_unknown_length_arrives_whole(path: Path) -> None:
    """In pieces, as it comes."""
    async with First(path, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as first:
        sent = await asked(path, "POST", (b"one", b"", b"three"))

    assert 200 == sent[0]["status"]
    assert first.got.endswith(b"\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n")


@in_a_loop
async def test_while_the_first_is_away_whoever_asks_is_told_to_come_again(path: Path) -> None:
    """Nobody listens; or it ended before it began to answer."""
    sent = [await asked(path)]
    async with First(path, b"HTTP/1.1 200"):
        sent.append(await asked(path))

    for start, body in sent:
        assert 503 == start["status"]
        assert b"retry-after" in dict(start["headers"])
        assert "overloaded" == json.loads(body["body"])["error"]["code"]


@in_a_loop
async def test_an_answer_that_broke_off_is_not_ended(path: Path) -> None:
    """A truncated answer must not look like a whole one: the server then closes the client's connection."""
    async with First(path, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"):
        sent = await asked(path)

    assert [b"abc"] == [message["body"] for message in sent[1:]]
    assert all(message["more_body"] for message in sent[1:])


@in_a_loop
async def test_an_answer_to_head_has_no_body(path: Path) -> None:
    """Though it says how long it would be."""
    async with First(path, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"):
        sent = await asked(path, "HEAD")

    assert (200, b"") == (sent[0]["status"], sent[1]["body"])


@in_a_loop
async def test_what_every_worker_may_do_stays_where_it_came(path: Path) -> None:
    """Inference does; and what another worker has handed over is handed over no further."""
    assert 299 == (await asked(path, path="/v1/inference"))[0]["status"]
    assert 299 == (await asked(path, server=("/tmp/worker-0", None)))[0]["status"]


def test_paths_are_those_and_below() -> None:
    """Not every path that begins with the same letters."""
    assert [True, True, True] == [is_own("/v1/files"), is_own("/v1/files/x/content"), is_own("/v1/route")]
    assert [False, False, False] == [is_own("/v1/filesystem"), is_own("/v1/decisions/x"), is_own("/v1/embeddings")]


def test_who_comes_over_the_network_is_never_taken_for_a_worker() -> None:
    """Also where its address is not known any more: it has left, and its request is here still."""
    assert is_private({"client": None, "server": ("/run/worker-0", None)})
    assert not is_private({"client": ("::1", 5), "server": ("::1", 80)})
    assert not is_private({"client": None, "server": ("::1", 80)})
    assert not is_private({"client": None, "server": None})
