"""A router's side of its connection to the driver: many orders under way at once, and what comes of each."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from backends.errors import Interrupted
from backends.frames import Frames, framed
from backends.ray import messages, wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from backends.ray.messages import Order

    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_BLOCK = 256 * 1024
_BROKE = "the process that speaks with the Ray cluster ended"


class Reply:
    """What comes of one order, piece by piece, as bytes (`backends.ray.wire`)."""

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number
        self._bodies: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._ended = False

    def hear(self, body: bytes | None) -> None:
        """Take what came; None where no more will."""
        self._bodies.put_nowait(body)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        body = None if self._ended else await self._bodies.get()
        if body is None:
            self._ended = True
            raise StopAsyncIteration
        return body

    async def done(self) -> None:
        """Return at its end.

        Raises:
            BackendError: what it failed with.
        """
        async for body in self:
            wire.value_of(body)

    def cancel(self) -> None:
        """Stop the work, as nobody waits for it; where it has ended that changes nothing."""
        self._link.cancel(self._number)


class Link:
    """One connection, from when it stands until it ends; then whatever was under way has failed."""

    def __init__(self, streams: Streams, ended: Callable[[str], None]) -> None:
        self._reader, self._writer = streams
        self._ended = ended
        self._numbers = itertools.count()
        self._replies: dict[int, Reply] = {}
        self._closed = False
        self._why = _BROKE
        self._listening = asyncio.get_running_loop().create_task(self._listen(), name="listening to ray's driver")

    @classmethod
    async def over(cls, sock: socket.socket, ended: Callable[[str], None]) -> Link:
        """The link over a socket; `ended` is told why when it ends, unless that was asked for."""
        return cls(await asyncio.open_unix_connection(sock=sock), ended)

    def send(self, kind: Callable[..., Order], *given: object) -> Reply:
        """Send an order.

        Raises:
            Interrupted: the link has ended.
        """
        if self._closed:
            raise Interrupted(self._why)
        number = next(self._numbers)
        reply = self._replies[number] = Reply(self, number)
        self._write(kind(number, *given))
        return reply

    def cancel(self, number: int) -> None:
        """Forget an order, and have its work stopped."""
        if self._replies.pop(number, None) is not None and not self._closed:
            self._write(messages.Cancel(number))

    def drop(self, why: str) -> None:
        """Let it end as if the driver had died."""
        self._why = why
        self._writer.transport.abort()

    async def aclose(self) -> None:
        """End it."""
        self._closed = True
        self._listening.cancel()
        await asyncio.wait([self._listening])
        self._end()

    def _write(self, order: Order) -> None:
        with suppress(ConnectionError, RuntimeError):  # it is closed over there: `_listen` hears so
            self._writer.write(framed(messages.encode(order)))

    async def _listen(self) -> None:
        frames = Frames()
        try:
            while data := await self._reader.read(_BLOCK):
                for message in frames.feed(data):
                    self._hear(messages.said(message))
        except ConnectionError:
            pass  # a driver that died: the same end
        finally:
            if not self._closed:
                self._ended(self._why)
            self._end()

    def _hear(self, said: messages.Said) -> None:
        reply = self._replies.get(said.number)
        if reply is not None:  # else nobody waits for it
            reply.hear(said.body)
        if said.body is None:
            self._replies.pop(said.number, None)

    def _end(self) -> None:
        self._closed = True
        replies, self._replies = self._replies, {}
        for reply in replies.values():
            reply.hear(wire.failure(Interrupted(self._why)))
            reply.hear(None)
        self._writer.close()
