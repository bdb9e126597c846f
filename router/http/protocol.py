"""How long a connection may keep us waiting, below anything that could answer it: uvicorn itself has no such limits.

A head that is not complete in time closes its connection: nobody can be answered who has asked nothing. So does a body
that goes on trickling in after its request was answered. (A body that is waited for is the door's, which does answer.)
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class TimedProtocol(HttpToolsProtocol):
    """One connection. The limits are seconds, and set by `timed_protocol`."""

    header_timeout_s: float
    body_timeout_s: float
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait(self.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait(None)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head has begun; the first was waited for already."""
        if self._timer is None:
            self._wait(self.header_timeout_s)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is there."""
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
            self._wait(self.body_timeout_s)

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


def timed_protocol(header_timeout_s: float, body_timeout_s: float) -> Any:
    """The protocol class with these limits, in seconds, as uvicorn wants it."""
    return type(
        "LimitedProtocol", (TimedProtocol,), {"header_timeout_s": header_timeout_s, "body_timeout_s": body_timeout_s}
    )
