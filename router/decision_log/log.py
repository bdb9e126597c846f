"""The decision log: takes rows without ever delaying a request, and commits them to DuckDB on a thread of its own.

It must not know what a row means, nor where the settings come from.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import tempfile
import threading
import time
import uuid
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import duckdb
import msgspec

from backends.writing import add_line
from router.decision_log.files import file_id, size
from router.decision_log.ingest import TABLES, Inserter
from router.decision_log.keeping import TICK_S, Keeper
from router.decision_log.migrations import connect, first_line
from router.decision_log.queries import LogReader
from router.decision_log.record import KINDS, DecisionRow
from router.decision_log.retention import Retention
from router.decision_log.spill import Backlog, Line, SpillFile, make_private
from router.errors import LogError, LogLocked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.decision_log.record import Row

Durability = Literal["batch", "strict"]

SCHEMA_VERSION = 1
"""What the fields of a row mean. Counted up when a meaning changes, so that old rows are not read as new ones."""

_ROW_AT_FAULT = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException, duckdb.InvalidTypeException)
_CLOSE_S = 30.0
_AT_ONCE = 10_000  # rows of one commit, which costs about as much as 2,000 rows do, however few it holds
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0
_open_here: set[Path] = set()  # DuckDB hands a second `connect` in one process the same database without a word

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


class DecisionLog:
    """The log, open for writing. One process owns it; `append` takes rows, one thread commits them."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        path: Path | None,
        durability: Durability,
        limits: tuple[int, float, int],
        retention: Retention = Retention(),  # noqa: B008 -- immutable
    ) -> None:
        queue_rows, self._flush_s, self._flush_rows = limits
        self._con, self._path, self.path, self.durability = con, path, path, durability
        self._wal = path and path.with_name(f"{path.name}.wal")
        self._own_dir = tempfile.TemporaryDirectory() if path is None else None
        base = Path(self._own_dir.name) / "log" if self._own_dir else path
        assert base is not None  # noqa: S101
        self._rejected_path = base.with_name(f"{base.name}.rejected.jsonl")
        self._backlog = Backlog(queue_rows, SpillFile(base.with_name(f"{base.name}.spill")))
        self.boot_id = str(uuid.uuid4())
        (found,) = con.execute("SELECT value FROM nearfar_log.meta WHERE key = 'node_id'").fetchall()
        self.node_id = str(found[0])
        head = {"node_id": self.node_id, "boot_id": self.boot_id, "schema_version": SCHEMA_VERSION}
        self._decision_head = msgspec.json.encode(head)[:-1] + b","
        self._encode = msgspec.json.Encoder().encode
        self._seq = itertools.count(1)
        self._committed = self._rejected = self._failed_commits = self._replaced = 0
        self._last_commit_ms: float | None = None
        self._in_doubt = self._is_broken = False
        self._closed = False
        self._close_by = 0.0
        self._some, self._now, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._inserter = Inserter(con.cursor(), numbers=retention.until_shipped)
        self._keeper = Keeper(self.cursor, retention)
        self._file_id, self._wal_id = file_id(path), file_id(self._wal)  # which file is open; None when none is
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        durability: Durability = "batch",
        queue_rows: int = 100_000,
        flush_s: float = 0.5,
        flush_rows: int = 1000,
        retention: Retention = Retention(),  # noqa: B008 -- immutable
    ) -> DecisionLog:
        """Open the log, make it if there is none, and take in what a crashed process left in the spill file.

        `:memory:` makes one that is gone when closed, for tests. What is older than the `retention` is deleted.

        Raises:
            LogLocked: another process (or another log in this one) has it open.
            LogError: it cannot be opened for another reason; the message says which.
        """
        file = None if str(path) == ":memory:" else path.expanduser().absolute()
        if file in _open_here:
            raise LogLocked(f"The decision log {path.name} is already open in this process.")
        con = connect(file)
        try:
            log = cls(con, file, durability, (queue_rows, flush_s, flush_rows), retention)
        except (duckdb.Error, OSError) as error:
            con.close()
            raise LogError(f"The decision log {path.name} cannot be opened: {first_line(error)}") from error
        if file:
            _open_here.add(file)
        log._thread.start()
        if log._backlog.pending:
            log._wake()
        return log

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
        queued = self._backlog.put(Line(kind, line))
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

    def stats(self) -> LogStats:
        """Return how the log is doing right now."""
        return LogStats(
            queued=self._backlog.queued,
            committed=self._committed,
            spilled=self._backlog.spill.appended,
            spill_pending=self._backlog.spill.pending,
            rejected=self._rejected,
            failed_commits=self._failed_commits,
            replaced=self._replaced,
            last_commit_ms=self._last_commit_ms,
            lag_s=self._backlog.lag_s(),
            durability=self.durability,
            file_bytes=sum(size(file) for file in (self._path, self._wal) if file),
            memory_bytes=self._keeper.memory_bytes,
        )

    def reader(self, sees: str | None = None) -> LogReader:
        """Return the read side, for any number of threads: one tenant's decisions, or (`sees` is None) everybody's."""
        return LogReader(self.cursor, sees)

    def leave(self) -> None:
        """Settle and delete nothing: for whoever only reads. To be called within seconds of opening."""
        self._keeper.rest()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the log as it is now, for one thread."""
        return self._con.cursor()  # looked up each time: `_reopen` replaces the connection

    def close(self) -> None:
        """Commit what waits, checkpoint and close. What cannot be committed in 30 s goes to the spill file."""
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
        try:
            if self._is_replaced():
                self._abandon()
            elif not self._is_broken:
                self._con.execute("CHECKPOINT")
        except (duckdb.Error, OSError) as error:
            _logger.info("The decision log was closed without a checkpoint: %s", first_line(error))
        self._con.close()
        if self._path:
            _open_here.discard(self._path)
        if self._own_dir:
            self._own_dir.cleanup()

    # --- the writer thread ----------------------------------------------------------------------

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
            self._inserter.close()

    def _keep(self) -> None:
        """Settle and delete what is due, unless there is something wrong or to do first."""
        if self._in_doubt or self._backlog.spill.pending or self._closing.is_set():
            return  # a row that may come twice is looked for among the new ones alone
        try:
            if not self._is_replaced():
                self._keeper.keep()
                self._secure_wal()
        except (duckdb.Error, OSError) as error:
            self._is_broken |= isinstance(error, duckdb.FatalException) and self._path is not None
            _logger.warning("The log's upkeep failed and is tried again later: %s", first_line(error))

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
            except (duckdb.Error, OSError, LogError) as error:
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
        self._in_doubt = True
        self._is_broken |= isinstance(error, duckdb.FatalException) and self._path is not None
        self._failed_commits += 1
        if first:
            _logger.warning("The log cannot be written, %d rows wait: %s", self._backlog.pending, error)

    def _is_replaced(self) -> bool:
        """Tell whether the open file has lost its name: DuckDB would go on writing where nobody can read it.

        Raises:
            OSError: nobody can tell.
        """
        return self._file_id is not None and file_id(self._path) != self._file_id

    def _abandon(self) -> None:
        """Give up a database that was deleted or replaced; the rows that wait go to the one `_reopen` finds or makes.

        What was committed is gone with it, also the snapshots (price books, policies, nodes) later rows refer to. Rows
        of this boot keep the node's old name.
        """
        self._replaced += 1
        self._failed_commits += 1
        self._in_doubt = self._is_broken = True
        self._file_id = None
        _logger.error(
            "The decision log's file was deleted or replaced. What was committed to it is gone, with its price books, "
            "policies and nodes; the %d rows that wait go to the file now in its place, or a new one.",
            self._backlog.pending,
        )
        if file_id(self._wal) != self._wal_id:  # came with the new file, and closing the old one would delete it
            with contextlib.suppress(duckdb.Error):
                self._con.cursor().execute("PRAGMA disable_checkpoint_on_shutdown")

    def _reopen(self) -> None:
        """Start the database anew: its file was replaced, or a checkpoint failed and DuckDB refuses everything."""
        self._inserter.close()
        self._con.close()
        self._con = connect(self._path)
        self._inserter = Inserter(self._con.cursor(), numbers=self._inserter.numbers)
        self._file_id, self._wal_id = file_id(self._path), file_id(self._wal)
        self._is_broken = False

    def _step(self) -> None:
        """Commit what is in the queue, and as much of the spill file: neither waits for the other to be empty."""
        if self._is_replaced():
            self._abandon()
        if self._is_broken:
            self._reopen()
        self._settle(self._backlog.peek(_AT_ONCE), self._backlog.settle, careful=self._in_doubt)
        if self._backlog.spill.pending:
            self._settle(self._backlog.peek_spilled(_AT_ONCE), self._backlog.settle_spilled, careful=True)
        self._in_doubt = False

    def _settle(self, lines: Sequence[Line], forget: Callable[[Sequence[Line]], None], *, careful: bool) -> None:
        """Commit lines. When one of them is at fault, halve until it is found: it is refused, the others go in."""
        if not lines:
            return
        why = "not a row of this log"
        if all(line.kind in TABLES for line in lines):
            try:
                self._commit(lines, careful=careful)
            except _ROW_AT_FAULT as error:
                why = first_line(error)
            except duckdb.OutOfMemoryException:
                if len(lines) == 1:
                    raise
            else:
                forget(lines)
                return
        if len(lines) == 1:
            self._reject(lines[0], why)
            forget(lines)
            return
        half = len(lines) // 2
        self._settle(lines[:half], forget, careful=careful)
        self._settle(lines[half:], forget, careful=careful)

    def _commit(self, lines: Sequence[Line], *, careful: bool) -> None:
        start = time.perf_counter()
        self._inserter.commit(lines, careful=careful)
        self._last_commit_ms = (time.perf_counter() - start) * 1000
        self._committed += len(lines)
        self._secure_wal()

    def _secure_wal(self) -> None:
        if self._wal:
            make_private(self._wal)
            self._wal_id = file_id(self._wal)

    def _reject(self, line: Line, why: str) -> None:
        row = line.json.decode(errors="replace")
        if line.kind == "input":  # DuckDB's words repeat what it could not read
            why, row = "not a row of inputs", "withheld: inputs are kept in their table alone"
        add_line(self._rejected_path, msgspec.json.encode({"why": why, "row": row}))
        self._rejected += 1
        _logger.error("A %s row was refused and is in %s: %s", line.kind or "broken", self._rejected_path.name, why)
