"""`budgets`: what was spent far, day by day, and since the first day of the month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.decision_log.questions.base import Asked, Question, cells_in
from router.decision_log.sql import dicts

if TYPE_CHECKING:
    import duckdb

_QUERY = """
    SELECT day, requests, CASE WHEN unknown_cost = 0 OR known > 0 THEN usd END AS spent_usd, unknown_cost,
        sum(spent_usd) OVER (PARTITION BY date_trunc('month', day) ORDER BY day) AS month_usd
    FROM (SELECT hour::DATE AS day, coalesce(sum(n) FILTER (NOT near), 0)::BIGINT AS requests,
            coalesce(sum(cost_usd) FILTER (NOT near), 0) AS usd,
            coalesce(sum(cost_known) FILTER (NOT near), 0) AS known,
            coalesce(sum(cost_unknown) FILTER (NOT near), 0)::BIGINT AS unknown_cost
        FROM ({cells}) GROUP BY day HAVING sum(n) > 0)
    ORDER BY day"""


def _answer(con: duckdb.DuckDBPyConnection, asked: Asked) -> dict[str, Any]:
    return {"rows": dicts(con, _QUERY.format(cells=cells_in(asked)))}


BUDGETS = Question(
    name="budgets",
    says="What far requests cost, by UTC day and cumulated within the month. The limits, and what budgets count "
    "attempt by "
    "attempt, are in `/v1/system`.",
    by=("day",),
    columns={
        "requests": "Requests that were answered far. Those that nobody answered are on neither side.",
        "spent_usd": "Their known costs; null where there are some and nobody knows the cost of any.",
        "unknown_cost": "Those whose cost nobody knows.",
        "month_usd": "spent_usd added up since the first of the month, as far as the range has it and it is known.",
    },
    answer=_answer,
)
