"""A log that another process owns: rows are sent to it over a Unix socket, and stay here until it has committed them.

Each process that sends has a place of its own, and numbers its rows. The owner keeps the number of the last committed
one with the rows themselves, and says it whenever somebody connects: so what was under way when either side broke is
sent again exactly where it was not committed. What memory does not hold is in a spill file beside the log, as with its
owner; what a dead process leaves there is sent by the next one in its place, or taken in by the next owner.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from router.decision_log.files import size
from router.decision_log.keeping import TICK_S
from router.decision_log.spill import Backlog, SpillFile, spill_of
from router.decision_log.taking import Log, LogStats, Pace
from router.errors import LogError
from router.workers import messages
from router.workers.messages import Committed, Failed, Flushed, Hello, Listening, Rows, Welcome, encode
from router.workers.remote_reader import RemoteReader
from router.workers.wire import PATIENCE_S, Wire, reached

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from router.decision_log.spill import Line
    from router.decision_log.taking import Durability
    from router.shipping.shipper import ShippingState
    from router.workers.messages import Message

AT_ONCE = 2000
"""Rows of a message, at most; also what the owner holds of each worker in memory."""
BYTES_AT_ONCE = 8_000_000
_AGAIN_S = 1.0  # between two tries to be told when somebody reads

logger = logging.getLogger("nearfar.workers")


class Link(NamedTuple):
    """What a worker has to know of its log.

    Attributes:
        owner: The socket at which its owner listens.
        place: The worker's own place.
        path: The database.
        node_id: Whose log it is.
    """

    owner: Path
    place: str
    path: Path
    node_id: str


class _Out(NamedTuple):
    """Rows that are on their way, and who is to forget them then."""

    lines: Sequence[Line]
    forget: Callable[[Sequence[Line]], None]
    again: bool


class RemoteLog(Log):
    """The log, as a process uses it that does not own it."""

    _FAULTS = (OSError, LogError, msgspec.DecodeError)

    def __init__(self, link: Link, durability: Durability, queue_rows: int, pace: Pace = Pace()) -> None:  # noqa: B008
        backlog = Backlog(queue_rows, SpillFile(spill_of(link.path, link.place)))
        super().__init__(link.path, link.node_id, durability, backlog, pace)
        self._link = link
        self._wire: Wire | None = None
        self._hears: Wire | None = None
        self._out: _Out | None = None
        self._sent = 0  # rows before `_out`: each has a number
        self._told: LogStats | None = None
        self._shipping: ShippingState | None = None
        self._told_at = 0.0
        self._next_told_s = 0.0
        self._listener = threading.Thread(target=self._listen, name="decision-log-listener", daemon=True)

    @classmethod
    def open(cls, link: Link, *, durability: Durability, queue_rows: int) -> RemoteLog:
        """Open the log of this link, and send what an earlier process in this place has left.

        Raises:
            LogError: what it left cannot be read.
        """
        try:
            log = cls(link, durability, queue_rows)
        except OSError as error:
            raise LogError(f"The rows of an earlier {link.place} cannot be read ({type(error).__name__}).") from error
        log._start()
        log._listener.start()
        return log

    def stats(self) -> LogStats:
        """How this process' part of the log is doing; what belongs to the owner is its word of a few seconds ago."""
        told = self._told
        return LogStats(
            queued=self._backlog.queued,
            committed=self._committed,
            spilled=self._backlog.spill.appended,
            spill_pending=self._backlog.spill.pending,
            rejected=told.rejected if told else 0,
            failed_commits=self._failed_commits,
            replaced=told.replaced if told else 0,
            last_commit_ms=self._last_commit_ms,
            lag_s=self._backlog.lag_s(),
            durability=self.durability,
            file_bytes=sum(size(file) for file in (self._link.path, _wal(self._link.path))),
            memory_bytes=told.memory_bytes if told else None,
        )

    def shipping(self) -> ShippingState | None:
        """How the log is shipped, by its owner's last word; None where it is not, or nothing was heard yet."""
        told = self._shipping
        return told and replace(told, lag_s=told.lag_s + time.monotonic() - self._told_at)

    def reader(self, sees: str | None = None) -> RemoteReader:
        """As every log's; its questions go to the owner, which first has all workers send what they have."""
        return RemoteReader(self._link.owner, sees)

    # --- the thread that sends ------------------------------------------------------------------

    def _step(self) -> None:
        try:
            self._deliver(_Out(self._backlog.peek(AT_ONCE), self._backlog.settle, again=False))
            if self._backlog.spill.pending:
                spilled = self._backlog.peek_spilled(AT_ONCE)
                self._deliver(_Out(spilled, self._backlog.settle_spilled, again=True))
        except self._FAULTS:
            self._disconnect()
            raise

    def _deliver(self, out: _Out) -> None:
        """Send rows, after those of an earlier try that were not acknowledged; return when they are committed."""
        if self._out is None:
            self._out = out._replace(lines=_some(out.lines))
            out = self._out
        else:
            out = self._out
        if out.lines:
            start = time.perf_counter()
            done = 0 if self._wire else min(max(0, self._connect() - self._sent), len(out.lines))
            if done < len(out.lines):
                self._send(self._sent + done + 1, out.lines[done:], again=out.again)
            self._last_commit_ms = (time.perf_counter() - start) * 1000
            self._sent += len(out.lines)
            self._committed += len(out.lines)
        self._out = None
        out.forget(out.lines)

    def _connect(self) -> int:
        """Connect, and return the number of the last row of ours that is committed."""
        self._wire = reached(self._link.owner, 0.0)
        match self._said(Hello(place=self._link.place, boot=self.boot_id)):
            case Welcome(number=number):
                return number
            case other:
                raise ConnectionError(f"a welcome was expected, and {type(other).__name__} came")

    def _send(self, first: int, lines: Sequence[Line], *, again: bool) -> None:
        match self._said(Rows(first=first, rows=[line[:2] for line in lines], again=again)):
            case Committed(log=told, shipping=shipping):
                self._told, self._shipping, self._told_at = told, shipping, time.monotonic()
                self._next_told_s = time.monotonic() + TICK_S
            case Failed(said=said):
                raise LogError(said)
            case other:
                raise ConnectionError(f"a commit was expected, and {type(other).__name__} came")

    def _said(self, message: Message) -> messages.Reply:
        if self._wire is None:
            raise ConnectionError("there is no connection")
        self._wire.send(encode(message))
        answer = self._wire.receive()
        if answer is None:
            raise ConnectionError("the owner of the log is gone")
        reply: messages.Reply = messages.reply(answer)
        return reply

    def _disconnect(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _keep(self) -> None:
        """Hear from time to time how the owner does, where no row has told."""
        if self._out is not None or time.monotonic() < self._next_told_s:
            return
        self._next_told_s = time.monotonic() + TICK_S
        try:
            if self._wire is None:
                self._connect()
            self._send(self._sent + 1, (), again=False)
        except self._FAULTS as error:
            self._disconnect()
            logger.debug("the owner of the log does not answer: %s", error)

    def _ended(self) -> None:
        self._disconnect()

    def _shut(self) -> None:
        if self._hears is not None:
            self._hears.end()
        if self._listener.is_alive():
            self._listener.join()

    # --- the thread that listens ----------------------------------------------------------------

    def _listen(self) -> None:
        """Send what waits whenever somebody is about to read, and say when it is committed."""
        while not self._closing.is_set():
            try:
                self._hears = reached(self._link.owner, 0.0)
                self._heard(self._hears)
            except (OSError, LogError, msgspec.DecodeError) as error:
                logger.debug("nobody says when the log is read: %s", error)
            finally:
                if self._hears is not None:
                    self._hears.close()
            self._closing.wait(_AGAIN_S)

    def _heard(self, wire: Wire) -> None:
        wire.send(encode(Listening()))
        wire.patient(None)
        while not self._closing.is_set() and (message := wire.receive()) is not None:
            messages.flush(message)
            self.flush(PATIENCE_S)
            wire.send(encode(Flushed()))


def _some(lines: Sequence[Line]) -> Sequence[Line]:
    """As many of them, from the first, as one message may hold; one at least."""
    total = 0
    for count, line in enumerate(lines):
        total += len(line.json)
        if total > BYTES_AT_ONCE and count:
            return lines[:count]
    return lines


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")
