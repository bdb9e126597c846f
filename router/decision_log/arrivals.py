"""The number of every row among the rows of its table, in the order they came: what is shipped, and up to where.

A log that is shipped (see `router.shipping`) numbers its rows 1, 2, 3, ... a table, in the transaction that brings them
in, over all its starts. `nearfar_log.shipped` says up to which number they are out of the log in files. Rows of a log
that is not shipped have no number, nor has a decision that was taken back after it had been shipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

COLUMN = "arrival"
STREAMS = {
    "decisions": "decision_rows",
    "attempts": "attempt_rows",
    "outcomes": "outcome_rows",
    "feedback": "feedback",
    "shadows": "shadows",
    "compare_runs": "compare_runs",
    "compare_trials": "compare_trials",
    "price_books": "price_books",
    "catalogs": "catalogs",
    "policies": "policies",
    "nodes": "nodes",
}
"""What is shipped, by the name of its segments. Stored inputs are not: they are deleted on time, and tenants' own. What
was learnt for predictions is not either: it is about one machine, and only its newest state counts."""

SNAPSHOTS = {
    "price_books": ("price_book",),
    "catalogs": ("catalog", "ts"),
    "policies": ("policy_version",),
    "nodes": ("boot_id",),
}
"""Of these, what decisions refer to, and what makes one the same as another node's."""

_VIEWS = {
    "feedback": "",
    "shadows": "",
    "price_books": "",
    "policies": "",
    "nodes": "",
    "compare_runs": "QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY ts DESC) = 1",
    "compare_trials": "QUALIFY row_number() OVER (PARTITION BY run_id, number ORDER BY ts DESC) = 1",
}


def m0015_arrivals(con: duckdb.DuckDBPyConnection) -> None:
    """Number rows, and remember up to where they were shipped. The public views keep their columns."""
    for table in STREAMS.values():
        con.execute(f"ALTER TABLE nearfar_log.{table} ADD COLUMN {COLUMN} BIGINT")
    con.execute("CREATE TABLE nearfar_log.shipped (stream VARCHAR NOT NULL, upto BIGINT NOT NULL)")
    for name, newest in _VIEWS.items():
        shown = f"* EXCLUDE ({COLUMN})"
        if name == "compare_runs":
            shown = (
                f"* EXCLUDE ({COLUMN}, digest, started_us, ended_us), make_timestamp(started_us) AS started, "
                "make_timestamp(ended_us) AS ended"
            )
        con.execute(f"CREATE OR REPLACE VIEW main.{name} AS SELECT {shown} FROM nearfar_log.{name} {newest}")  # noqa: S608


def shipped_upto(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Up to which number each table's rows are shipped."""
    found = dict(con.execute("SELECT stream, upto FROM nearfar_log.shipped").fetchall())
    return {table: int(found.get(stream, 0)) for stream, table in STREAMS.items()}


def counted(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """The last number of each table. Snapshots from before the log was shipped get theirs: later rows name them.

    Settled decisions have left their tables, and were shipped before: so the larger of both figures is the last.
    """
    numbers = shipped_upto(con)
    for table in STREAMS.values():
        ((last,),) = con.execute(f"SELECT max({COLUMN}) FROM nearfar_log.{table}").fetchall()  # noqa: S608
        numbers[table] = max(numbers[table], int(last or 0))
    for table in SNAPSHOTS:
        missing = f"SELECT rowid AS place, row_number() OVER (ORDER BY ts) AS nth FROM nearfar_log.{table} WHERE {COLUMN} IS NULL"  # noqa: E501, S608
        ((count,),) = con.execute(
            f"UPDATE nearfar_log.{table} AS old SET {COLUMN} = nth + {numbers[table]} FROM ({missing}) "  # noqa: S608
            "WHERE old.rowid = place"
        ).fetchall()
        numbers[table] += int(count)
    return numbers


def out(upto: dict[str, int] | None, table: str, row: str = "") -> str:
    """The condition that a row may leave its table: it was shipped, or never has to be. `upto` None: nothing has."""
    if upto is None:
        return "true"
    column = f"{row}.{COLUMN}" if row else COLUMN
    return f"({column} IS NULL OR {column} <= {upto[table]})"
