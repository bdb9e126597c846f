"""Whether every row that was shipped is there once: gaps and doubles by the rows' own numbers, node by node."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import duckdb
from msgspec import Struct

from router.decision_log.arrivals import COLUMN
from router.decision_log.migrations import first_line
from router.decision_log.tenancy import literal
from router.errors import LogError
from router.shipping.names import segments_of, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.shipping.places import Place

_CONFIG: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


class Checked(Struct, frozen=True, kw_only=True):
    """The rows of one table from one node. Numbers before the first are of days that are deleted by now."""

    table: str
    node: str
    segments: int
    rows: int
    first: int
    last: int
    missing: int  # numbers from first to last that no row has
    doubled: int  # rows whose number another one has


def checked(place: Place) -> list[Checked]:
    """Count every table's rows, by node.

    Raises:
        Away: the place cannot be read.
        LogError: a segment cannot be read.
    """
    by_place: dict[tuple[str, str], list[str]] = {}
    for segment in visible(segments_of(place.names())):
        by_place.setdefault((segment.table, segment.node), []).append(place.url(segment.name))
    with contextlib.closing(duckdb.connect(":memory:", config=_CONFIG)) as con:
        place.allow(con)
        return [_checked(con, table, node, urls) for (table, node), urls in by_place.items()]


def _checked(con: duckdb.DuckDBPyConnection, table: str, node: str, urls: Sequence[str]) -> Checked:
    files = ", ".join(map(literal, urls))
    query = f"""
        SELECT count(*), min({COLUMN}), max({COLUMN}), count(DISTINCT {COLUMN})
        FROM read_parquet([{files}], hive_partitioning = false)"""  # noqa: S608 - our own names
    try:
        ((rows, first, last, numbers),) = con.execute(query).fetchall()
    except duckdb.Error as error:
        raise LogError(f"Segments of {table} cannot be read: {first_line(error)}") from error
    return Checked(
        table=table,
        node=node,
        segments=len(urls),
        rows=rows,
        first=first,
        last=last,
        missing=last - first + 1 - numbers,
        doubled=rows - numbers,
    )
