"""How long what is kept: values, and the SQL by which inputs whose time is over are deleted, and gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

DAY_US = 86_400_000_000
LEAST_NUMBERS = 100_000
MOST_BYTES = 268_435_456  # a second or two of writing, in which rows wait
_OVER = """ts < $now::TIMESTAMP - to_microseconds(
    coalesce(map($tenants::VARCHAR[], $spans::BIGINT[])[tenant], $span::BIGINT))"""


class Retention(Struct, frozen=True, kw_only=True):
    """Days after which rows are deleted.

    Attributes:
        days: Decisions, with all that belongs to them; None keeps them.
        inputs_days: Stored inputs.
        inputs_by_tenant: The same of single tenants.
    """

    days: float | None = None
    inputs_days: float = 30.0
    inputs_by_tenant: dict[str, float] = {}


def forget_inputs(con: duckdb.DuckDBPyConnection, retention: Retention, now: datetime) -> bool:
    """Delete the inputs whose time is over; returns whether there were any. `erase` must follow."""
    by_tenant = retention.inputs_by_tenant
    values = {
        "now": now,
        "tenants": list(by_tenant),
        "spans": [round(days * DAY_US) for days in by_tenant.values()],
        "span": round(retention.inputs_days * DAY_US),
    }
    if not con.execute(f"SELECT 1 FROM nearfar_log.inputs WHERE {_OVER} LIMIT 1", values).fetchall():  # noqa: S608
        return False
    con.execute(f"DELETE FROM nearfar_log.inputs WHERE {_OVER}", values)  # noqa: S608
    return True


def erase(con: duckdb.DuckDBPyConnection) -> None:
    """Take what was deleted out of the file as well.

    A checkpoint only gives its blocks free, and they keep their bytes until something else is written there: so they
    are written over, by a table of noise that is as large as they are, up to MOST_BYTES.
    """
    con.execute("CHECKPOINT")
    [(free_bytes,)] = con.execute("SELECT block_size * free_blocks FROM pragma_database_size()").fetchall()
    if not free_bytes:
        return
    numbers = min(free_bytes, MOST_BYTES) * 9 // 8 // 8 + LEAST_NUMBERS  # of 8 bytes, and an eighth more
    con.execute("CREATE OR REPLACE TABLE nearfar_log.noise AS SELECT hash(range) AS number FROM range(?)", [numbers])
    con.execute("CHECKPOINT")
    con.execute("DROP TABLE nearfar_log.noise")
    con.execute("CHECKPOINT")
