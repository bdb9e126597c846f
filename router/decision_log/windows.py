"""A window of the log, one JSON line per decision with all that became of it: what replay reads.

DuckDB puts the lines together and msgspec reads them: a row of nested structs as Python dicts costs ten times as much.
New decisions and settled ones (`shapes`) are read as one.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - a window may go to another process, which looks at its types
from typing import TYPE_CHECKING, NamedTuple

from router.decision_log.tenancy import own

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

AT_ONCE = 500
_MATCHES = """mode = 'policy' AND ($since IS NULL OR ts >= $since) AND ($until IS NULL OR ts < $until)
    AND ($task IS NULL OR task = $task) AND ($model IS NULL OR model = $model) AND $own"""
_COLUMNS = """
    decision_id, ts, seq, deadline_ms, max_cost_usd, max_latency_ms, min_quality, private, policy, policy_version,
    chosen, propensity, tenant, session, candidates, attempts, o_status, o_latency_ms, o_overhead_ms, o_cost_usd"""
_TIMES = f"""
    SELECT ts FROM nearfar_log.decision_rows WHERE {_MATCHES}
    UNION ALL SELECT ts FROM nearfar_log.settled WHERE {_MATCHES}"""  # noqa: S608 - from above, as all below
_FOUND = f"SELECT count(*), min(ts) FROM ({_TIMES})"  # noqa: S608
_NEWEST = f"SELECT count(*), min(ts) FROM (FROM ({_TIMES}) ORDER BY ts DESC LIMIT $max_rows)"  # noqa: S608
_LINES = """
    WITH d AS (
        SELECT $columns FROM nearfar_log.hot WHERE $matches AND ts >= $begin
        UNION ALL SELECT $columns FROM nearfar_log.settled WHERE $matches AND ts >= $begin),
    f AS (
        SELECT decision_id, sum(value * weight) / sum(weight) AS score
        FROM (SELECT DISTINCT ON (decision_id, source) * FROM nearfar_log.feedback WHERE metric = 'score'
            ORDER BY decision_id, source, ts DESC)  -- whoever votes again replaces the vote before
        WHERE weight > 0 GROUP BY decision_id),
    s AS (
        SELECT decision_id, list({candidate_id: candidate_id, agreement: agreement}) AS shadows
        FROM nearfar_log.shadows WHERE ts >= $begin - INTERVAL 1 HOUR GROUP BY decision_id)
    SELECT to_json({
        at_ms: epoch_us(d.ts) / 1000, deadline_ms: deadline_ms, max_cost_usd: max_cost_usd,
        max_latency_ms: max_latency_ms, min_quality: min_quality, private: private, policy: policy,
        version: policy_version, chosen: chosen, propensity: propensity,
        tenant: tenant, session: session, status: o_status, latency_ms: o_latency_ms, overhead_ms: o_overhead_ms,
        cost_usd: o_cost_usd, score: f.score, shadows: coalesce(shadows, []),
        slate: list_transform(list_filter(candidates, lambda c: c.pred_ms IS NOT NULL), lambda c: {
            candidate_id: c.candidate_id, backend: c.backend, provider: c.provider, device: c.device,
            near: coalesce(c.near, c.backend = 'local'), eligible: c.eligible, code: c.code, warm: c.warm,
            load_ms: c.load_ms, queue_ms: c.queue_ms, pred_ms: c.pred_ms, p90_ms: c.p90_ms,
            p95_ms: c.p95_ms, p99_ms: c.p99_ms, cost_usd: c.pred_cost_usd, quality: c.pred_quality,
            propensity: c.propensity}),
        attempts: list_transform(coalesce(attempts, []), lambda a: {
            candidate_id: a.candidate_id, role: a.role, status: a.status,
            begun_ms: epoch_us(a.ts) / 1000, total_ms: a.total_ms, queue_ms: a.queue_ms, load_ms: a.load_ms,
            service_ms: a.service_ms, batch_size: a.batch_size, cost_usd: a.cost_usd})})::VARCHAR
    FROM d LEFT JOIN f USING (decision_id) LEFT JOIN s USING (decision_id)
    ORDER BY d.ts, d.seq LIMIT $max_rows""".replace("$matches", _MATCHES).replace("$columns", _COLUMNS)


class Window(NamedTuple):
    """Which decisions: `since` inclusive, `until` not, both UTC without zone; at most `max_rows`, the newest."""

    since: datetime | None = None
    until: datetime | None = None
    task: str | None = None
    model: str | None = None
    max_rows: int = 100_000


class Found(NamedTuple):
    """How many decisions a window holds, how many of them are read, and when the first of these was made."""

    held: int
    read: int
    first: datetime | None


def found(con: duckdb.DuckDBPyConnection, window: Window, sees: str | None) -> Found:
    """What a window holds of what may be seen. Decisions that no policy was asked about (`mode` = refused) are not."""
    values = window._asdict()
    max_rows = values.pop("max_rows")
    [(held, first)] = con.execute(_FOUND.replace("$own", own(sees)), values).fetchall()
    if held <= max_rows:
        return Found(held, held, first)
    [(read, first)] = con.execute(_NEWEST.replace("$own", own(sees)), {**values, "max_rows": max_rows}).fetchall()
    return Found(held, read, first)


def lines(con: duckdb.DuckDBPyConnection, window: Window, what: Found, sees: str | None) -> Iterator[str]:
    """One JSON line per decision, oldest first; the whole is never in memory at once."""
    if not what.read:
        return
    con.execute(_LINES.replace("$own", own(sees)), {**window._asdict(), "begin": what.first})
    while rows := con.fetchmany(AT_ONCE):
        for (line,) in rows:
            yield line
