"""Rows from one DuckDB to another, as Arrow streams, which DuckDB reads and writes by itself. Knows no table."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

INCOMING = "incoming"
"""What a query's rows are called at their target."""


@contextlib.contextmanager
def streamed(source: duckdb.DuckDBPyConnection, target: duckdb.DuckDBPyConnection, query: str) -> Iterator[str]:
    """Give a SELECT of a query's rows for the target. Arrow has no UUID and no JSON: they are made anew there."""
    kinds = source.execute(f"DESCRIBE {query}").fetchall()
    target.register(INCOMING, _Stream(source, query))
    try:
        columns = ", ".join(f"{name}::{kind} AS {name}" for name, kind, *_ in kinds)
        yield f"SELECT {columns} FROM {INCOMING}"  # noqa: S608 - our own names
    finally:
        target.unregister(INCOMING)


class _Stream:
    """A query as Arrow hands rows over: begun anew each time somebody asks, which DuckDB does more than once."""

    def __init__(self, con: duckdb.DuckDBPyConnection, query: str) -> None:
        self._con, self._query = con, query

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self._con.sql(self._query).__arrow_c_stream__(requested_schema)
