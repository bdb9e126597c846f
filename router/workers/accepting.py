"""Takes connections from the socket that all workers share, so that each has about as many open.

Left to the event loop, whoever wakes first takes all that wait; and where they stay open, as those of a proxy or of a
client's pool do, that worker is busy for as long as they live while another has nothing to do. So each takes one at a
time, and whoever has more than another waits before the next: long enough for the other to come first, and not for long
where it does not come.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOARD = "connections"
"""The board's file, in the folder of a server's sockets."""

STEP_S = 0.001  # for each connection that one has more
LONGEST_S = 0.005  # where nobody else takes it
PAUSE_S = 1.0  # after the machine refused, as out of file descriptors
_COUNT_BYTES = 8

logger = logging.getLogger("nearfar.workers")


class Board:
    """How many connections each worker has open, in memory that they share. Each writes its own count alone."""

    def __init__(self, path: Path, number: int) -> None:
        """Take part as the worker of this number, which has none open yet."""
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._counts = memoryview(self._memory).cast("Q")
        self._number = number
        self.tell(0)

    @staticmethod
    def make(path: Path, workers: int) -> None:
        """Make the file, for so many."""
        path.write_bytes(bytes(_COUNT_BYTES * workers))

    def tell(self, connections: int) -> None:
        """This worker has so many open now."""
        self._counts[self._number] = connections

    @property
    def ahead(self) -> int:
        """How many more this worker has than whoever has fewest."""
        return self._counts[self._number] - min(self._counts)

    def close(self) -> None:
        """Look no more."""
        self._counts.release()
        self._memory.close()


class Accepting:
    """Accepts until it is closed. To uvicorn, one of the servers that it closes at its end."""

    def __init__(self, listener: socket.socket, connected: Callable[[], asyncio.Protocol], board: Board) -> None:
        """Begin. `connected` makes the protocol of each connection, which tells the board."""
        listener.settimeout(0)
        self._listener, self._connected, self._board = listener, connected, board
        self._connecting: set[asyncio.Task[Any]] = set()
        self._task = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accept no more."""
        self._task.cancel()

    async def wait_closed(self) -> None:
        """Return when nothing more is accepted, and who was has a protocol."""
        await asyncio.wait([self._task, *self._connecting])

    async def _accept(self) -> None:
        while True:
            ahead = self._board.ahead
            if ahead > 0:
                await asyncio.sleep(min(ahead * STEP_S, LONGEST_S))
            try:
                await self._one()
            except ConnectionError:  # it left before it was here
                continue
            except OSError as error:
                logger.error("No connection can be accepted: %s. Again in %g s.", error.strerror, PAUSE_S)  # noqa: TRY400
                await asyncio.sleep(PAUSE_S)

    async def _one(self) -> None:
        loop = asyncio.get_running_loop()
        accepted, _ = await loop.sock_accept(self._listener)
        connecting = loop.create_task(self._connect(accepted))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        await asyncio.shield(connecting)  # whoever is here is served, also where this is the last

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(self._connected, accepted)
        except OSError:
            accepted.close()
            raise
