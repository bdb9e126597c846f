"""Dashboard questions over one log in two databases: the router's own answers, and the same figures by SQLite.

SQLite has the rows the router had, with indexes on times and ids and the statistics its planner asks for. What the
router's answers hold beyond these figures (estimate error, shares, first tokens) SQLite is not asked for. Its quantiles
are exact, ours within 2 %: an answer that differs by more is a fault.
"""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from router.decision_log.queries import LogReader

PAGE = 50
ACCURACY = 0.0201  # of a quantile by our histograms: 2 %, and room for rounding
INDEXES = (
    "CREATE INDEX decisions_ts ON decisions (ts_us)",
    "CREATE UNIQUE INDEX decisions_id ON decisions (decision_id)",
    "CREATE UNIQUE INDEX outcomes_id ON outcomes (decision_id)",
    "CREATE INDEX attempts_id ON attempts (decision_id, attempt)",
    "ANALYZE",
)
_SUMS = """count(*) AS requests, sum(status = 'ok') AS ok, sum(cost_usd) AS cost_usd,
    sum(CASE WHEN status IS NOT NULL AND cost_usd IS NULL THEN 1 ELSE 0 END) AS unknown_cost"""
_GIVEN = """SELECT {keys}, o.status, o.cost_usd, o.latency_ms
    FROM decisions d LEFT JOIN outcomes o USING (decision_id){more} WHERE d.ts_us >= :since"""
_WINNER = " LEFT JOIN attempts a ON a.decision_id = d.decision_id AND a.won"
_HOUR = 3_600_000_000


def grouped(keys: dict[str, str], quantiles: dict[str, float], more: str = "") -> str:
    """SQLite's query for what belongs to each combination of keys: counts, costs and exact quantiles."""
    names = ", ".join(keys)
    told = ", ".join(f"{value} AS {name}" for name, value in keys.items())
    picked = ", ".join(f"min(CASE WHEN r >= {q} * n THEN latency_ms END) AS {name}" for name, q in quantiles.items())
    same = " AND ".join(f"sums.{name} IS ranks.{name}" for name in keys)
    return f"""
        WITH given AS MATERIALIZED ({_GIVEN.format(keys=told, more=more)}),
        sums AS (SELECT {names}, {_SUMS} FROM given GROUP BY {names}),
        ranks AS (SELECT {names}, {picked} FROM (
            SELECT {names}, latency_ms, row_number() OVER (PARTITION BY {names} ORDER BY latency_ms) AS r,
                count(*) OVER (PARTITION BY {names}) AS n
            FROM given WHERE status = 'ok') GROUP BY {names})
        SELECT sums.*, {", ".join(f"ranks.{name}" for name in quantiles)} FROM sums LEFT JOIN ranks ON {same}"""


SUMMARY = grouped({"backend": "o.backend"}, {"p50_ms": 0.5, "p95_ms": 0.95})
BY_HOUR = grouped({"at": f"d.ts_us / {_HOUR}", "backend": "o.backend"}, {"p50_ms": 0.5, "p95_ms": 0.95})
MODELS = grouped(
    {"model": "d.model", "candidate": "a.candidate_id"},
    {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99},
    _WINNER,
)
NEWEST = f"""
    SELECT * FROM decisions LEFT JOIN outcomes USING (decision_id)
    ORDER BY decisions.ts_us DESC, decision_id DESC LIMIT {PAGE}"""
ONE = """
    SELECT * FROM decisions LEFT JOIN outcomes USING (decision_id) LEFT JOIN attempts USING (decision_id)
    WHERE decision_id = :id ORDER BY attempt"""


def copied(log: Path, con: sqlite3.Connection, tables: dict[str, list[str]]) -> None:
    """Put all rows of a closed log into SQLite's tables; `tables` names each one's columns. Then the indexes."""
    with duckdb.connect(str(log), read_only=True) as source:
        for table, names in tables.items():
            view = f"nearfar_log.every_{table.removesuffix('s')}"
            kinds = {name: kind for name, kind, *_ in source.execute(f"DESCRIBE {view}").fetchall()}
            told = ", ".join(_plain(name, kinds) for name in names)
            source.execute(f"SELECT {told} FROM {view}")
            con.execute("BEGIN")
            while rows := source.fetchmany(20_000):
                con.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})", rows)
            con.execute("COMMIT")
    for statement in INDEXES:
        con.execute(statement)


def _plain(name: str, kinds: dict[str, str]) -> str:
    """A column in a type that SQLite has."""
    if name == "ts_us":
        return "epoch_us(ts)"
    if kinds[name] == "BOOLEAN":
        return f"{name}::INTEGER"
    return f"to_json({name})::VARCHAR" if "[]" in kinds[name] else f"{name}::VARCHAR" if kinds[name] == "UUID" else name


class Asked:
    """Every question, to both: seconds of each time it was asked, and whether the answers agree."""

    def __init__(self, reader: LogReader, con: sqlite3.Connection, now: datetime) -> None:
        self._reader, self._con = reader, con
        day = now - timedelta(days=1)
        ((self._id,),) = con.execute("SELECT decision_id FROM decisions ORDER BY ts_us LIMIT 1 OFFSET 1000").fetchall()
        self._pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any], Callable[[Any, Any], str | None]]] = {}
        for label, since in (("all", None), ("last day", day)):
            self._compare(f"summary ({label})", "summary", since, None, SUMMARY)
            self._compare(f"hour by hour ({label})", "timeseries", since, "backend", BY_HOUR)
            self._compare(f"models ({label})", "models", since, "candidate", MODELS)
        self._pairs["newest 50 decisions"] = (
            lambda: [str(row["decision_id"]) for row in reader.decisions(limit=PAGE)[0]],
            lambda: [row[0] for row in con.execute(NEWEST).fetchall()],
            lambda ours, theirs: None if ours == theirs else "not the same decisions",
        )
        self._pairs["one decision"] = (
            lambda: reader.decision(self._id),
            lambda: con.execute(ONE, {"id": self._id}).fetchall(),
            lambda ours, theirs: None if ours and len(ours["attempts"]) == len(theirs) else "not the same attempts",
        )
        self.seconds: dict[str, dict[str, list[float]]] = {name: {"nearfar": [], "sqlite": []} for name in self._pairs}
        self.faults: list[str] = []

    def once(self) -> None:
        """Ask everything once, both sides of a question back to back."""
        for name, (ours, theirs, differ) in self._pairs.items():
            answers = []
            for side, ask in (("nearfar", ours), ("sqlite", theirs)):
                began = time.perf_counter()
                answers.append(ask())
                self.seconds[name][side].append(time.perf_counter() - began)
            if (fault := differ(*answers)) is not None:
                self.faults.append(f"{name}: {fault}")

    def _compare(self, label: str, name: str, since: datetime | None, by: str | None, query: str) -> None:
        stepped = {"step": "hour"} if name == "timeseries" else {}
        since_us = 0 if since is None else int(since.timestamp() * 1e6)

        def ours() -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = self._reader.ask(name, since=since, by=by, **stepped)["rows"]
            return rows

        def theirs() -> list[dict[str, Any]]:
            cursor = self._con.execute(query, {"since": since_us})
            names = [each[0] for each in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        self._pairs[label] = (ours, theirs, difference)


def difference(ours: Iterable[dict[str, Any]], theirs: Iterable[dict[str, Any]]) -> str | None:
    """How two answers differ; None when they say the same. Rows are matched by what they count."""
    mine, other = {_key(row): row for row in ours}, {_key(row): row for row in theirs}
    if mine.keys() != other.keys():
        return f"{len(mine.keys() ^ other.keys())} groups are only in one of them"
    for key, row in other.items():
        for name, value in row.items():
            if name in {"requests", "ok", "unknown_cost"} and mine[key][name] != value:
                return f"{name} of {key}: {mine[key][name]} against {value}"
            if name == "cost_usd" or name.endswith("_ms"):
                tolerance = ACCURACY if name.endswith("_ms") else 1e-6
                if not _close(mine[key][name], value, tolerance):
                    return f"{name} of {key}: {mine[key][name]} against {value}"
    return None


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    at = row.get("at")  # ours is told as text, SQLite's counts hours
    hour = int(datetime.fromisoformat(at).timestamp() / 3600) if isinstance(at, str) else at
    return (hour, row.get("backend"), row.get("model"), row.get("candidate"))


def _close(one: float | None, other: float | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=1e-12)
