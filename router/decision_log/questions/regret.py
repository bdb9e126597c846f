"""`regret`: how much better the best other candidate would have been, against what was predicted of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from router.decision_log.questions.base import GROUPS, Asked, Question, cells_in, grouped
from router.decision_log.sql import dicts

if TYPE_CHECKING:
    import duckdb

NOTE = (
    "Against predictions of the others: only the candidate that answered was observed, and the smallest of several "
    "predictions is more often too small than too large. Read it beside estimate_error."
)
_SUMS = {
    "decisions": "sum(judged)::BIGINT",
    "measured": "sum(measured)::BIGINT",
    "total_s": "sum(regret_ms) / 1000",
    "mean_s": "sum(regret_ms) / nullif(sum(judged), 0) / 1000",
    "faster_elsewhere": "sum(slower) / nullif(sum(judged), 0)",
    "total_usd": "sum(regret_usd)",
    "mean_usd": "sum(regret_usd) / nullif(sum(regret_usd_n), 0)",
    "unknown_usd": "(sum(judged) - sum(regret_usd_n))::BIGINT",
    "cheaper_elsewhere": "sum(dearer) / nullif(sum(regret_usd_n), 0)",
    "better_elsewhere": "sum(beaten) / nullif(sum(judged), 0)",
}
_QUANTILES = {
    "regret_ms_hist": {"p95_ms": 0.95},
    "regret_usd_hist": {"p95_usd": 0.95},
    "off_hist": {"estimate_error": 0.5},
}


def _answer(con: duckdb.DuckDBPyConnection, asked: Asked) -> dict[str, Any]:
    by = asked.by or "policy"
    asked = replace(asked, by=by)
    query = grouped(cells_in(asked, judged=True), {by: GROUPS[by]}, _SUMS, _QUANTILES)
    rows = f"SELECT * EXCLUDE (p95_ms), p95_ms / 1000 AS p95_s FROM ({query}) WHERE decisions > 0"  # noqa: S608
    return {"rows": dicts(con, rows), "note": NOTE}


REGRET = Question(
    name="regret",
    says="What the best other eligible candidate would have saved in hindsight, in seconds and in dollars.",
    by=("policy", *(name for name in GROUPS if name != "policy")),
    columns={
        "decisions": "Answered decisions whose slate is known; all of these are judged.",
        "measured": "Other candidates that ran as well (shadows, hedges), and so were measured and not predicted.",
        "total_s": "Sum of max(0, observed - the best other's latency), seconds; observed without the router's "
        "overhead.",
        "mean_s": "Mean of it per decision.",
        "p95_s": "95th percentile of it, within 2 %.",
        "faster_elsewhere": "Share of decisions where another candidate would have been faster.",
        "total_usd": "Sum of max(0, paid - the cheapest other's cost), where both are known.",
        "mean_usd": "Mean of it per decision where it is known.",
        "p95_usd": "95th percentile of it, within 2 %.",
        "unknown_usd": "Decisions left out of the three before: what was paid, or every other price, is unknown.",
        "cheaper_elsewhere": "Share of the known ones where another would have been cheaper.",
        "better_elsewhere": "Share of decisions where one other candidate would have been faster and cheaper.",
        "estimate_error": "Median of |predicted - observed| / observed of the same decisions: how far to believe the "
        "rest.",
    },
    answer=_answer,
)
