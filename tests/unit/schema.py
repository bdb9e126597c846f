"""A new log's tables and views by one script: what the steps of `migrations` make, without taking each of them again.

Hundreds of tests open a log of their own; a step is understood, planned and undone by the next one, which
takes longer than most of what is tested.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from router.decision_log import migrations

if TYPE_CHECKING:
    import duckdb

migrate = migrations.migrate


@cache
def script() -> str:
    """What DuckDB says of a log that the steps have made."""
    con = migrations._connected(None, None)
    migrate(con)
    tables = con.execute(
        "SELECT sql FROM duckdb_tables() WHERE schema_name = 'nearfar_log' ORDER BY table_oid"
    ).fetchall()
    views = con.execute("SELECT sql FROM duckdb_views() WHERE NOT internal ORDER BY view_oid").fetchall()
    con.execute("UPDATE nearfar_log.meta SET value = '-' WHERE key = 'node_id'")
    meta = con.execute("SELECT key, value FROM nearfar_log.meta").fetchall()
    steps = con.execute("SELECT name FROM nearfar_log.migrations").fetchall()
    con.close()
    kept = [f"('{key}', {'uuid()::VARCHAR' if key == 'node_id' else repr(value)})" for key, value in meta]
    return "\n".join([
        "BEGIN; CREATE SCHEMA nearfar_log;",
        *(sql for (sql,) in (*tables, *views)),
        f"INSERT INTO nearfar_log.meta VALUES {', '.join(kept)};",
        f"INSERT INTO nearfar_log.migrations VALUES {', '.join(f'({name!r}, now()::TIMESTAMP)' for (name,) in steps)};",
        "COMMIT",
    ])  # fmt: skip


def copied(con: duckdb.DuckDBPyConnection) -> None:
    """In place of `migrate`: a log that has nothing yet is made by the script, in memory or a file."""
    if con.execute("SELECT 1 FROM duckdb_schemas() WHERE schema_name = 'nearfar_log'").fetchall():
        migrate(con)
    else:
        con.execute(script())
