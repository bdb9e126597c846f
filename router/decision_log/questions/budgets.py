"""`budgets`: what was spent far, day by day, and since the first day of the month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.decision_log.questions.base import Asked, Question, cells_in
from router.decision_log.sql import dicts

if TYPE_CHECKING:
    import duckdb

_QUERY = """
    SELECT day, spent_usd, unknown_cost, sum(spent_usd) OVER (PARTITION BY date_trunc('month', day) ORDER BY day) AS month_usd
    FROM (SELECT hour::DATE AS day, coalesce(sum(cost_usd) FILTER (near IS DISTINCT FROM true), 0) AS spent_usd,
            coalesce(sum(cost_unknown) FILTER (near IS DISTINCT FROM true), 0)::BIGINT AS unknown_cost
        FROM ({cells}) GROUP BY day)
    ORDER BY day"""


def _answer(con: duckdb.DuckDBPyConnection, asked: Asked) -> dict[str, Any]:
    return {"rows": dicts(con, _QUERY.format(cells=cells_in(asked)))}


BUDGETS = Question(
    name="budgets",
    says="What far requests cost, by UTC day and cumulated within the month. The limits, and what budgets count attempt by "
    "attempt, are in `/v1/system`.",
    by=("day",),
    columns={
        "spent_usd": "Known costs of requests that were not answered near, those in vain included.",
        "unknown_cost": "Requests not answered near whose cost nobody knows.",
        "month_usd": "spent_usd added up since the first of the month, as far as the range has it.",
    },
    answer=_answer,
)
