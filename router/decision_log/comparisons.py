"""How comparisons are read from the log: SQL, no state. Whoever sees one tenant's rows sees its runs alone."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from router.decision_log import sql
from router.decision_log.tenancy import own

if TYPE_CHECKING:
    import duckdb

_RUNS = """
    SELECT r.*, (SELECT count(*) FROM compare_trials t WHERE t.run_id = r.run_id) AS finished
    FROM compare_runs r WHERE {mine}"""
_DIGEST = "SELECT digest FROM nearfar_log.compare_runs WHERE run_id = ?::UUID ORDER BY ts DESC LIMIT 1"

_BILLED = """
    SELECT split_part(request_id, '/', 2)::INTEGER AS number, cost_usd FROM decisions
    WHERE mode = 'pinned' AND starts_with(request_id, ? || '/') AND ts >= (
        SELECT make_timestamp(min(started_us)) FROM nearfar_log.compare_runs WHERE run_id = ?::UUID)"""

_OPINIONS = """
    SELECT DISTINCT ON (f.decision_id, f.source) t.load, t.repeat, t.input, f.source, t.candidate, f.value
    FROM compare_trials t JOIN feedback f USING (decision_id)
    WHERE t.run_id = ?::UUID AND NOT t.warm_up AND f.metric = 'score'
    ORDER BY f.decision_id, f.source, f.ts DESC"""  # whoever votes again replaces the vote before


def billed(con: duckdb.DuckDBPyConnection, run_id: str) -> list[tuple[int, float | None]]:
    """Number and cost of every trial of a run that was sent, each time; None is an unknown cost."""
    return con.execute(_BILLED, [run_id, run_id]).fetchall()


def runs(con: duckdb.DuckDBPyConnection, sees: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest runs, each with how many of its trials have `finished`; without the trials."""
    return sql.dicts(con, f"{_RUNS.format(mine=own(sees, 'r.tenant'))} ORDER BY r.started DESC LIMIT {int(limit)}")


def run(con: duckdb.DuckDBPyConnection, run_id: str, sees: str | None) -> dict[str, Any] | None:
    """One run; None where there is none to see.

    With its `trials` in order, the `digest` of its suite, and the `opinions` of its answers: load, repeat, input,
    source, candidate and score of each.
    """
    try:
        key = [str(uuid.UUID(run_id))]
    except ValueError:
        return None
    found = sql.dicts(con, f"{_RUNS.format(mine=own(sees, 'r.tenant'))} AND r.run_id = ?::UUID", key)
    if not found:
        return None
    [(digest,)] = con.execute(_DIGEST, key).fetchall()
    trials = "SELECT * EXCLUDE (run_id, ts, tenant) FROM compare_trials WHERE run_id = ?::UUID ORDER BY number"
    opinions = con.execute(_OPINIONS, key).fetchall()
    return found[0] | {"digest": digest, "trials": sql.dicts(con, trials, key), "opinions": opinions}
