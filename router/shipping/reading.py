"""What all nodes have shipped, read as one log: the same names, the same questions. Reads, and keeps nothing.

The tables that rows arrive in are views over the segments; whatever a log keeps beside them is empty, so every question
is answered from the rows. Which segments there are is looked up again every few seconds.
"""

from __future__ import annotations

import tempfile
import threading
import time
from typing import TYPE_CHECKING

import duckdb

from router.decision_log.arrivals import COLUMN, SNAPSHOTS, STREAMS
from router.decision_log.export import exported
from router.decision_log.migrations import connect, first_line
from router.decision_log.queries import LogReader
from router.decision_log.sql import without_paths
from router.decision_log.tenancy import literal
from router.errors import LogError
from router.shipping.names import segments_of, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from router.decision_log.export import Format
    from router.decision_log.migrations import Allow
    from router.shipping.names import Segment
    from router.shipping.places import Place

FRESH_S = 5.0
"""How long a list of segments is used. Far less than what joined segments stay beside the one that holds them."""


class Segments:
    """The segments of a place, open to be read by any number of threads."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._spilling = tempfile.TemporaryDirectory(prefix="nearfar-segments-", ignore_cleanup_errors=True)
        self._found: list[Segment] | None = None
        self._looked = 0.0
        self._con: duckdb.DuckDBPyConnection | None = None

    def reader(self, sees: str | None = None) -> LogReader:
        """The read side: one tenant's decisions, or (`sees` is None) everybody's. It raises as `cursor` does."""
        return LogReader(self.cursor, sees)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to all there is.

        Raises:
            Away: the place cannot be read.
            LogError: a segment cannot.
        """
        with self._lock:
            if self._con is None or time.monotonic() - self._looked > FRESH_S:
                self._look()
            assert self._con is not None  # noqa: S101 -- made by the first look
            return self._con.cursor()

    def export(
        self,
        target: Path,
        kind: Format,
        span: tuple[datetime | None, datetime | None] = (None, None),
        progress: Callable[[float], None] = lambda _: None,
    ) -> int:
        """Write decisions to a file, as `router.decision_log.export` does, which says what it raises."""

        def opened(allow: Allow) -> duckdb.DuckDBPyConnection:
            return self._opened(visible(segments_of(self._place.names())), allow)

        return exported(opened, target, kind, span, progress)

    def close(self) -> None:
        """Forget what was read."""
        with self._lock:
            if self._con is not None:
                self._con.close()
                self._con = None
        self._spilling.cleanup()

    def _look(self) -> None:
        """Open a database over what is there now; those who read the one before keep it until they have done."""
        found = visible(segments_of(self._place.names()))
        if self._con is None or found != self._found:
            try:
                self._con, self._found = self._opened(found), found
            except duckdb.Error as error:
                why = without_paths(first_line(error))
                raise LogError(f"The shipped segments cannot be read: {why}") from error
        self._looked = time.monotonic()

    def _opened(self, found: Sequence[Segment], allow: Allow | None = None) -> duckdb.DuckDBPyConnection:
        def readable(con: duckdb.DuckDBPyConnection) -> None:
            con.execute(f"SET temp_directory = {literal(self._spilling.name)}")
            con.execute("SET parquet_metadata_cache = true")  # a segment never changes
            self._place.allow(con)
            if allow is not None:
                allow(con)

        con = connect(None, allow=readable)
        try:
            for stream, table in STREAMS.items():
                urls = [self._place.url(segment.name) for segment in found if segment.table == stream]
                if urls:
                    _stand(con, table, urls)
        except duckdb.Error:
            con.close()
            raise
        return con


def _stand(con: duckdb.DuckDBPyConnection, table: str, urls: Sequence[str]) -> None:
    """Put a view over files in a table's place: its columns as this version has them, whichever wrote the files."""
    con.execute(f"CREATE TABLE nearfar_log.{table}_shape AS FROM nearfar_log.{table} WITH NO DATA")
    columns = ", ".join(name for name, *_ in con.execute(f"DESCRIBE nearfar_log.{table}").fetchall())
    files = ", ".join(map(literal, urls))
    newest = ""
    if table in SNAPSHOTS:  # every node ships its own, and some of them are the same
        newest = f"QUALIFY row_number() OVER (PARTITION BY {', '.join(SNAPSHOTS[table])} ORDER BY ts, {COLUMN}) = 1"
    con.execute(f"DROP TABLE nearfar_log.{table}")
    con.execute(f"""
        CREATE VIEW nearfar_log.{table} AS SELECT {columns} FROM (
            FROM nearfar_log.{table}_shape UNION ALL BY NAME
            FROM read_parquet([{files}], union_by_name = true, hive_partitioning = false)) {newest}""")  # noqa: S608
