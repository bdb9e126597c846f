"""Takes connections from the socket that all workers share, so that each has about as many open.

Left to the event loop, whoever wakes first takes all that wait; and where they stay open, as those of a proxy or of a
client's pool do, that worker is busy for as long as they live while another has nothing to do. So each takes one at a
time, and whoever has more than another waits first: long enough for the other to come before it, and not for long where
it does not come.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

KIND = "Q"  # of a board's numbers, as `array` calls it
NOBODY = 2**64 - 1
STEP_S, STEPS = 0.001, 5  # of a wait
AT_ONCE = 16  # taken after a wait in which nobody took any: who has fewer is too busy to come
PAUSE_S = 1.0  # after the machine refused, as where it is out of file descriptors

logger = logging.getLogger("nearfar.workers")


def blank(workers: int) -> list[int]:
    """The numbers of a board on which nobody serves yet."""
    return [NOBODY] * workers + [0] * workers


class Board:
    """How many connections each worker has open, `NOBODY` where none serves; and how many it ever took.

    In memory that all share: each worker writes its own two numbers alone, and their parent the first of one that died.
    """

    def __init__(self, counts: MutableSequence[int], number: int) -> None:
        """See and write `counts`, which began `blank`, as the worker of this number."""
        self._counts, self._number = counts, number
        self._workers = len(counts) // 2
        self._serves = False

    def enter(self) -> None:
        """This worker serves from now on."""
        self._serves = True
        self.tell(0)

    def tell(self, connections: int) -> None:
        """It has so many open now."""
        if self._serves:
            self._counts[self._number] = connections

    def leave(self) -> None:
        """It takes no more, and nobody need wait for it."""
        self._serves = False
        self._counts[self._number] = NOBODY

    def took(self) -> None:
        """It took one more."""
        self._counts[self._workers + self._number] += 1

    @property
    def ahead(self) -> int:
        """How many more this worker has than whoever has fewest; only while it serves."""
        return self._counts[self._number] - min(self._counts[: self._workers])

    @property
    def taken(self) -> int:
        """How many all of them ever took."""
        return sum(self._counts[self._workers :])


class Accepting:
    """Accepts until it is closed. To uvicorn, one of the servers that it closes at its end."""

    def __init__(self, listener: socket.socket, connected: Callable[[], Any], board: Board) -> None:
        """Begin, with none open. `connected` makes the protocol of each connection, which tells the board."""
        listener.settimeout(0)
        self._listener, self._connected, self._board = listener, connected, board
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        board.enter()
        self._listen()

    def close(self) -> None:
        """Accept no more."""
        self._closed = True
        self._board.leave()
        self._loop.remove_reader(self._listener)
        if self._timer is not None:
            self._timer.cancel()

    async def wait_closed(self) -> None:
        """Return when everybody who was accepted has a protocol."""
        if self._connecting:
            await asyncio.wait(self._connecting)

    def _listen(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listener, self._come)

    def _come(self) -> None:
        """Somebody is there: let whoever has fewer go first."""
        if self._is_ahead:
            self._loop.remove_reader(self._listener)
            self._wait(self._board.taken, STEPS)
        else:
            self._take(1)

    @property
    def _is_ahead(self) -> bool:
        return self._board.ahead + len(self._connecting) > 0  # of these no protocol has told yet

    def _wait(self, taken: int, steps: int) -> None:
        self._timer = self._loop.call_later(STEP_S, self._look, taken, steps - 1)

    def _look(self, taken: int, steps: int) -> None:
        """Wait on for so many steps, while nobody took any: where some did, whoever is there has come later."""
        in_vain = taken == self._board.taken and self._is_ahead
        if in_vain and steps:
            self._wait(taken, steps)
            return
        self._listen()
        if in_vain:
            self._take(AT_ONCE)

    def _take(self, most: int) -> None:
        """Accept so many, if there are."""
        try:
            for _ in range(most):
                with suppress(ConnectionAbortedError):  # it left before it was here
                    accepted, _ = self._listener.accept()
                    self._board.took()
                    connecting = self._loop.create_task(self._connect(accepted))
                    self._connecting.add(connecting)
                    connecting.add_done_callback(self._connecting.discard)
        except BlockingIOError:  # another took it
            return
        except OSError as error:
            logger.error("No connection can be accepted: %s. Again in %g s.", error.strerror, PAUSE_S)  # noqa: TRY400
            self._loop.remove_reader(self._listener)
            self._timer = self._loop.call_later(PAUSE_S, self._listen)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _, protocol = await self._loop.connect_accepted_socket(self._connected, accepted)
        except OSError:  # it has left
            accepted.close()
        except Exception:  # whatever is wrong with one is told, and costs no other its connection
            accepted.close()
            logger.exception("A connection could not be served.")
        else:
            if self._closed:  # uvicorn has told all others
                protocol.shutdown()
