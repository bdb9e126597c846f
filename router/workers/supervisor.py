"""The process that `nearfar serve --workers N` is: it listens, starts all others and starts again whoever dies.

It serves nothing and owns nothing else, so there is little in it that could fail. The owner of the log is started
first and ends last; what must be done once is the first worker's, which is ready before the others begin.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import LogError, RouterError
from router.reloading.terminal import has_terminal
from router.workers.accepting import KIND, Board, blank
from router.workers.children import SPAWN, Child
from router.workers.owning import SOCKET, own
from router.workers.remote_log import Link
from router.workers.sharing import FIRST
from router.workers.worker import Place, work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from socket import socket

    from router.decision_log.log import DecisionLog
    from router.sections import Settings
    from router.settings import Secrets

OWNER_ENDS_IN_S = 60.0
TICK_S = 1.0
LOG_ENDS_IN_S = 45.0  # what a worker's log may take to hand on its last rows, beyond the time its requests have

logger = logging.getLogger("nearfar.workers")


class Supervisor:
    """Runs the processes of one server, on the main thread of its own."""

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        listener: socket,
        opened_log: Callable[[Settings], DecisionLog],
        read: Callable[[], Settings],
    ) -> None:
        self._settings, self._secrets, self._listener, self._read = settings, secrets, listener, read
        self._folder = Path(tempfile.mkdtemp(prefix="nearfar-"))  # of this user alone
        self._owner = Child("the log's owner", own, settings, opened_log, self._folder)
        self._workers: list[Child] = []
        self._counts = SPAWN.RawArray(KIND, blank(settings.server.workers))
        self._signal: int | None = None
        self._hung_up = self._reloaded = False
        self._terminal = has_terminal()
        self._woken, self._waker = os.pipe()

    def run(self, begun: Callable[[], None]) -> int | None:
        """Serve until a signal says to end, and return it; `begun` is called when the log is open.

        No process and no file is left.

        Raises:
            LogError: the log cannot be opened.
            RouterError: a worker could not start; it said why.
        """
        with self._signals():
            try:
                if self._began(begun):
                    self._watch()
            finally:
                self._stop()
        return self._signal

    def _began(self, begun: Callable[[], None]) -> bool:
        """Start everybody; False where a signal came before all were there."""
        self._owner.start()
        if not self._readied([self._owner]):
            return False
        begun()
        node_id = (self._owner.ready or b"").decode()
        for numbers in ((FIRST,), range(FIRST + 1, self._settings.server.workers)):
            new = [self._worker(number, node_id) for number in numbers]
            self._workers += new
            for child in new:
                child.start()
            if not self._readied(new):
                return False
        return True

    def _worker(self, number: int, node_id: str) -> Child:
        path = Path(self._settings.log.path).expanduser().absolute()
        link = Link(self._folder / SOCKET, f"worker-{number}", path, node_id)
        place = Place(number, link, self._settings, self._secrets, self._read)
        return Child(link.place, work, place, self._listener, self._counts)

    def _readied(self, children: Sequence[Child]) -> bool:
        """Wait until these are ready; False where a signal came first. Of the others, nobody may die meanwhile.

        Raises:
            LogError, RouterError: one of them cannot be.
        """
        while any(child.ready is None for child in children) and self._signal is None:
            self._wait([child for child in children if child.ready is None], None)
            for child in children:
                why = child.hear()
                if why is not None:
                    raise LogError(why)
                if not child.alive and child.ready is None and self._signal is None:
                    raise RouterError(f"{child.name} could not start; the error is above.")
        return self._signal is None

    def _watch(self) -> None:
        """Start again whoever dies, until a signal comes."""
        everybody = [self._owner, *self._workers]
        while self._signal is None:
            if self._hung_up:
                self._hung_up, self._reloaded = False, True
                for worker in self._workers:
                    worker.hang_up()
            self._wait(everybody, _soonest(everybody))
            if self._signal is None:
                begun = self._revive(everybody)
                for worker in self._workers if self._reloaded else ():
                    if worker in begun:  # with the settings of our own start
                        worker.hang_up()

    def _stop(self) -> None:
        """Let the workers finish, then the owner: it is kept alive until all their rows are with it."""
        for worker in self._workers:
            worker.terminate()
        give_up = time.monotonic() + self._settings.server.drain_timeout_s + LOG_ENDS_IN_S
        while (left := [worker for worker in self._workers if worker.alive]) and time.monotonic() < give_up:
            self._wait([*left, self._owner], _soonest([self._owner]) or TICK_S)
            self._revive([self._owner])
        for worker in self._workers:
            worker.ended(max(0.0, give_up - time.monotonic()))
        self._owner.let_go()
        self._owner.ended(OWNER_ENDS_IN_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _revive(self, children: Sequence[Child]) -> list[Child]:
        """Bury who has died, and start who is due; returns these."""
        begun = []
        for child in children:
            why = child.hear()
            if why is not None:
                logger.error("%s: %s", child.name, why)
            if child.due is None and not child.alive:
                child.bury()
                if child in self._workers:
                    Board(self._counts, self._workers.index(child)).leave()
            if child.due is not None and child.due <= time.monotonic():
                child.start()
                begun.append(child)
        return begun

    def _wait(self, children: Sequence[Child], seconds: float | None) -> None:
        """Wait for news of these, or a signal."""
        heard = connection.wait([self._woken, *(one for child in children for one in child.heard_of)], seconds)
        if self._woken in heard:
            os.read(self._woken, 1024)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def heard(number: int, _: object) -> None:
            if number != signal.SIGHUP:
                self._signal = self._signal or number
            elif self._terminal and not has_terminal():  # it is closed, and nobody could end us by it any more
                self._signal = self._signal or signal.SIGTERM
            else:
                self._hung_up = True
            os.write(self._waker, b"!")

        before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._woken)
            os.close(self._waker)


def _soonest(children: Sequence[Child]) -> float | None:
    """Seconds until one of them is due; None where nobody is."""
    return min((max(0.0, child.due - time.monotonic()) for child in children if child.due is not None), default=None)
