"""From JSON lines to rows: the SQL that takes a batch into its table. Knows no queue and no thread."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import duckdb

from router.decision_log.arrivals import COLUMN, STREAMS, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.decision_log.spill import Line, Sent

TABLES = {
    # kind: table, what makes a row the same row, whether one may legitimately come twice
    "decision": ("decision_rows", ("decision_id",), False),
    "attempt": ("attempt_rows", ("decision_id", "attempt"), False),
    "outcome": ("outcome_rows", ("decision_id",), False),
    "input": ("inputs", ("decision_id",), False),
    "price_book": ("price_books", ("price_book",), True),
    "catalog": ("catalogs", ("catalog", "ts"), True),
    "policy": ("policies", ("policy_version",), True),
    "node": ("nodes", ("boot_id",), True),
    "feedback": ("feedback", ("decision_id", "ts", "source", "metric"), True),
    "shadow": ("shadows", ("decision_id", "attempt"), False),
    "compare_run": ("compare_runs", ("run_id", "ts"), False),
    "compare_trial": ("compare_trials", ("run_id", "number", "ts"), False),
    "predictor": ("predictors", ("candidate_id", "ts"), True),
}
# Only the newest of what was learnt counts: so the table holds a row per candidate, however long this runs.
_SUPERSEDED = """
    DELETE FROM nearfar_log.predictors AS old USING nearfar_log.predictors AS new
    WHERE old.candidate_id = new.candidate_id AND old.ts < new.ts"""
_SENT = "sent "  # and the place: the key under which it is kept how far a sender's rows are committed
_logger = logging.getLogger(__name__)


class Inserter:
    """Turns JSON lines into rows, one INSERT per table. Owned by the writer thread.

    JSON lines in one VARCHAR[] parameter do 23,000 rows/s at 33 us of CPU each and hold the GIL least; `executemany`
    does 242. Strict parsing, because the lenient one turns a value of the wrong type into NULL without a word.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, *, numbers: bool = False) -> None:
        self._con = con
        self.numbers = numbers  # whether rows get the number of their arrival
        self._last: dict[str, int] | None = None  # of each table; None: the log knows
        self._sql = {kind: self._compose(*TABLES[kind]) for kind in TABLES}

    def _compose(self, table: str, key: tuple[str, ...], repeats: bool) -> tuple[str, str, str]:  # noqa: FBT001
        """Return the JSON shape, the INSERT, and the INSERT that skips rows already there. The table rules, not us."""
        described = self._con.execute(f"DESCRIBE nearfar_log.{table}").fetchall()
        columns = [(name, kind) for name, kind, *_ in described if name != COLUMN]
        numbered = len(columns) < len(described)
        shape: dict[str, str] = {}
        values: list[str] = []
        for name, kind in columns:
            if name == "ts":
                shape["ts_us"] = "BIGINT"
                values.append("make_timestamp(s.ts_us) AS ts")
            elif kind == "JSON":  # comes as a string that holds JSON
                shape[name] = "VARCHAR"
                values.append(f"s.{name}::JSON AS {name}")
            else:
                shape[name] = kind
                values.append(f"s.{name} AS {name}")
        new = f"SELECT {', '.join(values)} FROM (SELECT from_json_strict(j, $shape) s FROM (SELECT unnest($rows::VARCHAR[]) j))"  # noqa: E501, S608
        names = ", ".join(name for name, _ in columns)
        same = " AND ".join(f"old.{k} = new.{k}" for k in key)
        unseen = (
            f"SELECT DISTINCT ON ({', '.join(key)}) {names} FROM ({new}) new "  # noqa: S608
            f"WHERE NOT EXISTS (SELECT 1 FROM nearfar_log.{table} old WHERE {same})"
        )
        if numbered:  # of no number follows none: NULL
            number = f"SELECT *, $last::BIGINT + row_number() OVER () AS {COLUMN} FROM"
            names, new, unseen = f"{names}, {COLUMN}", f"{number} ({new})", f"{number} ({unseen})"
        plain, careful = (f"INSERT INTO nearfar_log.{table} ({names}) {rows}" for rows in (new, unseen))
        return json.dumps(shape), careful if repeats else plain, careful

    def commit(self, lines: Sequence[Line], *, careful: bool) -> None:
        """Insert and commit all lines in one transaction, or none. `careful` skips rows that are already there.

        Raises:
            duckdb.Error: nothing was committed, or (rarely) nobody can tell.
        """
        by_kind: dict[str, list[str]] = {}
        for line in lines:
            by_kind.setdefault(line.kind, []).append(line.json.decode())
        last, self._last = self._last, None  # after a failure nobody knows what is committed
        self._con.execute("BEGIN")
        try:
            if self.numbers and last is None:
                last = counted(self._con)
            for kind, rows in by_kind.items():
                self._insert(kind, rows, last, careful=careful)
            if "predictor" in by_kind:
                self._con.execute(_SUPERSEDED).fetchall()
            self._remember({line.sent.place: line.sent for line in lines if line.sent})
            self._con.execute("COMMIT")
            self._last = last
        except duckdb.Error:
            try:
                self._con.execute("ROLLBACK")
            except duckdb.Error:
                _logger.debug("A failed COMMIT had already rolled back.")
            raise

    def _remember(self, last: dict[str, Sent]) -> None:
        """Keep with the rows themselves how far each sender's are committed: so none is ever committed twice."""
        for place, sent in last.items():
            self._con.execute("DELETE FROM nearfar_log.meta WHERE key = ?", [f"{_SENT}{place}"]).fetchall()
            values = [f"{_SENT}{place}", f"{sent.boot} {sent.number}"]
            self._con.execute("INSERT INTO nearfar_log.meta VALUES (?, ?)", values).fetchall()

    def _insert(self, kind: str, rows: list[str], last: dict[str, int] | None, *, careful: bool) -> None:
        shape, plain, skipping = self._sql[kind]
        table = TABLES[kind][0]
        values: dict[str, object] = {"shape": shape, "rows": rows}
        if table in STREAMS.values():
            values["last"] = None if last is None else last[table]
        ((count,),) = self._con.execute(skipping if careful else plain, values).fetchall()
        if last is not None and table in last:
            last[table] += int(count)

    def close(self) -> None:
        """Close the cursor; an open one would keep the file locked."""
        self._con.close()


def last_sent(con: duckdb.DuckDBPyConnection, place: str, boot: str) -> int:
    """The number of the last committed row that this boot sent from this place; 0 where there is none."""
    found = con.execute("SELECT value FROM nearfar_log.meta WHERE key = ?", [f"{_SENT}{place}"]).fetchall()
    whose, _, number = found[0][0].partition(" ") if found else ("", "", "")
    return int(number) if whose == boot else 0
