"""How workers ask each other: HTTP over a private Unix socket that each listens at, beside the one all serve from.

A request that came this way (`is_private`) is served by whoever it came to.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from httptools import HttpParserError, HttpResponseParser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

_BLOCK = 256 * 1024
_OF_A_HOP = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer", b"expect"})


class Begun(NamedTuple):
    """The head of an answer."""

    status: int
    headers: list[tuple[bytes, bytes]]


class PeerGone(ConnectionError):
    """The other worker ended before its answer did, or never began one."""


class Peer:
    """One request to another worker, and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._events: list[Begun | bytes] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._complete = False
        self._parser: Any = HttpResponseParser(self)
        self._bodiless = False
        self._chunked = False

    def begin(self, method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send the head of a request."""
        passed = [(name, value) for name, value in headers if name.lower() not in _OF_A_HOP]
        self._bodiless = method == "HEAD"
        self._chunked = method not in {"GET", "HEAD"} and all(name.lower() != b"content-length" for name, _ in passed)
        if self._chunked:
            passed.append((b"transfer-encoding", b"chunked"))
        lines = b"".join(b"%s: %s\r\n" % pair for pair in passed)
        self._writer.write(b"%s %s HTTP/1.1\r\n%sconnection: close\r\n\r\n" % (method.encode(), target, lines))

    async def send(self, data: bytes, *, more: bool) -> None:
        """Send a piece of the body.

        Raises:
            OSError: the other worker reads no more.
        """
        if not self._chunked:
            self._writer.write(data)
        else:
            if data:
                self._writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            if not more:
                self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def events(self) -> AsyncIterator[Begun | bytes]:
        """The answer: its head, then its body as it comes.

        Raises:
            PeerGone: it is not whole.
        """
        while not self._complete:
            data = await self._reader.read(_BLOCK)
            if not data:
                raise PeerGone("the other worker ended")
            try:
                self._parser.feed_data(data)
            except HttpParserError as error:
                raise PeerGone("the other worker's answer cannot be read") from error
            events, self._events = self._events, []
            for event in events:
                yield event

    def close(self) -> None:
        """Let go of it; a request that is not answered yet is given up."""
        self._writer.close()

    # --- what the parser calls ------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the answer."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Its head is whole; one that only said to go on is no answer."""
        headers, self._headers = self._headers, []
        status = self._parser.get_status_code()
        if status >= 200:
            kept = [(name, value) for name, value in headers if name not in _OF_A_HOP]
            self._events.append(Begun(status, kept))
            self._complete = self._bodiless

    def on_body(self, data: bytes) -> None:
        """A piece of its body."""
        self._events.append(data)

    def on_message_complete(self) -> None:
        """It is whole."""
        self._complete = self._parser.get_status_code() >= 200


@asynccontextmanager
async def asked(path: Path) -> AsyncIterator[Peer]:
    """A connection to the worker that listens there.

    Raises:
        OSError: nobody does.
    """
    peer = Peer(*await asyncio.open_unix_connection(str(path)))
    try:
        yield peer
    finally:
        peer.close()


def is_private(scope: Any) -> bool:
    """Whether a request came from another worker: to a socket that has no port."""
    server = scope.get("server")
    return server is not None and server[1] is None


def socket_of(folder: Path, number: int) -> Path:
    """Where a worker listens for the others."""
    return folder / f"worker-{number}"


def target_of(scope: Any) -> bytes:
    """What a request asks for, as it was written."""
    raw, query = scope.get("raw_path") or scope["path"].encode(), scope.get("query_string", b"")
    return bytes(raw) + (b"?" + bytes(query) if query else b"")
