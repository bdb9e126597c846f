"""The read side of the decision log: one cursor and one read-only transaction per question, from any thread.

It must not write, nor know how rows get in.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from router.decision_log import comparisons, isolated, sql, windows
from router.decision_log.migrations import first_line
from router.decision_log.named import NAMED
from router.decision_log.questions import answered
from router.decision_log.questions.base import Asked
from router.decision_log.tenancy import own
from router.errors import InvalidRequest, LogError, QueryRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from router.decision_log.named import Name

Value = str | int | float | None
_MAX_LIMIT = 1000
_DECISION = "SELECT * FROM decisions WHERE decision_id = ?::UUID"
_INPUTS = """
    SELECT body FROM nearfar_log.inputs WHERE decision_id = $key::UUID AND ($sees IS NULL OR tenant = $sees)"""
_CANDIDATES = "SELECT * EXCLUDE (decision_id, ts) FROM candidates WHERE decision_id = ?::UUID"
_ATTEMPTS = "SELECT * EXCLUDE (decision_id) FROM attempts WHERE decision_id = ?::UUID ORDER BY attempt"
_OUTCOME = "SELECT * EXCLUDE (decision_id) FROM nearfar_log.every_outcome WHERE decision_id = ?::UUID"
_AFTERWARDS = "SELECT * EXCLUDE (decision_id) FROM {view} WHERE decision_id = ?::UUID ORDER BY ts"
# The view `attempts` would take apart every decision ever settled: a condition on an attempt's own time comes after.
_TRIED_SINCE = """(
    SELECT * FROM nearfar_log.attempt_rows WHERE ts >= {since} UNION ALL BY NAME
    SELECT * FROM (SELECT decision_id, unnest(attempts, max_depth := 2)
        FROM nearfar_log.settled WHERE ts >= {since} - INTERVAL 1 DAY)  -- a decision precedes its attempts
    WHERE ts >= {since})"""
_RECENT = f"""
    SELECT candidate_id, error_class, epoch(now()::TIMESTAMP - ts) - total_ms / 1000 AS age_s
    FROM (SELECT * FROM {_TRIED_SINCE.format(since="(now()::TIMESTAMP - to_seconds($seconds))")}
        WHERE backend = 'remote' AND status <> 'cancelled' ORDER BY ts DESC LIMIT 1000)
    ORDER BY ts"""  # noqa: S608 - from above
_PREDICTORS = "SELECT candidate_id, arg_max(state, ts)::VARCHAR FROM nearfar_log.predictors GROUP BY candidate_id"
# What was asked of a candidate decides whom it is charged to: a router's attempt is logged under the name that served.
_SPENT = f"""
    SELECT coalesce(d.tenant, '') AS tenant, d.model, c.model, c.provider, epoch(date_trunc('day', a.ts)) AS day_s,
        sum(coalesce(a.cost_usd, c.pred_cost_usd)) AS usd
    FROM {_TRIED_SINCE.format(since="$since")} a
        JOIN candidates c USING (decision_id, candidate_id) JOIN decisions d USING (decision_id)
    WHERE a.backend <> 'local' AND a.role <> 'shadow'
        AND c.ts >= $since - INTERVAL 1 DAY AND d.ts >= $since - INTERVAL 1 DAY
    GROUP BY ALL HAVING usd > 0 ORDER BY ALL"""  # noqa: S608 - from above


class Spent(NamedTuple):
    """What far attempts cost on one UTC day, at one provider for one model: as asked for, and as it is called there.

    `tenant` is whose requests they were; empty where nobody was named.
    """

    tenant: str
    asked_model: str
    model: str
    provider: str
    day_s: float  # when the day began, seconds since 1970
    usd: float


class LogReader:
    """Answers questions about the log. Cheap to make, safe to share between threads, of no use once it is closed.

    What is asked for somebody is answered from what `sees` allows: one tenant's decisions and all that belongs to them,
    or with None everybody's. The router's own questions (`recent_attempts`, `predictors`, `spent`, `rows`) are about
    all.
    """

    def __init__(self, cursor: Callable[[], duckdb.DuckDBPyConnection], sees: str | None = None) -> None:
        self._new_cursor = cursor
        self.sees = sees

    def decisions(  # noqa: PLR0913 - each is a column to filter by
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        model: str | None = None,
        task: str | None = None,
        backend: str | None = None,
        policy: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return decisions, newest first, and the cursor of the next page (None on the last one).

        `since` is inclusive, `until` is not; a time without zone is UTC. `limit` is kept between 1 and 1000.
        Rows that come while one turns the pages do not shift them.

        Raises:
            InvalidRequest: `cursor` is not one this method gave.
            LogError: the log cannot be read.
        """
        limit = max(1, min(limit, _MAX_LIMIT))
        tests: dict[str, object] = {
            "ts >= ?": _utc(since),
            "ts < ?": _utc(until),
            "model = ?": model,
            "task = ?": task,
            "backend = ?": backend,
            "policy = ?": policy,
            "status = ?": status,
        }
        tests = {test: value for test, value in tests.items() if value is not None}
        where, values = [*tests, own(self.sees)], list(tests.values())
        if cursor is not None:
            where.append("(ts < ? OR (ts = ? AND decision_id < ?::UUID))")
            ts, decision_id = _read_cursor(cursor)
            values += [ts, ts, decision_id]
        clause = f"WHERE {' AND '.join(where)}"
        with self._reading() as con:
            rows = _newest(con, clause, values, limit + 1)
        page = rows[:limit]
        return page, _make_cursor(page[-1]) if len(rows) > limit else None

    def recent_attempts(self, seconds: float) -> list[tuple[str, str | None, float]]:
        """Return the last far attempts, oldest first: whose, the error's class (None: answered), how long ago it ended.

        Raises:
            LogError: the log cannot be read.
        """
        with self._reading() as con:
            rows = con.execute(_RECENT, {"seconds": seconds}).fetchall()
        return [(candidate_id, error_class, max(0.0, age_s)) for candidate_id, error_class, age_s in rows]

    def predictors(self) -> dict[str, str]:
        """Return what was learnt of each candidate, the newest of it, as JSON by candidate id.

        Raises:
            LogError: the log cannot be read.
        """
        with self._reading() as con:
            return dict(con.execute(_PREDICTORS).fetchall())

    def decision(self, decision_id: str) -> dict[str, Any] | None:
        """Return one decision with all rows that belong to it and the snapshots it names; None if there is none to see.

        `carbon_g` of an attempt is derived: its energy times the factor of the price book it was decided under.

        Raises:
            LogError: the log cannot be read.
        """
        try:
            key = [str(uuid.UUID(decision_id))]
        except ValueError:
            return None
        with self._reading() as con:
            found = sql.dicts(con, f"{_DECISION} AND {own(self.sees)}", key)
            if not found:
                return None
            one = found[0]
            one["candidates"] = sql.dicts(con, _CANDIDATES, key)
            one["attempts"] = sql.dicts(con, _ATTEMPTS, key)
            outcomes = sql.dicts(con, _OUTCOME, key)
            one["outcome"] = outcomes[0] if outcomes else None
            for view in ("shadows", "feedback"):
                one[view] = sql.dicts(con, _AFTERWARDS.format(view=view), key)
            for name, view, column in (
                ("price_book_body", "price_books", "price_book"),
                ("policy_body", "policies", "policy_version"),
            ):
                body = f"SELECT body FROM {view} WHERE {column} = ?"  # noqa: S608
                one[name] = _body(sql.dicts(con, body, [one[column]]), "body")
        factor = ((one["price_book_body"] or {}).get("local") or {}).get("carbon_g_per_kwh")
        for attempt in one["attempts"]:
            attempt["carbon_g"] = _carbon_g(attempt["energy_j"], factor)
        return one

    def inputs(self, decision_id: str) -> Any:
        """Return the stored inputs of a decision, as JSON; None where none are stored, or they are another tenant's.

        Raises:
            LogError: the log cannot be read.
        """
        try:
            key = str(uuid.UUID(decision_id))
        except ValueError:
            return None
        with self._reading() as con:
            return _body(sql.dicts(con, _INPUTS, {"key": key, "sees": self.sees}), "body")

    def comparisons(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the newest runs of comparisons; see `router.decision_log.comparisons`.

        Raises:
            LogError: the log cannot be read.
        """
        with self._reading() as con:
            return comparisons.runs(con, self.sees, limit)

    def comparison(self, run_id: str) -> dict[str, Any] | None:
        """Return one run with its trials; None if there is none to see.

        Raises:
            LogError: the log cannot be read.
        """
        with self._reading() as con:
            return comparisons.run(con, run_id, self.sees)

    def compared(self, run_id: str) -> list[tuple[int, float | None]]:
        """Return the number and the cost of every trial of a run that was sent, each time.

        Raises:
            LogError: the log cannot be read.
        """
        with self._reading() as con:
            return comparisons.billed(con, run_id)

    def ask(
        self,
        question: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        by: str | None = None,
        step: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Return the answer to a named question of analytics; see `router.decision_log.questions`.

        `since` is inclusive, `until` is not; a time without zone is UTC. Without `timeout_s` it takes what it takes.

        Raises:
            InvalidRequest: there is no such question, or it cannot be asked like this.
            QueryRefused: a query for it ran past `timeout_s`.
            LogError: the log cannot be read.
        """
        asked = Asked(sees=self.sees, since=_utc(since), until=_utc(until), by=by, step=step)
        with self._reading() as con:
            if timeout_s is not None:
                con.execute(f"SET max_execution_time = {max(1, int(timeout_s * 1000))}")
            try:
                return answered(con, question, asked)
            except duckdb.InterruptException as error:
                why = f"{question} ran longer than {timeout_s:g} s and was stopped; ask for a shorter range."
                raise QueryRefused(why) from error

    def spent(self, since: datetime) -> list[Spent]:
        """Return what far attempts cost since then; an unknown cost counts as what was expected, where that was known.

        Raises:
            LogError: the log cannot be read.
        """
        with self._reading() as con:
            return [Spent(*row) for row in con.execute(_SPENT, {"since": _utc(since)}).fetchall()]

    def rows(self, name: Name, values: Mapping[str, Value]) -> list[tuple[Any, ...]]:
        """Return the rows of one of our own questions (`router.decision_log.named`); users' come through `sql`.

        Raises:
            LogError: the log cannot be read.
        """
        with self._reading() as con:
            return con.execute(NAMED[name].replace("$own", own(self.sees, "d.tenant")), values).fetchall()

    @contextlib.contextmanager
    def window(self, window: windows.Window) -> Iterator[tuple[windows.Found, Iterator[str]]]:
        """Give what a window holds, and its decisions as JSON lines that are read as they are taken.

        Raises:
            LogError: the log cannot be read.
        """
        with self._reading() as con:
            held = windows.found(con, window, self.sees)
            yield held, windows.lines(con, window, held, self.sees)

    def sql(self, query: str, *, max_rows: int = 10_000, timeout_s: float = 10.0) -> sql.SqlResult:
        """Run a user's SELECT over the public views; a tenant's over its own rows, in a database that has no others.

        Raises:
            QueryRefused: see `router.decision_log.sql`, and `isolated`.
        """
        with contextlib.closing(self._cursor()) as con:
            if self.sees is not None:
                return isolated.run(con, self.sees, query, max_rows, timeout_s)
            return sql.run(con, query, max_rows, timeout_s)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        try:
            return self._new_cursor()
        except duckdb.Error as error:
            raise LogError("The decision log is closed.") from error

    @contextlib.contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor in a read-only transaction: all its queries see the log at one instant."""
        with contextlib.closing(self._cursor()) as con:
            try:
                con.execute("BEGIN TRANSACTION READ ONLY")
                yield con
            except duckdb.Error as error:
                raise LogError(f"The decision log cannot be read: {sql.without_paths(first_line(error))}") from error


def _newest(con: duckdb.DuckDBPyConnection, clause: str, values: list[object], limit: int) -> list[dict[str, Any]]:
    """Find whose rows these are first: of millions, two columns are read in a moment, all of them in seconds."""
    order = "ORDER BY ts DESC, decision_id DESC"
    query = f"SELECT ts, decision_id FROM decisions {clause} {order} LIMIT {limit}"  # noqa: S608 - our own conditions
    keys = con.execute(query, values).fetchall()
    if not keys:
        return []
    picked = "ts BETWEEN ? AND ? AND list_contains(?::UUID[], decision_id)"
    named = [keys[-1][0], keys[0][0], [str(decision_id) for _, decision_id in keys]]
    return sql.dicts(con, f"SELECT * FROM decisions WHERE {picked} {order}", named)  # noqa: S608


def _body(rows: list[dict[str, Any]], column: str) -> Any:
    text = rows[0][column] if rows else None
    return None if text is None else json.loads(text)


def _carbon_g(energy_j: float | None, g_per_kwh: float | None) -> float | None:
    """Grams of CO2 equivalents: joules / 3.6e6 x grams a kWh; None where either is not known."""
    return None if energy_j is None or g_per_kwh is None else energy_j / 3.6e6 * g_per_kwh


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment and moment.tzinfo else moment


def _make_cursor(row: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(f"{row['ts']} {row['decision_id']}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        ts, _, decision_id = text.partition(" ")
        return datetime.fromisoformat(ts).astimezone(UTC).replace(tzinfo=None), str(uuid.UUID(decision_id))
    except (ValueError, binascii.Error, OverflowError) as error:
        raise InvalidRequest("This cursor is not one the log gave; start without one.", param="cursor") from error
