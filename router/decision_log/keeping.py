"""Upkeep of the log: decisions that have come to their end are settled, and what is too old is deleted. In small steps.

A settled decision is one row of one table, which compresses to a fraction, and has been counted in the sums that
questions are answered from: both in one transaction, so neither a crash nor a late row can count anything twice.
Runs on the thread that writes; what a step does must not keep rows waiting for long.
"""

from __future__ import annotations

import contextlib
import math
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from router.decision_log import cells
from router.decision_log.arrivals import STREAMS, out, shipped_upto
from router.decision_log.retention import Retention, erase_owed, forget_inputs, owe_erasure, transaction
from router.decision_log.shapes import apart, joined

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

AT_ONCE = 5000
"""Decisions per step: some 150 ms of work."""
TICK_S = 5.0
INPUTS_TICK_S = 300.0
_GRACE = timedelta(seconds=15)
"""How long after its end a decision waits for attempts that come later, such as shadows. Later ones take it back."""
_PATIENCE = timedelta(minutes=10)
"""After this, fewer than AT_ONCE are settled as well."""
_LOST = timedelta(days=1)
"""After this, a decision without an end is settled as lost. Longer than any deadline."""
_FOLDED = timedelta(hours=1)
_ENDED = """
    SELECT d.decision_id, d.ts, coalesce(o.ts, d.ts + $lost) AS ended FROM nearfar_log.decision_rows d
    LEFT JOIN nearfar_log.outcome_rows o USING (decision_id)
    WHERE coalesce(o.ts + $grace, d.ts + $lost) < $now AND {out} ORDER BY d.ts LIMIT $at_once"""
_UNSHIPPED = "SELECT decision_id FROM nearfar_log.attempt_rows WHERE NOT {out}"
_LATE = """
    SELECT DISTINCT decision_id FROM (
        SELECT decision_id FROM nearfar_log.attempt_rows UNION ALL SELECT decision_id FROM nearfar_log.outcome_rows)
    WHERE decision_id NOT IN (SELECT decision_id FROM nearfar_log.decision_rows)"""
_AGED = (
    "settled",
    "decision_rows",
    "outcome_rows",
    "attempt_rows",
    "inputs",
    "feedback",
    "shadows",
    "compare_runs",
    "compare_trials",
)


class Keeper:
    """Does what is due, a step at a time. Owned by the writer thread.

    Attributes:
        memory_bytes: What DuckDB held in memory at the last step, by its own account; at most its `memory_limit`.

    Args:
        cursor: Gives a cursor of the log's database as it is now.
        retention: How long decisions and inputs are kept.
    """

    def __init__(
        self,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        retention: Retention = Retention(),  # noqa: B008 -- immutable
    ) -> None:
        self._cursor = cursor
        self._kept = retention
        self._retention = None if retention.days is None else timedelta(days=retention.days)
        self._next_s = time.monotonic() + TICK_S
        self._has_deleted = False
        self._next_inputs_s = 0.0
        self.memory_bytes: int | None = None

    def rest(self) -> None:
        """Do nothing from now on."""
        self._next_s = math.inf

    def keep(self) -> None:
        """Do one step of what is due, if the last one is long enough ago or left something.

        Raises:
            duckdb.Error: nothing was done.
        """
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + TICK_S
        now = datetime.now(UTC).replace(tzinfo=None)
        with contextlib.closing(self._cursor()) as con:
            self._forget_inputs(con, now)
            more = self.settle(con, now) + self.forget(con, now)
            ((held,),) = con.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchall()
            self.memory_bytes = int(held)
        if more >= AT_ONCE:
            self._next_s = 0.0

    def settle(self, con: duckdb.DuckDBPyConnection, now: datetime, *, at_least: int | None = None) -> int:
        """Settle up to AT_ONCE decisions that have ended, after taking back those of which more has come since.

        Returns how many were settled: none while fewer than `at_least` wait, unless one has waited for minutes.
        """
        upto = self._upto(con)
        whole = f"{out(upto, 'decision_rows', 'd')} AND (o.ts IS NULL OR {out(upto, 'outcome_rows', 'o')})"
        if upto is not None:
            whole += f" AND d.decision_id NOT IN ({_UNSHIPPED.format(out=out(upto, 'attempt_rows'))})"
        values = {"now": now, "lost": _LOST, "grace": _GRACE, "at_once": AT_ONCE}
        con.execute(f"CREATE OR REPLACE TEMP TABLE ended AS {_ENDED.format(out=whole)}", values)
        ((found, oldest),) = con.execute("SELECT count(*), min(ended) FROM ended").fetchall()
        if not found or (found < (at_least or AT_ONCE) and oldest > now - _PATIENCE):
            return 0
        with transaction(con):
            self._take_back(con)
            picked = "decision_id IN (SELECT decision_id FROM ended)"
            con.execute(f"CREATE OR REPLACE TEMP TABLE batch AS FROM ({joined(con, picked)}) ORDER BY ts, seq")
            con.execute("INSERT INTO nearfar_log.settled BY NAME FROM batch")
            cells.add(con, "FROM batch")
            for table in ("decision_rows", "outcome_rows", "attempt_rows"):
                con.execute(f"DELETE FROM nearfar_log.{table} WHERE {picked}")  # noqa: S608
            cells.mend(con)
            self._fold(con, now)
        con.execute("DROP TABLE batch")
        return int(found)

    def forget(self, con: duckdb.DuckDBPyConnection, now: datetime) -> int:
        """Delete the oldest hour of what is older than the retention. Returns how many decisions that were.

        After the last one the file is checkpointed: DuckDB gives the space at its end back, and uses the rest again.
        """
        if self._retention is None:
            return 0
        until = (now - self._retention).replace(minute=0, second=0, microsecond=0)
        upto = self._upto(con)
        new = f"SELECT min(ts) FROM nearfar_log.decision_rows WHERE {out(upto, 'decision_rows')}"  # noqa: S608
        ((oldest,),) = con.execute(
            f"SELECT min(ts) FROM (SELECT min(ts) AS ts FROM nearfar_log.settled UNION ALL {new})"  # noqa: S608
        ).fetchall()
        if oldest is None or oldest >= until:
            if self._has_deleted:
                con.execute("CHECKPOINT")
                self._has_deleted = False
            return 0
        end = min(until, oldest.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))
        with transaction(con):
            if con.execute("SELECT 1 FROM nearfar_log.inputs WHERE ts < ? LIMIT 1", [end]).fetchall():
                owe_erasure(con)
            for table in _AGED:
                shipped = out(upto, table) if table in STREAMS.values() else "true"
                con.execute(f"DELETE FROM nearfar_log.{table} WHERE ts < ? AND {shipped}", [end])  # noqa: S608
            for table in ("cells", "clusters", "savings"):
                con.execute(f"DELETE FROM nearfar_log.{table} WHERE hour < ?", [end])  # noqa: S608
        self._has_deleted = True
        return AT_ONCE

    def _upto(self, con: duckdb.DuckDBPyConnection) -> dict[str, int] | None:
        """Up to where rows are shipped; None where the log is not."""
        return shipped_upto(con) if self._kept.until_shipped else None

    def _forget_inputs(self, con: duckdb.DuckDBPyConnection, now: datetime) -> None:
        """Delete the inputs whose time is over, every few minutes: taking them out of the file as well is work."""
        if time.monotonic() < self._next_inputs_s:
            return
        self._next_inputs_s = time.monotonic() + INPUTS_TICK_S
        forget_inputs(con, self._kept, now)
        erase_owed(con)

    def _take_back(self, con: duckdb.DuckDBPyConnection) -> None:
        """Make decisions new again of which an attempt or the end came after they had been settled."""
        con.execute(f"CREATE OR REPLACE TEMP TABLE late AS {_LATE}")
        if not con.execute("SELECT 1 FROM late LIMIT 1").fetchall():
            return
        of_late = "decision_id IN (SELECT decision_id FROM late)"
        con.execute(f"CREATE OR REPLACE TEMP TABLE back AS SELECT * FROM nearfar_log.settled WHERE {of_late}")  # noqa: S608
        cells.take_out(con, "FROM back")
        con.execute(f"DELETE FROM nearfar_log.settled WHERE {of_late}")  # noqa: S608
        for table, rows in apart(con, "back").items():
            con.execute(f"INSERT INTO nearfar_log.{table} BY NAME {rows}")

    def _fold(self, con: duckdb.DuckDBPyConnection, now: datetime) -> None:
        until = (now - _FOLDED).replace(minute=0, second=0, microsecond=0)
        ((there,),) = con.execute("SELECT count(*) FROM nearfar_log.clusters WHERE hour < ?", [until]).fetchall()
        if there:
            cells.fold(con, until)
