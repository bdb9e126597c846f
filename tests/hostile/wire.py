"""A connection of one's own: bytes out as they are, bytes in until the other side closes."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATIENCE_S = 30.0  # a server that is silent for so long hangs


class Answer(NamedTuple):
    """One answer as it came, its status read off; 0 where the connection was closed without one."""

    status: int
    raw: bytes

    @property
    def head(self) -> bytes:
        """Status line and headers."""
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        """What follows them."""
        return self.raw.partition(b"\r\n\r\n")[2]


@contextlib.contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A fresh connection that gives up waiting after `PATIENCE_S`."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=PATIENCE_S) as sock:
        yield sock


def rest(sock: socket.socket) -> bytes:
    """Whatever comes until the other side closes; a reset is a close.

    Raises:
        TimeoutError: it neither says anything nor closes.
    """
    came = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65536):
            came += data
    return bytes(came)


def exchange(url: str, raw: bytes) -> Answer:
    """Send these bytes and take what comes until the other side closes. `raw` should ask for that."""
    with connected(url) as sock:
        with contextlib.suppress(ConnectionError):  # refused before all of it was read
            sock.sendall(raw)
        came = rest(sock)
    return Answer(int(came[9:12]) if came[:5] == b"HTTP/" else 0, came)


def post(url: str, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    """POST these bytes as JSON, or as the headers say; a header of None is left out."""
    given = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in (given | {"connection": "close"} | dict(headers or {})).items()]
    return exchange(
        url, f"POST {path} HTTP/1.1\r\n".encode() + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
    )


def get(url: str, path: str, *headers: str) -> Answer:
    """GET a path as it is written here."""
    lines = [f"GET {path} HTTP/1.1", "host: localhost", "connection: close", *headers]
    return exchange(url, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")


def error_of(answer: Answer) -> Any:
    """The `error` of a JSON answer."""
    return json.loads(answer.body)["error"]
