"""A router's connection to the owner, over TCP or a Unix socket. Every function blocks; each call goes once around.

It is the standard library's client, because the one that asks far sides (pyreqwest 0.15) knows no Unix sockets. Its
sockets are Python's own, so the egress guard hears of them.
"""

from __future__ import annotations

import socket
import threading
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import msgspec

from router.cluster.wire import DOCUMENTS, EXCHANGE, MAX_BYTES, Answer, Change, Document, Exchange, decode, encode
from router.errors import OwnerAway

if TYPE_CHECKING:
    from msgspec import Struct

TIMEOUT_S = 2.0
UNIX = "unix:"
T = TypeVar("T", bound="Struct")


class Link:
    """The owner at an address. One call at a time: the others wait for their turn."""

    def __init__(self, address: str, secret: str | None, timeout_s: float = TIMEOUT_S) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._headers = {"content-type": "application/json"}
        if secret is not None:
            self._headers["authorization"] = f"Bearer {secret}"
        self._turn = threading.Lock()
        self._connection: HTTPConnection | None = None

    def exchange(self, said: Exchange) -> Answer:
        """What the owner answers.

        Raises:
            OwnerAway: nobody answers there, or not as the owner does.
        """
        return self._read(self._ask("POST", EXCHANGE, encode(said)), Answer)

    def document(self, name: str) -> Document:
        """A document as it is.

        Raises:
            OwnerAway: as above.
        """
        return self._read(self._ask("GET", f"{DOCUMENTS}/{name}"), Document)

    def change(self, name: str, change: Change) -> Document | None:
        """Put a document in the place of the version that was seen; None where somebody was faster.

        Raises:
            OwnerAway: as above. Whether the document has changed is not known then.
        """
        status, body = self._ask("PUT", f"{DOCUMENTS}/{name}", encode(change))
        return None if status == 409 else self._read((status, body), Document)

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._turn:
            self._drop()

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        with self._turn:
            kept = self._connection is not None
            try:
                return self._once(method, path, body)
            except (OSError, HTTPException) as error:
                self._drop()
                if not kept or method == "PUT" or isinstance(error, TimeoutError):
                    raise self._away(type(error).__name__) from error
            try:  # the owner may have been restarted since the last call; and whatever is said twice is said once
                return self._once(method, path, body)
            except (OSError, HTTPException) as error:
                self._drop()
                raise self._away(type(error).__name__) from error

    def _once(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = _connection(self.address, self._timeout_s)
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        answer = response.read(MAX_BYTES + 1)
        if len(answer) > MAX_BYTES:
            raise HTTPException("an answer that is too large")
        return response.status, answer

    def _read(self, answer: tuple[int, bytes], kind: type[T]) -> T:
        status, body = answer
        if status == 401:
            raise self._away("it does not accept our NEARFAR_CLUSTER_SECRET")
        if status != 200:
            raise self._away(f"it answered {status}")
        try:
            return decode(body, kind)
        except msgspec.DecodeError as error:
            raise self._away("it does not answer as an owner does") from error

    def _away(self, why: str) -> OwnerAway:
        return OwnerAway(f"The owner of what the routers share ({self.address}) does not answer: {why}.")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connection(address: str, timeout_s: float) -> HTTPConnection:
    if address.startswith(UNIX):
        return _UnixConnection(address.removeprefix(UNIX), timeout_s)
    parts = urlsplit(address)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=timeout_s)


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
