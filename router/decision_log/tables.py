"""Columns of somebody's Parquet file as plain values. Knows no log: DuckDB is only the reader at hand."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import duckdb

from router.decision_log.migrations import first_line
from router.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def parquet_rows(file: Path, columns: Sequence[str], limit: int) -> list[dict[str, Any]]:
    """The first rows of a file, as these columns.

    Raises:
        InvalidRequest: it cannot be read, or has no such column; names both.
    """
    config: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    with contextlib.closing(duckdb.connect(":memory:", config=config)) as con:
        try:
            con.execute("SET allowed_paths = ?", [[str(file)]])
            con.execute("SET enable_external_access = false")
            found = con.execute("SELECT * FROM read_parquet(?) LIMIT ?", [str(file), limit])
            names = [name for name, *_ in found.description or []]
            rows = found.fetchall()
        except duckdb.Error as error:
            why = first_line(error).replace(str(file), file.name)
            raise InvalidRequest(f"{file.name}: cannot be read as Parquet: {why}", param="data.path") from error
    lacking = [column for column in columns if column not in names]
    if lacking:
        raise InvalidRequest(f"{file.name}: has no column {lacking[0]!r}, only {', '.join(names)}.", param="data")
    places = [names.index(column) for column in columns]
    return [dict(zip(columns, (row[place] for place in places), strict=True)) for row in rows]
