"""The processes of a server, as the one that starts them sees each: begun anew, never forked, and told when to end.

A child says over its pipe that it is ready, or why it never will be. The pipe's other end closes with the parent,
however that ends: then the child ends, too.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress
from multiprocessing import connection, get_context
from typing import TYPE_CHECKING, Any

from backends.backoff import pause_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

SPAWN = get_context("spawn")  # a forked child would share DuckDB's and the event loop's threads, which are not there
READY = b"ready "
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
STEADY_S = 60.0
"""Whoever ran for so long and then died is started again as if it never had before."""

logger = logging.getLogger("nearfar.workers")


class Child:
    """One process, and those that come in its place.

    Attributes:
        ready: What it said when it was ready; None before.
        due: When it is to be started again (`time.monotonic()`); None while it runs.
    """

    def __init__(self, name: str, target: Callable[..., None], *args: Any) -> None:
        self.name = name
        self._target, self._args = target, args
        self._process: Any = None
        self._pipe: Connection | None = None
        self._started = 0.0
        self._deaths = 0
        self.ready: bytes | None = None
        self.due: float | None = None

    def start(self) -> None:
        """Start it."""
        ours, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=self._target, args=(*self._args, theirs), name=f"nearfar {self.name}")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # until it listens: it would die of one
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._pipe, self.ready, self.due = ours, None, None
        self._started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Its process id; None before it was started."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self.due is None and self._process.is_alive()

    @property
    def heard_of(self) -> list[Any]:
        """What to wait on for news of it. That it died stays news until it is buried, whoever has seen it before."""
        if self._process is None or self.due is not None:
            return []
        return [self._process.sentinel, *([self._pipe] if self._pipe and self.ready is None else [])]

    def hear(self) -> str | None:
        """Take in what it has said; return why it cannot run, where it said so."""
        while self._pipe is not None and self.ready is None and self._pipe.poll():
            try:
                said = self._pipe.recv_bytes()
            except (EOFError, OSError):
                return None  # it is ending
            if not said.startswith(READY):
                return said.decode()
            self.ready = said.removeprefix(READY)
        return None

    def bury(self) -> None:
        """It died: tell, and say when it is due. The first time at once, then after ever longer pauses."""
        code = self._process.exitcode
        if time.monotonic() - self._started > STEADY_S:
            self._deaths = 0
        pause = pause_s(self._deaths, FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._deaths += 1
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        logger.warning("%s (PID %s) ended by %s; it is started again in %g s", self.name, self.pid, how, pause)
        self.let_go()
        self.due = time.monotonic() + pause

    def terminate(self) -> None:
        """Ask it to finish what runs, and end."""
        if self.alive:
            self._process.terminate()

    def hang_up(self) -> None:
        """Have it read the settings again, as soon as it is ready."""
        if self.alive and self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGHUP)

    def let_go(self) -> None:
        """Close the pipe, by which it hears that the parent has no use for it any more."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def ended(self, within_s: float) -> None:
        """Wait until it has ended; one that has not by then is killed, and that is told."""
        if self._process is None:
            return
        self._process.join(within_s)
        if self._process.is_alive():
            logger.error("%s (PID %s) did not end in time and is killed", self.name, self.pid)
            self._process.kill()
            self._process.join()
        self.let_go()


def told_ready(pipe: Connection, said: str = "") -> None:
    """For a child: say that it is ready, and what its parent has to know."""
    pipe.send_bytes(READY + said.encode())


def told_why(pipe: Connection, why: str) -> None:
    """For a child: say why it cannot run."""
    pipe.send_bytes(why.encode())


def parent_gone(pipe: Connection) -> None:
    """For a child: block until the parent has let go of it, or is dead."""
    while True:
        connection.wait([pipe])
        try:
            pipe.recv_bytes()
        except (EOFError, OSError):
            return
