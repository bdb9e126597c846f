"""What a decision log on SQLite would be: the same columns, the same batches, as durable as ours.

A row is taken by whoever has one and committed by one thread: as soon as 1000 wait, or half a second after the first.
The write-ahead log is synced with every commit, as DuckDB's is. Candidates, which SQLite has no type for, are JSON.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from router.decision_log.record import AttemptRow, DecisionRow, OutcomeRow

if TYPE_CHECKING:
    from pathlib import Path

    from router.decision_log.record import Row

FLUSH_S, FLUSH_ROWS = 0.5, 1000
HEAD = ("node_id", "boot_id", "schema_version")
TABLES: dict[type, str] = {DecisionRow: "decisions", AttemptRow: "attempts", OutcomeRow: "outcomes"}
Taken = tuple[type, tuple[object, ...]]


def columns(kind: type) -> list[str]:
    """The columns of one kind of row, in order."""
    names = [field.name for field in msgspec.structs.fields(kind)]
    return names + list(HEAD) if kind is DecisionRow else names


def connected(path: Path) -> sqlite3.Connection:
    """A log of SQLite's at this path, made where there is none."""
    con = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("PRAGMA synchronous = FULL")
    for kind, table in TABLES.items():
        con.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns(kind))})")
    return con


class SqliteLog:
    """Takes rows from any thread; one thread commits them."""

    def __init__(self, path: Path) -> None:
        self._con = connected(path)
        self._head = (str(uuid.uuid4()), str(uuid.uuid4()), 1)
        self._encode = msgspec.json.Encoder().encode
        self._queue: deque[Taken] = deque()
        self._lock = threading.Lock()
        self._some, self._now, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._sql = {
            kind: f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns(kind)))})"
            for kind, table in TABLES.items()
        }
        self._slate = columns(DecisionRow).index("candidates")
        self._thread = threading.Thread(target=self._run, name="sqlite-log", daemon=True)
        self._thread.start()

    def append(self, row: Row) -> None:
        """Take a row."""
        values = msgspec.structs.astuple(row)
        if type(row) is DecisionRow:
            at = self._slate
            values = (*values[:at], self._encode(values[at]).decode(), *values[at + 1 :], *self._head)
        with self._lock:
            self._queue.append((type(row), values))
            queued = len(self._queue)
        if not self._some.is_set():
            self._some.set()
        if queued >= FLUSH_ROWS and not self._now.is_set():
            self._now.set()

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return when nothing waits to be committed any more.

        Raises:
            TimeoutError: That took too long.
        """
        deadline = time.monotonic() + timeout_s
        while self._queue:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self._queue)} rows are not committed")
            self._some.set()
            self._now.set()
            time.sleep(0.001)

    def close(self) -> None:
        """Commit what waits."""
        self._closing.set()
        self._some.set()
        self._now.set()
        self._thread.join()
        self._con.close()

    def _run(self) -> None:
        while not (self._closing.is_set() and not self._queue):
            self._some.wait()
            self._now.wait(FLUSH_S)
            self._some.clear()
            self._now.clear()
            while self._queue:
                with self._lock:
                    batch = list(islice(self._queue, FLUSH_ROWS))
                self._commit(batch)
                if len(self._queue) < FLUSH_ROWS and not self._closing.is_set():
                    break
            if self._queue or self._closing.is_set():
                self._some.set()

    def _commit(self, batch: list[Taken]) -> None:
        by_kind: dict[type, list[tuple[object, ...]]] = {}
        for kind, values in batch:
            by_kind.setdefault(kind, []).append(values)
        self._con.execute("BEGIN")
        for kind, rows in by_kind.items():
            self._con.executemany(self._sql[kind], rows)
        self._con.execute("COMMIT")
        with self._lock:
            for _ in batch:
                self._queue.popleft()
