"""How a log takes rows: at once, without ever delaying a request; a thread of its own hands them on, in their order.

It must not know what a row means, nor where rows go: that is for `DecisionLog`, and for whoever sends them elsewhere.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
import uuid
from abc import ABC, abstractmethod
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import msgspec

from router.decision_log.keeping import TICK_S
from router.decision_log.record import KINDS, DecisionRow
from router.decision_log.spill import Line
from router.errors import LogError

if TYPE_CHECKING:
    from pathlib import Path

    from router.decision_log.queries import LogReader
    from router.decision_log.record import Row
    from router.decision_log.spill import Backlog

Durability = Literal["batch", "strict"]

SCHEMA_VERSION = 1
"""What the fields of a row mean. Counted up when a meaning changes, so that old rows are not read as new ones."""

_CLOSE_S = 30.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0

_logger = logging.getLogger(__name__)


class LogStats(msgspec.Struct, frozen=True, kw_only=True):
    """How the log is doing. Counts are since this process opened it."""

    queued: int  # rows in memory, not committed
    committed: int
    spilled: int  # rows that went through the spill file, those found at the start included
    spill_pending: int  # of these, the ones still there
    rejected: int  # rows the database refused; they are in `<db>.rejected.jsonl`
    failed_commits: int
    replaced: int  # how often the database was found deleted or replaced, and opened anew
    last_commit_ms: float | None
    lag_s: float  # age of the oldest row not committed
    durability: Durability
    file_bytes: int
    memory_bytes: int | None  # DuckDB's, a few seconds ago; it is bounded, and rises and falls with the write-ahead log


class Pace(NamedTuple):
    """When rows are handed on: after so many seconds, or as soon as there are so many."""

    flush_s: float = 0.5
    flush_rows: int = 1000


class Log(ABC):
    """A log, open for rows: `append` takes them, one thread hands them on.

    Attributes:
        path: The database; None where it is in memory.
        boot_id: This opening of it, by which `next_seq` counts.
        node_id: Whose log it is.
    """

    _FAULTS: ClassVar[tuple[type[Exception], ...]] = (OSError, LogError)
    """What a step may raise that passes: it is tried again."""

    def __init__(self, path: Path | None, node_id: str, durability: Durability, backlog: Backlog, pace: Pace) -> None:
        self.path, self.durability = path, durability
        self.boot_id, self.node_id = str(uuid.uuid4()), node_id
        self._backlog = backlog
        self._flush_s, self._flush_rows = pace
        head = {"node_id": node_id, "boot_id": self.boot_id, "schema_version": SCHEMA_VERSION}
        self._decision_head = msgspec.json.encode(head)[:-1] + b","
        self._encode = msgspec.json.Encoder().encode
        self._seq = itertools.count(1)
        self._committed = self._failed_commits = 0
        self._last_commit_ms: float | None = None
        self._closed = False
        self._close_by = 0.0
        self._some, self._now, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)

    def next_seq(self) -> int:
        """Return the next number of this boot: 1, 2, 3, ... A gap in the log proves a lost row."""
        return next(self._seq)

    def append(self, row: Row) -> None:
        """Take a row. Never blocks, raises or sheds: about 5 us, from any thread, also when the log is closed."""
        try:
            line = self._encode(row)
            if type(row) is DecisionRow:
                line = self._decision_head + line[1:]
            kind = KINDS[type(row)]
        except (TypeError, ValueError, OverflowError, RecursionError, KeyError):
            kind, line = "", ascii(row).encode()
        queued = self._backlog.put(Line(kind, line, time.monotonic()))
        if not self._some.is_set():
            self._some.set()
        if (self.durability == "strict" or queued >= self._flush_rows) and not self._now.is_set():
            self._now.set()

    async def committed(self) -> None:
        """Return when every row appended before this call is committed (or, if refused, in the rejected file).

        Raises:
            LogError: the log was closed before it could commit them.
        """
        future = self._backlog.wait()
        self._wake()
        await asyncio.wrap_future(future)

    def flush(self, timeout_s: float = 30) -> None:
        """Block until every row appended before this call is committed.

        Raises:
            LogError: that took longer than `timeout_s`, or the log was closed before.
        """
        future = self._backlog.wait()
        self._wake()
        try:
            future.result(timeout_s)
        except FutureTimeoutError as error:
            future.cancel()
            raise LogError(f"The decision log did not commit {self._backlog.pending} rows in {timeout_s} s.") from error

    @abstractmethod
    def stats(self) -> LogStats:
        """Return how the log is doing right now."""

    @abstractmethod
    def reader(self, sees: str | None = None) -> LogReader:
        """Return the read side, for any number of threads: one tenant's decisions, or (`sees` is None) everybody's."""

    def close(self) -> None:
        """Hand on what waits and close. What cannot be handed on in 30 s goes to the spill file."""
        if self._closed:
            return
        self._close_by = time.monotonic() + _CLOSE_S
        self._closing.set()
        self._wake()
        self._thread.join()
        self._closed = True
        try:
            self._backlog.save()
            self._backlog.spill.close()
        except OSError:
            _logger.exception("%d rows are lost: neither the log nor its spill file takes them.", self._backlog.queued)
        self._shut()

    @abstractmethod
    def _step(self) -> None:
        """Hand on what waits, or some of it. May raise what `_FAULTS` names; the rows then stay."""

    @abstractmethod
    def _keep(self) -> None:
        """Do what is due when no row waits. Must not raise."""

    @abstractmethod
    def _ended(self) -> None:
        """The thread ends."""

    @abstractmethod
    def _shut(self) -> None:
        """Let go of everything. No thread runs any more."""

    # --- the thread -----------------------------------------------------------------------------

    def _start(self) -> None:
        self._thread.start()
        if self._backlog.pending:
            self._wake()

    def _wake(self) -> None:
        self._some.set()
        self._now.set()

    def _run(self) -> None:
        try:
            while not (self._closing.is_set() and self._may_stop()):
                if self._some.wait(TICK_S):
                    self._now.wait(self._flush_s)
                self._some.clear()  # before the queue is looked at: a row that comes now sets it again
                self._now.clear()
                self._drain()
                self._keep()
        finally:
            self._backlog.fail(LogError("The decision log is closed."))
            self._ended()

    def _may_stop(self) -> bool:
        return not self._backlog.pending or time.monotonic() > self._close_by

    def _drain(self) -> None:
        """Commit until less than a batch waits. While the disk refuses, try again ever more slowly; the rows stay.

        What comes during a commit waits for its own batch, unless it fills one: a commit costs 7 ms whatever its size.
        """
        pause_s = _SHORTEST_PAUSE_S
        while self._backlog.pending:
            try:
                self._step()
            except self._FAULTS as error:
                self._note(error, first=pause_s == _SHORTEST_PAUSE_S)
                if not self._paused(pause_s):
                    return
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                pause_s = _SHORTEST_PAUSE_S
                if self._backlog.pending < self._flush_rows and not self._closing.is_set():
                    break
        if self._backlog.pending:
            self._some.set()

    def _paused(self, seconds: float) -> bool:
        """Wait before the next try; False when closing has waited long enough."""
        if self._closing.wait(seconds):
            if self._may_stop():
                return False
            time.sleep(0.1)  # the event that ended the wait stays set: this is the pause between the last tries
        return True

    def _note(self, error: Exception, *, first: bool) -> None:
        self._failed_commits += 1
        if first:
            _logger.warning("The log cannot be written, %d rows wait: %s", self._backlog.pending, error)
