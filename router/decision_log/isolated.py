"""SQL that a tenant brings: run in a database of its own, made for this query, that holds nothing but its rows.

What a query may name is checked here as everywhere; but were a check wrong, there is nobody else's row, table, view,
catalogue or file to be reached from there. The rows come as Arrow streams, which DuckDB reads and writes by itself. It
costs what the tenant has: columns that the query names nowhere are left out, rows are not.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from router.decision_log import sql
from router.decision_log.migrations import PUBLIC_VIEWS
from router.decision_log.shapes import apart, candidates_of
from router.decision_log.streams import streamed
from router.decision_log.tenancy import own
from router.errors import QueryRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = "512MB"
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "enable_external_access": False,
    "python_enable_replacements": False,
    "memory_limit": MEMORY,
}
_SHARED = ("price_books", "policies", "nodes")
"""Prices, policies and starts: what decisions refer to, the same for everybody, and about no request."""
_OWNED = ("compare_runs", "compare_trials")
"""What has a tenant of its own, and is about no single decision."""
_ALL_OF_IT = frozenset({"STAR", "POSITIONAL_REFERENCE", "PIVOT", "SHOW_REF"})
"""Nodes that mean columns they do not name."""


class Reads(NamedTuple):
    """What a query reads: views, and every word in it that could be a column; None where it may mean all of them."""

    views: set[str]
    words: set[str] | None


def run(con: duckdb.DuckDBPyConnection, sees: str, query: str, max_rows: int, timeout_s: float) -> sql.SqlResult:
    """Check a tenant's query and run it over its rows, as they are at one instant, within limits.

    Args:
        con: A cursor of the log, of its own; it reads and is given nothing of the query.
        sees: The tenant.
        query: One SELECT over the public views.
        max_rows: How many rows of the answer are wanted.
        timeout_s: How long it may take, collecting the rows included.

    Raises:
        QueryRefused: as `router.decision_log.sql` says, or the tenant's rows do not fit into MEMORY.
    """
    began = time.monotonic()
    with contextlib.closing(duckdb.connect(":memory:", config=_CONFIG)) as own_rows:
        own_rows.execute("SET TimeZone = 'UTC'")
        collect(con, own_rows, sees, _reads(sql.check(own_rows, query)), timeout_s)
        return sql.answered(own_rows, query, max_rows, max(0.001, timeout_s - (time.monotonic() - began)))


def collect(
    con: duckdb.DuckDBPyConnection, own_rows: duckdb.DuckDBPyConnection, sees: str, reads: Reads, timeout_s: float
) -> None:
    """Copy what a query reads of a tenant's rows into a database of its own.

    Raises:
        QueryRefused: it takes too long, or does not fit.
    """
    try:
        for one in (con, own_rows):
            one.execute(f"SET max_execution_time = {max(1, int(timeout_s * 1000))}")
        con.execute("BEGIN TRANSACTION READ ONLY")
        for view in sorted(reads.views):
            rows = f"SELECT {_columns(con, view, reads.words)} FROM ({_own(con, view, sees)})"  # noqa: S608
            with streamed(con, own_rows, rows) as incoming:
                own_rows.execute(f"CREATE TABLE {view} AS {incoming}")
    except duckdb.InterruptException as error:
        raise QueryRefused(f"Collecting the rows took longer than {timeout_s:g} s and was stopped.") from error
    except duckdb.OutOfMemoryException as error:
        why = f"the columns it names of all your rows take more than {MEMORY}; name fewer, or none by a star"
        raise QueryRefused(f"This query may not run: {why}.") from error
    except duckdb.Error as error:
        raise QueryRefused(sql.without_paths(str(error).partition("\n")[0])) from error


def _own(con: duckdb.DuckDBPyConnection, view: str, sees: str) -> str:
    """A query of the rows of a public view that a tenant may see. Settled decisions carry theirs inside."""
    if view in _SHARED:
        return f"SELECT * FROM main.{view}"  # noqa: S608 - one of ours
    mine = own(sees)
    if view in _OWNED:
        return f"SELECT * FROM main.{view} WHERE {mine}"  # noqa: S608 - one of ours
    if view == "decisions":
        return f"SELECT * FROM main.decisions WHERE {mine}"  # noqa: S608
    if view == "candidates":
        return candidates_of(mine)
    of_mine = f"decision_id IN (SELECT decision_id FROM nearfar_log.every_decision WHERE {mine})"  # noqa: S608
    if view == "attempts":
        settled = apart(con, f"(SELECT * FROM nearfar_log.settled WHERE {mine})")["attempt_rows"]  # noqa: S608
        return f"SELECT * FROM nearfar_log.attempt_rows WHERE {of_mine} UNION ALL BY NAME {settled}"  # noqa: S608
    return f"SELECT * FROM main.{view} WHERE {of_mine}"  # noqa: S608 - feedback, shadows


def _columns(con: duckdb.DuckDBPyConnection, view: str, words: set[str] | None) -> str:
    names = [name for name, *_ in con.execute(f"DESCRIBE main.{view}").fetchall()]
    return ", ".join(names if words is None else [name for name in names if name in words] or names[:1])


def _reads(tree: sql.Tree) -> Reads:
    """Too many words do no harm: a column more is copied. So a word counts wherever in the query it stands."""
    views: set[str] = set()
    words: set[str] = set()
    rows: set[str] = set(PUBLIC_VIEWS)  # names of whole rows, which are structs of all their columns
    named: set[str] = set()
    whole = False
    for node in _nodes(tree):
        words |= {value.lower() for value in _strings(node)}
        kind = str(node.get("type"))
        whole |= kind in _ALL_OF_IT or node.get("class") in _ALL_OF_IT or node.get("ref_type") == "NATURAL"
        if "sample" in node and node.get("alias"):
            rows.add(str(node["alias"]).lower())
        if kind == "BASE_TABLE":
            views.add(str(node["table_name"]).lower())
            whole |= bool(node.get("column_name_alias"))
        elif kind == "COLUMN_REF":
            named.add(str(node["column_names"][-1]).lower())
    return Reads(views & set(PUBLIC_VIEWS), None if whole or named & rows else words)


def _nodes(tree: sql.Tree) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()


def _strings(node: dict[str, Any]) -> Iterator[str]:
    for value in node.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, str))
