"""How long and how large a request's head may be, below anything that could answer it: uvicorn has no such limits.

A head that is not complete in time closes its connection: nobody can be answered who has asked nothing. So does a body
that goes on trickling in after its request was answered. (A body that is waited for is the door's, which does answer.)
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.section import ServerSettings

_HEAD = b"HTTP/1."
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 30\r\nconnection: close\r\n\r\n"
    b"The request's head is too long"
)


class _HeadTooLarge(Exception):
    """A head has more bytes than server.max_header_bytes."""


class _Joined:
    """A connection that holds an answer's head back for its body, which mostly is there at once: both go out as one.

    Where it is not, the head goes out at the loop's next turn.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """Send it, after a head that waits."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.writelines((head, data))
        elif data.startswith(_HEAD):
            self._head = data
            self._loop.call_soon(self._release)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what waits, and close."""
        self._release()
        self._transport.close()

    def _release(self) -> None:
        if self._head is not None and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head = None

    def __getattr__(self, name: str) -> Any:
        """Everything else, as the connection has it."""
        return getattr(self._transport, name)


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `limits` and `told` are set by `protocol_of`."""

    limits: ServerSettings
    told: Callable[[int], None]
    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0  # of the head that is being read, as far as the parser has told
    _unparsed = 0  # received since it last told anything
    _too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self.transport = _Joined(transport, self.loop)  # type: ignore[assignment]
        self.told(len(self.connections))
        self._wait(self.limits.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait(None)
        super().connection_lost(exc)
        self.told(len(self.connections))

    def data_received(self, data: bytes) -> None:
        """Read on. The parser keeps an unfinished line to itself, so what it has not told of is counted here."""
        self._unparsed += len(data)
        super().data_received(data)
        if not self._in_head:
            return
        if self._timer is None:  # a head has begun, and not come at once; the first was waited for already
            self._wait(self.limits.header_timeout_s)
        if self._unparsed > self.limits.max_header_bytes + len(data):
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """A head has begun."""
        self._in_head, self._head_bytes, self._unparsed = True, 0, 0  # what came before was a body's
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head is there."""
        self._in_head, self._unparsed = False, 0
        self._wait(None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A body is there; one whose request was answered before was waited for here."""
        self._wait(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer has gone out; what is still to come of its request's body may not take for ever."""
        unread = self.cycle is not None and self.cycle.more_body
        super().on_response_complete()
        if unread and not self.transport.is_closing():
            self._wait(self.limits.body_timeout_s)

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, or what is too long to be, and close; no answer under way is written into."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        if self._in_head and (self._too_large or not msg):
            self.transport.write(_TOO_LARGE)
            self.transport.close()
            return
        super().send_400_response(msg)

    def _count(self, size: int) -> None:
        """Count what the parser tells of a head.

        Raises:
            _HeadTooLarge: it is more than there may be; the parser then stops, and uvicorn refuses the request.
        """
        self._unparsed = 0
        self._head_bytes += size
        if self._head_bytes > self.limits.max_header_bytes:
            self._too_large = True
            raise _HeadTooLarge

    def _wait(self, seconds: float | None) -> None:
        """Close the connection after so many seconds, unless something happens before; None waits for nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()


def protocol_of(settings: ServerSettings, told: Callable[[int], None] = lambda _: None) -> Any:
    """The protocol class with these limits, as uvicorn wants it; `told` is told how many are open when that changes."""
    return type("Protocol", (LimitedProtocol,), {"limits": settings, "told": staticmethod(told)})
