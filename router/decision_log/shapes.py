"""One decision in one row: what was decided, every attempt and the end. New rows are joined, settled ones lie so.

`nearfar_log.hot` joins the tables that rows arrive in; `nearfar_log.settled` keeps the same columns, by time. The
public views show both as one, whichever columns later migrations add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.decision_log.arrivals import COLUMN

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

_DECISIONS = (
    "decision_id ts o_backend=backend o_provider=provider o_device=device model o_model_served=model_served task "
    "policy "
    "o_status=status o_latency_ms=latency_ms o_first_token_ms=first_token_ms o_overhead_ms=overhead_ms "
    "o_cost_usd=cost_usd o_cost_source=cost_source o_attempts=attempts o_prompt_tokens=prompt_tokens "
    "o_completion_tokens=completion_tokens reason surface stream o_error_class=error_class o_error=error mode chosen "
    "policy_version price_book request_id input_tokens input_bytes output_tokens_est batch_items deadline_ms "
    "max_cost_usd max_latency_ms min_quality private payload_hash decide_us o_ts=ended node_id boot_id seq "
    "schema_version intent intent_probability tenant session route explore_rate draw explored propensity"
)
"""The first columns of the view `decisions`, as they have always been; columns added since follow in their order."""
_PROSE = frozenset({"reason", "o_error"})
"""Sentences with figures in them: a dictionary of whole values finds nothing to share, zstd finds the words."""
_NESTED = frozenset({"candidates", "attempts"})


def reshape(con: duckdb.DuckDBPyConnection) -> None:
    """Make what depends on the tables' columns anew: `hot`, `settled` and the public views. Changes no row."""
    columns = {table: _columns(con, table) for table in ("decision_rows", "attempt_rows", "outcome_rows")}
    con.execute(f"CREATE OR REPLACE VIEW nearfar_log.hot AS {_joined(columns)}")
    kinds = ", ".join(
        f"{name} {kind}{' USING COMPRESSION zstd' if name in _PROSE else ''}"
        for name, kind in _columns(con, "hot").items()
    )
    con.execute(f"CREATE TABLE IF NOT EXISTS nearfar_log.settled ({kinds})")
    _widen(con)
    _public(con)


def joined(con: duckdb.DuckDBPyConnection, picked: str) -> str:
    """A query of the whole decisions among the new rows whose row in `decision_rows` meets a condition."""
    return _joined({table: _columns(con, table) for table in ("decision_rows", "attempt_rows", "outcome_rows")}, picked)


def apart(con: duckdb.DuckDBPyConnection, whole: str) -> dict[str, str]:
    """The tables that new rows arrive in, each with the query that gives its rows back from whole decisions."""
    ends = [name for name in _columns(con, "outcome_rows") if name != "decision_id"]
    tries = [name for name in _columns(con, "attempt_rows") if name != "decision_id"]
    return {
        "decision_rows": f"SELECT {', '.join(_columns(con, 'decision_rows'))} FROM {whole}",  # noqa: S608
        "outcome_rows": f"SELECT decision_id, {', '.join(f'o_{name} AS {name}' for name in ends)} FROM {whole} WHERE o_ts IS NOT NULL",  # noqa: E501, S608
        "attempt_rows": f"SELECT decision_id, {', '.join(f'a.{name}' for name in tries)} FROM (SELECT decision_id, unnest(attempts) AS a FROM {whole})",  # noqa: E501, S608
    }


def _joined(columns: dict[str, dict[str, str]], picked: str = "true") -> str:
    """Nearly every decision has one attempt, which needs no grouping: that is most of the time this takes."""
    ends = _prefixed(columns["outcome_rows"])
    fields = ", ".join(f"{name} := {name}" for name in columns["attempt_rows"] if name != "decision_id")
    ids = f"SELECT decision_id FROM nearfar_log.decision_rows WHERE {picked}"  # noqa: S608
    among = "true" if picked == "true" else f"decision_id IN ({ids})"
    return f"""
        WITH tries AS MATERIALIZED (SELECT * FROM nearfar_log.attempt_rows WHERE {among}),
        again AS (SELECT DISTINCT decision_id FROM tries WHERE attempt > 1),
        tried AS (
            SELECT decision_id, [struct_pack({fields})] AS attempts FROM tries ANTI JOIN again USING (decision_id)
            UNION ALL SELECT decision_id, list_sort(list(struct_pack({fields}))) -- by their first field, attempt
            FROM tries SEMI JOIN again USING (decision_id) GROUP BY decision_id)
        SELECT d.* EXCLUDE ({COLUMN}), {ends}, a.attempts
        FROM (SELECT * FROM nearfar_log.decision_rows WHERE {picked}) d
        LEFT JOIN nearfar_log.outcome_rows o USING (decision_id) LEFT JOIN tried a USING (decision_id)"""  # noqa: S608


def _widen(con: duckdb.DuckDBPyConnection) -> None:
    """Give `settled` the columns, and the fields of its candidates and attempts, that it lacks."""
    there = _columns(con, "settled")
    for name, kind in _columns(con, "hot").items():
        if name not in there:
            con.execute(f"ALTER TABLE nearfar_log.settled ADD COLUMN {name} {kind}")
        elif name in {"candidates", "attempts"}:
            fields = _fields(con, "settled", name)
            for field, field_kind in _fields(con, "hot", name).items():
                if field not in fields:
                    con.execute(f"ALTER TABLE nearfar_log.settled ADD COLUMN {name}.element.{field} {field_kind}")


def told(con: duckdb.DuckDBPyConnection) -> str:
    """The columns of a whole decision under the names that the view `decisions` gives them, as a SELECT list."""
    pairs = [(column, name or column) for column, _, name in (word.partition("=") for word in _DECISIONS.split())]
    shown = {column for column, _ in pairs}
    later = [c for c in _columns(con, "hot") if c not in shown | _NESTED]
    pairs += [(column, column.removeprefix("o_")) for column in later]
    return ", ".join(
        f"coalesce({column}, 'open') AS {name}" if name == "status" else f"{column} AS {name}" for column, name in pairs
    )


def candidates_of(picked: str = "true") -> str:
    """A query of the slates of the decisions that meet a condition, a row per candidate."""
    parts = " UNION ALL ".join(
        f"SELECT decision_id, ts, chosen, unnest(candidates) AS c FROM nearfar_log.{table} WHERE {picked}"  # noqa: S608
        for table in ("decision_rows", "settled")
    )
    return f"SELECT decision_id, ts, c.*, c.candidate_id IS NOT DISTINCT FROM chosen AS chosen FROM ({parts})"  # noqa: S608


def _public(con: duckdb.DuckDBPyConnection) -> None:
    selected = told(con)
    con.execute(f"""
        CREATE OR REPLACE VIEW main.decisions AS
        SELECT {selected} FROM (SELECT d.*, {_prefixed(_columns(con, "outcome_rows"))} FROM nearfar_log.decision_rows d
            LEFT JOIN nearfar_log.outcome_rows o USING (decision_id))
        UNION ALL SELECT {selected} FROM nearfar_log.settled""")  # noqa: S608
    con.execute(f"CREATE OR REPLACE VIEW main.candidates AS {candidates_of()}")
    _every(con)
    con.execute("CREATE OR REPLACE VIEW main.attempts AS SELECT * FROM nearfar_log.every_attempt")


def _every(con: duckdb.DuckDBPyConnection) -> None:
    """The tables that rows arrive in, with what was settled from them: for our own questions of single rows."""
    for table, rows in apart(con, "nearfar_log.settled").items():
        name = f"nearfar_log.every_{table.removesuffix('_rows')}"
        new = f"SELECT * EXCLUDE ({COLUMN}) FROM nearfar_log.{table}"  # noqa: S608
        con.execute(f"CREATE OR REPLACE VIEW {name} AS {new} UNION ALL BY NAME {rows}")


def _prefixed(of_ends: Iterable[str]) -> str:
    return ", ".join(f"o.{name} AS o_{name}" for name in of_ends if name != "decision_id")


def _columns(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """What rows are made of, without their numbers.

    Not by `duckdb_columns()`, which looks into every view there is: that took most of a log's opening.
    """
    described = con.execute(f"DESCRIBE nearfar_log.{table}").fetchall()
    return {name: kind for name, kind, *_ in described if name != COLUMN}


def _fields(con: duckdb.DuckDBPyConnection, table: str, column: str) -> dict[str, str]:
    described = con.execute(f"DESCRIBE SELECT unnest({column}, max_depth := 2) FROM nearfar_log.{table}").fetchall()  # noqa: S608
    return {name: kind for name, kind, *_ in described}
