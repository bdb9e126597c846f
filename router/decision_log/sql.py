"""SQL that users bring: what of it may run over the log, and its result as JSON values.

One SELECT over the public views. It must not reach settings, files, the catalogue or the tables behind the views.
"""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
from msgspec import Struct

from router.decision_log.migrations import PUBLIC_VIEWS
from router.errors import QueryRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Tree = dict[str, Any] | list[Any] | str | int | float | bool | None

TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})
_MAX_SQL_CHARS = 50_000
_MAX_CELL_CHARS = 1_000_000
_FROM = frozenset({"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "SHOW_REF", "PIVOT"})

# Functions that read settings, the catalogue, files or the state of the process, or change it.
_SECRETIVE = re.compile(
    r"(duckdb_|pragma_|read_|pg_|has_|current_|icu_|__internal|parquet_|sniff_|getvariable|getenv|which_secret|"
    r"(json_)?(de)?serialize_sql|json_serialize|json_deserialize|json_execute|in_search_path|nextval|currval|setseed|"
    r"version$|user$|session_user|txid_current|stats$|write_log|sleep|query|glob|.*_description$|format_pg_type|"
    r"map_to_pg_oid|add_parquet_key|parse_duckdb|error$|create_sort_key|vector_type|.*variable)"
)
_HARMLESS = frozenset({
    "current_date", "current_time", "current_timestamp", "current_localtime", "current_localtimestamp", "pg_typeof",
    "pg_size_pretty",
})  # fmt: skip
# One call of these builds as much as its argument says: 12 GB for `list_resize([1], 2e8)`. Neither DuckDB's memory
# limit nor its time limit sees it (2.0.0, measured).
_BOUNDLESS = frozenset({
    "repeat", "lpad", "rpad", "bar", "list_resize", "array_resize", "range", "generate_series", "format", "printf",
})  # fmt: skip
# Keywords that are functions without parentheses.
_BARE = frozenset({"current_catalog", "current_schema", "current_role", "current_user", "session_user", "user"})


class SqlResult(Struct, frozen=True, kw_only=True):
    """What a query answered. `truncated` when there were more rows than asked for."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    truncated: bool


def check(con: duckdb.DuckDBPyConnection, query: str) -> Tree:
    """Let a query pass that is one SELECT over the public views. Returns it as DuckDB understands it.

    Raises:
        QueryRefused: it is something else; names what, and what there is to query.
    """
    if len(query) > _MAX_SQL_CHARS:
        raise QueryRefused(f"The query has {len(query)} characters; the limit is {_MAX_SQL_CHARS}.")
    try:
        statements = con.extract_statements(query)
        if len(statements) != 1:
            raise _refused(f"{len(statements)} statements were sent, exactly one is allowed")
        if statements[0].type != duckdb.StatementType.SELECT:
            kind = statements[0].type.name
            raise _refused(f"a statement of type {kind}{' (PIVOT)' if kind == 'MULTI' else ''} is not a plain SELECT")
        (found,) = con.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
        tree = json.loads(found[0])
        if tree["error"]:
            raise _refused(f"DuckDB says: {tree['error_message']}")
        statement: Tree = tree["statements"]
        _walk(statement, frozenset())
    except duckdb.Error as error:
        raise QueryRefused(_message(error)) from error
    except RecursionError as error:
        raise _refused("it is nested too deeply") from error
    return statement


def run(con: duckdb.DuckDBPyConnection, query: str, max_rows: int, timeout_s: float) -> SqlResult:
    """Check and run a query on a cursor of its own, read-only and within limits.

    Raises:
        QueryRefused: it may not run, DuckDB found it wrong, or it ran past `timeout_s`.
    """
    check(con, query)
    return answered(con, query, max_rows, timeout_s)


def answered(con: duckdb.DuckDBPyConnection, query: str, max_rows: int, timeout_s: float) -> SqlResult:
    """Run a query that was checked. Raises as `run` does."""
    try:
        con.execute(f"SET max_execution_time = {max(1, int(timeout_s * 1000))}")
        con.execute("BEGIN TRANSACTION READ ONLY")
        con.execute(query)
        columns, types = _header(con)
        if any(kind == "TIMESTAMP WITH TIME ZONE" for kind in types):
            # fetching this type needs pytz; our session is in UTC, so a plain timestamp says the same
            con.execute(f"SELECT {', '.join(_plain(n, kind) for n, kind in enumerate(types, 1))} FROM ({query}\n)")  # noqa: S608
        found = con.fetchmany(max_rows + 1)
    except duckdb.InterruptException as error:
        raise QueryRefused(f"The query ran longer than {timeout_s:g} s and was stopped.") from error
    except duckdb.Error as error:
        raise QueryRefused(_message(error)) from error
    rows = [[json_value(cell) for cell in row] for row in found[:max_rows]]
    return SqlResult(columns=columns, types=types, rows=rows, truncated=len(found) > max_rows)


def json_value(value: object) -> Any:
    """Return a value of DuckDB as JSON can say it. Timestamps are UTC, NaN and infinity are null, bytes are base64."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() | Decimal():
            return float(value) if math.isfinite(value) else None
        case list() | tuple():
            return [json_value(item) for item in value]
        case dict():
            return {str(json_value(key)): json_value(item) for key, item in value.items()}
        case _:
            return _text(value)


def dicts(
    con: duckdb.DuckDBPyConnection, query: str, values: Sequence[object] | dict[str, object] = ()
) -> list[dict[str, Any]]:
    """Return every row of a query of our own, as JSON can say it."""
    rows = con.execute(query, values).fetchall()  # at once: an unread result owns the cursor
    names = [column[0] for column in con.description or []]
    return [{name: json_value(cell) for name, cell in zip(names, row, strict=True)} for row in rows]


def _text(value: object) -> Any:
    match value:
        case datetime():
            return f"{value.isoformat(timespec='microseconds')}Z"  # one width: they sort as text
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return str(value)


def _header(con: duckdb.DuckDBPyConnection) -> tuple[list[str], list[str]]:
    described = con.description or []
    return [str(column[0]) for column in described], [str(column[1]) for column in described]


def _plain(position: int, kind: str) -> str:
    return f"#{position}::TIMESTAMP" if kind == "TIMESTAMP WITH TIME ZONE" else f"#{position}"


def _walk(tree: Tree, names: frozenset[str]) -> None:
    """Check everything below a node; `names` are the common table expressions it can see."""
    if isinstance(tree, list):
        for item in tree:
            _walk(item, names)
    elif isinstance(tree, dict):
        _check_node(tree, names)
        if tree.get("type") == "RECURSIVE_CTE_NODE":
            names |= {str(tree["cte_name"]).lower()}
        for entry in (tree.get("cte_map") or {}).get("map", []):
            # in order: a body sees only what comes before it. Itself, when not recursive, is a name of the catalogue.
            _walk(entry["value"], names)
            names |= {str(entry["key"]).lower()}
        for child in _children(tree):
            _walk(child, names)


def _children(tree: dict[str, Any]) -> Iterator[Tree]:
    """Leave out the expressions already walked, and a table function's own node, which `_check_node` has seen."""
    for key, child in tree.items():
        if key == "cte_map":
            continue
        if key == "function" and tree.get("type") == "TABLE_FUNCTION":
            yield child["children"]
        else:
            yield child


def _check_node(node: dict[str, Any], names: frozenset[str]) -> None:
    kind = node.get("type")
    if "sample" in node and kind not in _FROM and not str(kind).endswith("_NODE"):
        raise _refused(f"{kind} cannot be read from")
    if kind == "BASE_TABLE":
        _check_table(node, names)
    elif kind == "TABLE_FUNCTION":
        name = str(node["function"].get("function_name", "")).lower()
        if name not in TABLE_FUNCTIONS:
            raise _refused(f"the table function {name}() is not allowed (only {', '.join(sorted(TABLE_FUNCTIONS))})")
    elif kind == "SHOW_REF" and node.get("query") is None:
        raise _refused("SHOW reads the catalogue")
    elif node.get("class") in {"FUNCTION", "WINDOW"}:
        _check_function(str(node.get("function_name", "")).lower())
    elif kind == "COLUMN_REF" and len(node["column_names"]) == 1 and node["column_names"][0].lower() in _BARE:
        raise _refused(f"{node['column_names'][0]} is not about the log")


def _check_table(node: dict[str, Any], names: frozenset[str]) -> None:
    parts = [str(node.get(key) or "").lower() for key in ("catalog_name", "schema_name", "table_name")]
    catalog, schema, name = parts
    is_local = not catalog and not schema and name in names
    is_view = not catalog and schema in {"", "main"} and name in PUBLIC_VIEWS
    if not (is_local or is_view):
        raise _refused(f"{'.'.join(part for part in parts if part)} cannot be read")


def _check_function(name: str) -> None:
    if name in _BOUNDLESS:
        raise _refused(f"the function {name}() can fill the memory")
    if _SECRETIVE.match(name) and name not in _HARMLESS:
        raise _refused(f"the function {name}() is not about the log")


def _refused(why: str) -> QueryRefused:
    return QueryRefused(f"This query may not run: {why}. Write one SELECT over {', '.join(PUBLIC_VIEWS)}.")


def _message(error: duckdb.Error) -> str:
    """Return what DuckDB says, without any path of this machine, nor its advice to change settings."""
    text = str(error).partition("\n\nPossible solutions")[0].partition(", due to the following Python")[0].strip()
    return without_paths(text)


def without_paths(text: str) -> str:
    """The text with no path of this machine in it."""
    return re.sub(r"(?<![\w.*])/(?:[\w.@+-]+/)+[\w.@+-]*", "<path>", text)
