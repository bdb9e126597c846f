"""The process that Ray lives in: it does what its router orders over a socket, and ends when that closes.

Ray may hang, crash or end whatever process drives it, when a cluster is gone. So that is this one, and never a router.
"""

from __future__ import annotations

import asyncio
import select
import signal
import socket
import sys
import threading
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from backends.errors import BackendError, Interrupted
from backends.frames import Frames, framed
from backends.ray import messages, wire
from backends.ray.cluster import Cluster
from backends.ray.errors import is_settling, translated
from backends.ray.messages import Call, Cancel, Connect, Delete, Deploy, Look, Order, Said

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable

    from backends.ray.cluster import Handles

END_S = 15
"""How long leaving a cluster may take, or ending one of our own."""
SETTLE_S = 0.25  # until Serve is asked again for what it has not heard of
_BLOCK = 256 * 1024
_STOPPED = "the cluster stopped the replica in the middle of its work"


class Deployed(NamedTuple):
    """An application that calls go to."""

    model: str
    handles: Handles


class Driver:
    """Does what is ordered, as much at once as is ordered, and says what comes of it."""

    def __init__(self, cluster: Cluster, writer: asyncio.StreamWriter) -> None:
        self._cluster = cluster
        self._writer = writer
        self._deployed: dict[str, Deployed] = {}
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._connected = False

    def take(self, order: Order) -> None:
        """Begin with an order, or stop with one."""
        number = order.number
        if isinstance(order, Cancel):
            if number in self._under_way:
                self._under_way[number].cancel()
            return
        task = asyncio.get_running_loop().create_task(self._done(order))
        self._under_way[number] = task
        task.add_done_callback(lambda _: self._under_way.pop(number))

    async def aclose(self) -> None:
        """Stop with all of them, and leave the cluster."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._connected:
            await asyncio.to_thread(self._cluster.disconnect)

    async def _done(self, order: Order) -> None:
        try:
            with translated(self._about(order)):
                async with _owned(), aclosing(self._bodies(order)) as bodies:
                    async for body in bodies:
                        self._say(order.number, body)
        except BackendError as error:
            self._say(order.number, wire.failure(error))
        self._say(order.number, None)

    async def _bodies(self, order: Order) -> AsyncGenerator[bytes, None]:
        match order:
            case Connect():
                self._connected = True
                await asyncio.to_thread(self._cluster.connect, order.address, order.namespace)
            case Deploy():
                opening = wire.opened(order.opening)
                await asyncio.to_thread(self._cluster.deploy, order.name, order.opening, opening.shape)
                self._deployed[order.name] = Deployed(opening.target.model, self._cluster.handles(order.name))
            case Delete():
                await asyncio.to_thread(self._cluster.delete, order.name)
            case Look():
                yield wire.standing(await asyncio.to_thread(self._cluster.seen))
            case Call():
                async for body in self._said(order):
                    yield body

    def _said(self, call: Call) -> AsyncIterator[bytes]:
        if call.method == "stream":
            return _streamed(self._called(call))
        return _alone(self._described(call) if call.method == "describe" else _whole(self._called(call)))

    async def _described(self, call: Call) -> bytes:
        """What a replica says of itself, when one is there and Serve has heard of its application.

        For a moment after one of its name was deleted Serve has not.
        """
        while True:
            try:
                return await _whole(self._called(call))
            except Exception as error:
                if not is_settling(error):
                    raise
            await asyncio.sleep(SETTLE_S)

    def _called(self, call: Call) -> Any:
        method = getattr(self._deployed[call.name].handles, call.method)
        return method.remote() if call.ask is None else method.remote(call.ask)

    def _about(self, order: Order) -> str:
        """What an error of it is about."""
        deployed = self._deployed.get(order.name) if isinstance(order, Delete | Deploy | Call) else None
        return "the cluster" if deployed is None else deployed.model

    def _say(self, number: int, body: bytes | None) -> None:
        self._writer.write(framed(messages.encode(Said(number, body))))


async def _whole(response: Any) -> bytes:
    """What a replica answers; whoever stops waiting stops it."""
    try:
        body: bytes = await response
    except BaseException:
        response.cancel()
        raise
    return body


async def _alone(body: Awaitable[bytes]) -> AsyncIterator[bytes]:
    yield await body


async def _streamed(response: Any) -> AsyncIterator[bytes]:
    try:
        while True:
            try:
                body: bytes = await anext(response)
            except StopAsyncIteration:
                return
            yield body
    finally:
        response.cancel()  # of one that has ended it changes nothing


@asynccontextmanager
async def _owned() -> AsyncIterator[None]:
    """Let only our own cancellation through: a replica that stops cancels its work, and Ray says so likewise."""
    task = asyncio.current_task()
    try:
        yield
    except asyncio.CancelledError as error:
        if task is None or task.cancelling():
            raise
        raise Interrupted(_STOPPED) from error


async def serve(sock: socket.socket, cluster: Cluster) -> None:
    """Do what is ordered over a socket, until its other end closes."""
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    frames, driver = Frames(), Driver(cluster, writer)
    try:
        while data := await reader.read(_BLOCK):
            for message in frames.feed(data):
                driver.take(messages.order(message))
    except ConnectionError:
        pass  # a router that was killed: the same end
    finally:
        await driver.aclose()
        writer.close()


def _end_with(sock: socket.socket) -> None:
    """Wait until the other end closes; then this process ends in time, whatever Ray's threads and ours are up to."""
    closing = select.poll()
    closing.register(sock, 0)  # hearing of its end needs no asking
    closing.poll()
    signal.alarm(END_S)  # its default is to end the process, without a word of Python's


def main() -> None:
    """Serve the socket whose number is the argument. Only its end ends this process: a router has to finish first."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)  # ignored here, and not, as SIG_IGN is, in whatever Ray starts
    threading.Thread(target=_end_with, args=(sock.dup(),), daemon=True).start()
    asyncio.run(serve(sock, Cluster()))


if __name__ == "__main__":
    main()
