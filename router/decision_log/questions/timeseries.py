"""`timeseries`: what was asked, spent and waited for, step by step: near, far and in pages apart."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from router.decision_log.questions.base import GROUPS, SIDE, Asked, Question, cells_in, grouped, in_range
from router.decision_log.sql import dicts
from router.errors import InvalidRequest

if TYPE_CHECKING:
    import duckdb

MOST_MINUTES = timedelta(days=2)
_SUMS = {
    "requests": "sum(n)::BIGINT",
    "ok": "sum(ok)::BIGINT",
    "errors": "sum(failed)::BIGINT",
    "cost_usd": "sum(cost_usd)",
    "unknown_cost": "sum(cost_unknown)::BIGINT",
}
_QUANTILES = {
    "latency_hist": {"p50_ms": 0.5, "p95_ms": 0.95},
    "first_token_hist": {"first_token_p50_ms": 0.5},
}


def _answer(con: duckdb.DuckDBPyConnection, asked: Asked) -> dict[str, Any]:
    step = step_for(con, asked)
    asked = replace(asked, step=step)
    by = asked.by or "side"
    keys = {"at": f"date_trunc('{step}', hour)", by: SIDE if by == "side" else GROUPS[by]}
    return {"step": step, "rows": dicts(con, grouped(cells_in(asked), keys, _SUMS, _QUANTILES))}


def step_for(con: duckdb.DuckDBPyConnection, asked: Asked) -> str:
    """The step asked for, or else one that makes tens to hundreds of rows of what the log has in the range.

    Raises:
        InvalidRequest: minutes of more than MOST_MINUTES, which are added up from single decisions each time.
    """
    if asked.step not in {None, "auto", "minute"}:
        return str(asked.step)
    since, until = asked.since, asked.until
    if since is None or until is None:
        ((first, last),) = con.execute(_ENDS.format(where=in_range(asked))).fetchall()
        since, until = since or first, until or last
    length = None if since is None or until is None else until - since
    if asked.step != "minute":
        return "hour" if length is None else _step_of(length)
    if length is not None and length > MOST_MINUTES:
        raise InvalidRequest(
            f"step='minute': the range is longer than {MOST_MINUTES.days} days; ask for a shorter one, or by the hour.",
            param="step",
        )
    return "minute"


def _step_of(length: timedelta) -> str:
    hours = length.total_seconds() / 3600
    if hours <= 3:
        return "minute"
    return "hour" if hours <= 24 * 8 else "day"


_ENDS = """
    SELECT min(ts), max(ts) FROM (
        SELECT ts FROM nearfar_log.decision_rows WHERE {where} UNION ALL SELECT ts FROM nearfar_log.settled WHERE
            {where})"""

TIMESERIES = Question(
    name="timeseries",
    says="Requests, errors, cost and latency over time: near, far and in browsers apart.",
    by=("side", *(name for name in GROUPS if name != "day")),
    columns={
        "at": "When the step begins, UTC; steps without a request have no row.",
        "requests": "Decisions of that step.",
        "ok": "Of these, answered.",
        "errors": "Of these, failed: every attempt was in vain. Refused and cancelled ones are neither.",
        "cost_usd": "Sum of the known costs; null when none is known.",
        "unknown_cost": "Ended requests whose cost nobody knows.",
        "p50_ms": "Median latency of answered requests, within 2 %.",
        "p95_ms": "95th percentile of it, within 2 %.",
        "first_token_p50_ms": "Median time to the first token, of streamed answers.",
    },
    answer=_answer,
    steps=True,
)
