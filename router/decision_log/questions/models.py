"""`models`: every model and the candidates that served it, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.decision_log.questions.base import GROUPS, Asked, Question, cells_in, grouped
from router.decision_log.sql import dicts

if TYPE_CHECKING:
    import duckdb

_SUMS = {
    # by counts: a cell that was taken out again still has a side
    "near": "CASE coalesce(sum(n) FILTER (near), 0) / nullif(sum(n) FILTER (near IS NOT NULL), 0) "
    "WHEN 1 THEN true WHEN 0 THEN false END",
    "requests": "sum(n)::BIGINT",
    "ok": "sum(ok)::BIGINT",
    "errors": "sum(failed)::BIGINT",
    "error_rate": "sum(failed) / nullif(sum(ok) + sum(failed), 0)",
    "prompt_tokens": "sum(prompt_tokens)::BIGINT",
    "completion_tokens": "sum(completion_tokens)::BIGINT",
    "tokens_per_s": "sum(spoken_tokens) / nullif(sum(speaking_ms), 0) * 1000",
    "cost_usd": "sum(cost_usd)",
    "unknown_cost": "sum(cost_unknown)::BIGINT",
    "cost_per_request_usd": "sum(cost_usd) / nullif(sum(cost_known), 0)",
}
_QUANTILES = {
    "latency_hist": {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99},
    "first_token_hist": {"first_token_p50_ms": 0.5},
}


def _answer(con: duckdb.DuckDBPyConnection, asked: Asked) -> dict[str, Any]:
    by = asked.by or "candidate"
    keys = {"model": "model"} | ({by: GROUPS[by]} if by != "model" else {})
    query = grouped(cells_in(asked), keys, _SUMS, _QUANTILES)
    shared = f"SELECT *, requests / sum(requests) OVER () AS share FROM ({query})"  # noqa: S608
    return {"rows": dicts(con, shared)}


MODELS = Question(
    name="models",
    says="Per model, and who served it: share of the requests, latency, tokens, cost and errors.",
    by=("candidate", "backend", "model", "task", "day"),
    columns={
        "model": "Which model was asked for.",
        "near": "Whether the answers came from this machine; null where nobody answered, both did, or pages.",
        "requests": "Decisions.",
        "share": "Part of all decisions in the range.",
        "ok": "Of the decisions, answered.",
        "errors": "Failed: every attempt was in vain; those have no candidate.",
        "error_rate": "Failed among answered and failed.",
        "prompt_tokens": "Tokens that went in, where known.",
        "completion_tokens": "Tokens that were generated, where known.",
        "tokens_per_s": "Generated tokens per second of the requests that generated some, waiting included.",
        "cost_usd": "Sum of the known costs; null when none is known.",
        "unknown_cost": "Ended requests whose cost nobody knows.",
        "cost_per_request_usd": "Mean of the known costs.",
        "p50_ms": "Median latency of answered requests, within 2 %, like the next three.",
        "p90_ms": "90th percentile.",
        "p95_ms": "95th percentile.",
        "p99_ms": "99th percentile.",
        "first_token_p50_ms": "Median time to the first token, of streamed answers.",
    },
    answer=_answer,
)
