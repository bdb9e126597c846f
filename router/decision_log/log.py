"""The decision log: commits the rows that it takes to DuckDB, on a thread of its own.

It must not know what a row means, nor where the settings come from.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import msgspec

from backends.writing import add_line
from router.decision_log.files import file_id, size
from router.decision_log.ingest import TABLES, Inserter, last_sent
from router.decision_log.keeping import Keeper
from router.decision_log.migrations import connect, first_line
from router.decision_log.queries import LogReader
from router.decision_log.retention import Retention
from router.decision_log.spill import Backlog, SpillFile, make_private, spills_beside
from router.decision_log.taking import Log, LogStats, Pace
from router.errors import LogError, LogLocked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from router.decision_log.spill import Line
    from router.decision_log.taking import Durability

_ROW_AT_FAULT = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException, duckdb.InvalidTypeException)
_AT_ONCE = 10_000  # rows of one commit, which costs about as much as 2,000 rows do, however few it holds
_open_here: set[Path] = set()  # DuckDB hands a second `connect` in one process the same database without a word

_logger = logging.getLogger(__name__)


class DecisionLog(Log):
    """The log, open for writing. One process owns it."""

    _FAULTS = (duckdb.Error, OSError, LogError)

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        path: Path | None,
        durability: Durability,
        limits: tuple[int, float, int],
        retention: Retention = Retention(),  # noqa: B008 -- immutable
    ) -> None:
        queue_rows, flush_s, flush_rows = limits
        self._own_dir = tempfile.TemporaryDirectory() if path is None else None
        base = Path(self._own_dir.name) / "log" if self._own_dir else path
        assert base is not None  # noqa: S101
        backlog = Backlog(queue_rows, SpillFile(base.with_name(f"{base.name}.spill")))
        (found,) = con.execute("SELECT value FROM nearfar_log.meta WHERE key = 'node_id'").fetchall()
        super().__init__(path, str(found[0]), durability, backlog, Pace(flush_s, flush_rows))
        self._con, self._path = con, path
        self._wal = path and path.with_name(f"{path.name}.wal")
        self._rejected_path = base.with_name(f"{base.name}.rejected.jsonl")
        self._rejected = self._replaced = 0
        self._in_doubt = self._is_broken = False
        self._inserter = Inserter(con.cursor(), numbers=retention.until_shipped)
        self._keeper = Keeper(self.cursor, retention)
        self._file_id, self._wal_id = file_id(path), file_id(self._wal)  # which file is open; None when none is

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
        log._start()
        return log

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

    def take(self, lines: Sequence[Line]) -> Future[None]:
        """Take rows that another process sent, in its order; done when all are committed, or refused.

        It must send no more before, and keep these until then.
        """
        self._backlog.put_sent(lines)
        future = self._backlog.wait()
        self._wake()
        return future

    def last_sent(self, place: str, boot: str) -> int:
        """The number of the last committed row that this boot sent from this place; 0 where there is none.

        Raises:
            LogError: the log cannot be read.
        """
        try:
            with contextlib.closing(self.cursor()) as con:
                return last_sent(con, place, boot)
        except duckdb.Error as error:
            raise LogError(f"The decision log cannot be read: {first_line(error)}") from error

    def gather(self) -> None:
        """Take in what processes that sent their rows to an owner of this log had to leave behind. They are all gone.

        Raises:
            LogError: their files cannot be read, or this log's spill file not written.
        """
        try:
            for path in spills_beside(self.path) if self.path else []:
                self._backlog.spill.append(path.read_bytes().removesuffix(b"\n").split(b"\n"))
                path.unlink()
        except OSError as error:
            raise LogError(f"What workers had left cannot be taken in ({type(error).__name__}).") from error
        self._wake()

    def leave(self) -> None:
        """Settle and delete nothing: for whoever only reads. To be called within seconds of opening."""
        self._keeper.rest()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the log as it is now, for one thread."""
        return self._con.cursor()  # looked up each time: `_reopen` replaces the connection

    def _shut(self) -> None:
        """Checkpoint and close."""
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

    def _ended(self) -> None:
        self._inserter.close()

    def _keep(self) -> None:
        """Settle and delete what is due, unless there is something wrong or to do first."""
        if self._in_doubt or self._backlog.spill.pending or self._closing.is_set() or self._is_owed():
            return  # a row that may come twice is looked for among the new ones alone
        try:
            if not self._is_replaced():
                self._keeper.keep()
                self._secure_wal()
        except (duckdb.Error, OSError) as error:
            self._is_broken |= isinstance(error, duckdb.FatalException) and self._path is not None
            _logger.warning("The log's upkeep failed and is tried again later: %s", first_line(error))

    def _is_owed(self) -> bool:
        """Whether a process that sends its rows here holds some in a spill file: those may come twice."""
        return self.path is not None and bool(spills_beside(self.path))

    def _note(self, error: Exception, *, first: bool) -> None:
        self._in_doubt = True
        self._is_broken |= isinstance(error, duckdb.FatalException) and self._path is not None
        super()._note(error, first=first)

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
        self._inserter.commit(lines, careful=careful or any(line.again for line in lines))
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
