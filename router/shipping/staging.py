"""From a log's tables to files beside it: segments that wait to be shipped. Touches this machine's disk alone.

A round takes all rows that came since the last one. Files are on disk first, then the log says in one transaction that
they are: a round that was cut short left files beyond what the log says, which are deleted when the next one begins.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from router.decision_log.arrivals import COLUMN, STREAMS, shipped_upto
from router.decision_log.retention import transaction
from router.decision_log.streams import streamed
from router.shipping.names import Segment, segment_of
from router.shipping.places import UNFINISHED, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Cursor = Callable[[], duckdb.DuckDBPyConnection]

AT_ONCE = 50_000
"""Rows of one segment: some tenths of a second of one core, and 100 MB."""
WRITTEN = "FORMAT parquet, COMPRESSION zstd"
_CONFIG: dict[str, Any] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "threads": 1,  # requests need the others
    "memory_limit": "512MB",
}
_logger = logging.getLogger(__name__)


class Staging:
    """The folder in which segments wait. Used by one thread at a time."""

    def __init__(self, folder: Path, cursor: Cursor, boot_id: str) -> None:
        self.folder = folder
        self._cursor = cursor
        self._boot = boot_id.replace("-", "")

    def stage(self) -> int:
        """Write what came since the last time to segments; returns how many rows that were, AT_ONCE of a table at most.

        Raises:
            duckdb.Error, OSError: the log cannot be read, or the disk refuses; nothing is lost, nor staged twice.
        """
        with contextlib.closing(self._cursor()) as con:
            ((node,),) = con.execute("SELECT value FROM nearfar_log.meta WHERE key = 'node_id'").fetchall()
            upto = shipped_upto(con)
            self._undo(str(node), upto)
            con.execute("BEGIN TRANSACTION READ ONLY")
            try:
                spans = _spans(con, upto)
                staged = self._write(con, str(node), spans) if spans else 0
            finally:
                con.execute("ROLLBACK")
            if spans:
                with transaction(con):
                    for span in spans:
                        con.execute("DELETE FROM nearfar_log.shipped WHERE stream = ?", [span.stream])
                        con.execute("INSERT INTO nearfar_log.shipped VALUES (?, ?)", [span.stream, span.last])
        return staged

    def waiting(self) -> Iterator[tuple[Segment, Path]]:
        """The segments that wait, oldest rows first."""
        found = [(segment, file) for file in self._files() if (segment := self._segment(file)) is not None]
        yield from sorted(found, key=lambda one: (one[0].first, one[0]))

    def waiting_bytes(self) -> int:
        """How large they are."""
        sizes = 0
        for file in self._files():
            with contextlib.suppress(FileNotFoundError):  # shipped meanwhile
                sizes += file.stat().st_size
        return sizes

    def _files(self) -> list[Path]:
        return [file for file in self.folder.rglob("*.parquet") if not file.name.startswith(".")]

    def _segment(self, file: Path) -> Segment | None:
        return segment_of(file.relative_to(self.folder).as_posix())

    def _undo(self, node: str, upto: dict[str, int]) -> None:
        """Delete what a round left behind that was cut short."""
        for file in self.folder.rglob(f".*{UNFINISHED}"):
            file.unlink(missing_ok=True)
        for segment, file in self.waiting():
            if segment.node == node and segment.last > upto[STREAMS[segment.table]]:
                file.unlink(missing_ok=True)

    def _write(self, con: duckdb.DuckDBPyConnection, node: str, spans: Sequence[_Span]) -> int:
        staged = 0
        with contextlib.closing(duckdb.connect(":memory:", config=_CONFIG)) as writer:
            for span in spans:
                found = 0
                for day in span.days:
                    segment = Segment(span.stream, day, node, self._boot, span.first, span.last)
                    query = f"SELECT * {span.rows} AND ts::DATE = DATE '{day}' ORDER BY {COLUMN}"
                    with streamed(con, writer, query) as incoming:
                        found += self._put(writer, incoming, segment)
                if (gone := span.last - span.first + 1 - found) > 0:
                    _logger.error("%d rows of %s were gone from the log before they were shipped.", gone, span.stream)
                staged += found
        return staged

    def _put(self, writer: duckdb.DuckDBPyConnection, query: str, segment: Segment) -> int:
        file = self.folder / segment.name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}{UNFINISHED}")
        rows = write_parquet(writer, query, part)
        part.replace(file)
        sync_folder(file.parent)
        return rows


class _Span(NamedTuple):
    """Rows of one table that are staged together: all that have a number from `first` to `last`."""

    stream: str
    first: int
    last: int
    days: list[str]

    @property
    def rows(self) -> str:
        return f"FROM nearfar_log.{STREAMS[self.stream]} WHERE {COLUMN} BETWEEN {self.first} AND {self.last}"


def _spans(con: duckdb.DuckDBPyConnection, upto: dict[str, int]) -> list[_Span]:
    """What came since, of every table that has something new."""
    found = []
    for stream, table in STREAMS.items():
        first = upto[table] + 1
        new = f"SELECT max({COLUMN}) FROM nearfar_log.{table} WHERE {COLUMN} >= {first}"  # noqa: S608
        ((newest,),) = con.execute(new).fetchall()
        if newest is not None:
            span = _Span(stream, first, min(int(newest), first + AT_ONCE - 1), [])
            days = con.execute(f"SELECT DISTINCT ts::DATE {span.rows} ORDER BY 1").fetchall()
            found.append(span._replace(days=[day.isoformat() for (day,) in days]))
    return found


def write_parquet(con: duckdb.DuckDBPyConnection, query: str, file: Path) -> int:
    """Write a query's rows to a file that its owner alone may read, on disk when this returns; how many there are."""
    name = str(file).replace("'", "''")
    ((rows,),) = con.execute(f"COPY ({query}) TO '{name}' ({WRITTEN})").fetchall()
    file.chmod(0o600)
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return int(rows)
