"""`summary`: what was asked, answered and spent; what `nearfar report` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.decision_log.questions.base import GROUPS, Asked, Question, cells_in, grouped
from router.decision_log.sql import dicts

if TYPE_CHECKING:
    import duckdb

_SUMS = {
    "requests": "sum(n)::BIGINT",
    **{name: f"sum({name})::BIGINT" for name in ("ok", "failed", "refused", "cancelled", "open")},
    "cost_usd": "sum(cost_usd)",
    "unknown_cost": "sum(cost_unknown)::BIGINT",
    "near_share": "CASE WHEN sum(ok) > 0 THEN coalesce(sum(ok) FILTER (near), 0) / sum(ok) END",
    "far_share": "CASE WHEN sum(ok) > 0 THEN coalesce(sum(ok) FILTER (NOT near), 0) / sum(ok) END",
    "browser_share": "CASE WHEN sum(ok) > 0 THEN sum(in_pages) / sum(ok) END",
}
_QUANTILES = {"latency_hist": {"p50_ms": 0.5, "p95_ms": 0.95}, "off_hist": {"estimate_error": 0.5}}


def _answer(con: duckdb.DuckDBPyConnection, asked: Asked) -> dict[str, Any]:
    by = asked.by or "backend"
    return {"rows": dicts(con, grouped(cells_in(asked), {by: GROUPS[by]}, _SUMS, _QUANTILES))}


SUMMARY = Question(
    name="summary",
    says="Requests, cost, latency, shares of near, far and browser, and estimate error.",
    by=tuple(GROUPS),
    columns={
        "requests": "Decisions.",
        "ok": "Of these, answered.",
        "failed": "Every attempt was in vain.",
        "refused": "Turned away before anybody was asked.",
        "cancelled": "Given up by whoever asked.",
        "open": "Without an end: running, or lost with their process.",
        "cost_usd": "Sum of the known costs; null when none is known.",
        "unknown_cost": "Ended requests whose cost nobody knows.",
        "near_share": "Part of the answered requests that this machine served.",
        "far_share": "Part of them that others served.",
        "browser_share": "Part of them that their senders' own pages served, as these report.",
        "p50_ms": "Median latency of answered requests, within 2 %.",
        "p95_ms": "95th percentile of it, within 2 %.",
        "estimate_error": "Median of |predicted - observed| / observed, of first attempts of the chosen candidate that "
        "succeeded; within 2 %.",
    },
    answer=_answer,
)
