"""How long what is kept: values, and the SQL by which inputs whose time is over are deleted, and gone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import duckdb

DAY_US = 86_400_000_000
LEAST_NUMBERS = 100_000
MOST_BYTES = 268_435_456  # a second or two of writing, in which rows wait
_OWED = "erasure"
_OVER = """ts < $now::TIMESTAMP - to_microseconds(
    coalesce(map($tenants::VARCHAR[], $spans::BIGINT[])[tenant], $span::BIGINT))"""


class Retention(Struct, frozen=True, kw_only=True):
    """Days after which rows are deleted.

    Attributes:
        days: Decisions, with all that belongs to them; None keeps them.
        inputs_days: Stored inputs.
        inputs_by_tenant: The same of single tenants.
        until_shipped: Whether the log is shipped: then its rows are numbered, and none is deleted before.
    """

    days: float | None = None
    inputs_days: float = 30.0
    inputs_by_tenant: dict[str, float] = {}
    until_shipped: bool = False


def forget_inputs(con: duckdb.DuckDBPyConnection, retention: Retention, now: datetime) -> bool:
    """Delete the inputs whose time is over, and owe their erasure; returns whether there were any."""
    by_tenant = retention.inputs_by_tenant
    values = {
        "now": now,
        "tenants": list(by_tenant),
        "spans": [round(days * DAY_US) for days in by_tenant.values()],
        "span": round(retention.inputs_days * DAY_US),
    }
    if not con.execute(f"SELECT 1 FROM nearfar_log.inputs WHERE {_OVER} LIMIT 1", values).fetchall():  # noqa: S608
        return False
    with transaction(con):
        owe_erasure(con)
        con.execute(f"DELETE FROM nearfar_log.inputs WHERE {_OVER}", values)  # noqa: S608
    return True


def owe_erasure(con: duckdb.DuckDBPyConnection) -> None:
    """Remember in the log itself that inputs are deleted and not taken out of the file yet: a process may end first."""
    con.execute("DELETE FROM nearfar_log.meta WHERE key = $key", {"key": _OWED})
    con.execute("INSERT INTO nearfar_log.meta VALUES ($key, 'owed')", {"key": _OWED})


def erase_owed(con: duckdb.DuckDBPyConnection) -> None:
    """Take deleted inputs out of the file, where that is owed."""
    if con.execute("SELECT 1 FROM nearfar_log.meta WHERE key = ?", [_OWED]).fetchall():
        erase(con)
        con.execute("DELETE FROM nearfar_log.meta WHERE key = ?", [_OWED])


@contextlib.contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of it, or nothing."""
    con.execute("BEGIN")
    try:
        yield
    except BaseException:
        con.execute("ROLLBACK")
        raise
    con.execute("COMMIT")


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
