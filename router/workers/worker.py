"""A worker: the whole HTTP application in a process of its own, with a log that another one owns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import uvicorn

from router.egress.guard import GUARD
from router.reloading.reloader import Source
from router.telemetry.logs import logging_to
from router.workers.accepting import Accepting, Board
from router.workers.children import parent_gone, told_ready
from router.workers.forwarding import Forwarding
from router.workers.gathered_metrics import Together
from router.workers.peers import socket_of
from router.workers.remote_log import RemoteLog
from router.workers.serving import config_of, settle_in
from router.workers.sharing import FIRST, part_of
from router.workers.wire import listening

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence
    from multiprocessing.connection import Connection
    from socket import socket

    from router.decision_log.taking import Log
    from router.sections import Settings
    from router.settings import Secrets
    from router.telemetry.exchanges import App
    from router.workers.remote_log import Link


class Place(NamedTuple):
    """Who a worker is: its number, counted from 0, and what it serves."""

    number: int
    link: Link
    settings: Settings
    secrets: Secrets
    read: Callable[[], Settings]

    @property
    def source(self) -> Source:
        """Where its own part of the settings is read again; its parent tells all others."""
        return Source(lambda: part_of(self.read(), self.number), lambda: os.kill(os.getppid(), signal.SIGHUP))


class _Server(uvicorn.Server):
    """A server that the other workers can ask as well, and that tells its parent when it answers."""

    def __init__(self, config: uvicorn.Config, log: Log, private: socket, board: Board, pipe: Connection) -> None:
        super().__init__(config)
        self._log, self._private, self._board, self._pipe = log, private, board, pipe

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to answer, and say so when what this start has written can be read by the others."""
        await super().startup([])
        if self.started:
            loop = asyncio.get_running_loop()
            servers: list[Any] = self.servers  # uvicorn closes them, and asks nothing else of them
            servers += [Accepting(listener, self._connected, self._board) for listener in sockets or ()]
            self.servers.append(await loop.create_unix_server(self._connected, sock=self._private))
            await self._log.committed()
            with contextlib.suppress(OSError):  # a parent that is dead has its own end here
                told_ready(self._pipe)

    def _connected(self) -> asyncio.Protocol:
        """The protocol of a connection, as uvicorn makes it for those of the network."""
        made: Any = self.config.http_protocol_class  # uvicorn says no more of it than that it is a protocol
        protocol: asyncio.Protocol = made(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def work(place: Place, listener: socket, counts: MutableSequence[int], pipe: Connection) -> None:
    """Serve until the parent says to end, or is dead. What runs is finished, and every row handed on.

    `counts` is what all workers' boards show.
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn hands the signal on once it has shut down
        signal.signal(number, lambda *_: sys.exit(0))
    os.umask(0o077)
    settings = part_of(place.settings, place.number)
    threading.Thread(target=_follow, args=(pipe,), name="parent", daemon=True).start()
    with GUARD.sealed(when=settings.routing.offline), logging_to(sys.stderr, settings.telemetry.logs):
        log = RemoteLog.open(place.link, durability=settings.log.durability, queue_rows=settings.log.queue_rows)
        try:
            folder = place.link.owner.parent
            board = Board(counts, place.number)
            before = partial(_beside_others, place)
            config = config_of(settings, place.secrets, log, place.source, before, board.tell)
            server = _Server(config, log, listening(socket_of(folder, place.number)), board, pipe)
            settle_in()
            server.run(sockets=[listener])
        finally:
            log.close()
        if not server.started:
            sys.exit(1)


def _beside_others(place: Place, app: App) -> App:
    """The application of one of several: what the first must do goes to it, and metrics are told together."""
    sockets = {number: socket_of(place.link.owner.parent, number) for number in range(place.settings.server.workers)}
    others = {f"worker-{number}": path for number, path in sockets.items() if number != place.number}
    beside: App = Together(app, place.link.place, others)
    return beside if place.number == FIRST else Forwarding(beside, sockets[FIRST])


def _follow(pipe: Connection) -> None:
    parent_gone(pipe)
    os.kill(os.getpid(), signal.SIGTERM)
