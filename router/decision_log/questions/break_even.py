"""`break-even`: how busy this machine must be before near is cheaper than far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.decision_log.questions.base import Asked, Question, cells_in, in_range
from router.decision_log.sql import dicts
from router.decision_log.tenancy import own

if TYPE_CHECKING:
    import duckdb

FORMULA = (
    "break_even_per_hour = rate_usd_per_hour / far_usd_per_request; "
    "break_even_utilisation = break_even_per_hour * device_s_per_request / 3600. "
    "Above it near wins, as the whole hour of the machine is paid however little of it is used; "
    "a utilisation above 1 cannot be reached, and far is cheaper however busy this machine is."
)
# Time before the log's first request, or that is still to come, is no idle time.
_WINDOW = """
    WITH times AS (
        SELECT ts, tenant FROM nearfar_log.decision_rows UNION ALL SELECT ts, tenant FROM nearfar_log.settled)
    SELECT greatest({since}, (SELECT min(ts) FROM times WHERE {own})) AS since,
        coalesce({until}, (SELECT max(ts) FROM times WHERE {where})) AS until"""
_QUERY = """
    WITH per_model AS (
        SELECT model, sum(n) AS requests, sum(occupancy_n) AS near_requests,
            sum(occupancy_usd) / nullif(sum(charged_ms), 0) * 3.6e6 AS rate,
            sum(answering_ms) / nullif(sum(occupancy_n), 0) / 1000 AS device_s,
            sum(far_usd) / nullif(sum(far_n), 0) AS far_usd, sum(far_n) AS far_n, sum(occupancy_ms) / 1000 AS busy_s
        FROM ({cells}) GROUP BY model HAVING sum(n) > 0)
    SELECT model, requests::BIGINT AS requests, near_requests::BIGINT AS near_requests, rate AS rate_usd_per_hour,
        device_s AS device_s_per_request, far_usd AS far_usd_per_request, far_n::BIGINT AS far_priced,
        rate / nullif(far_usd, 0) AS break_even_per_hour, rate / nullif(far_usd, 0) * device_s / 3600 AS
            break_even_utilisation,
        requests / nullif($window_s, 0) * 3600 AS requests_per_hour, busy_s / nullif($window_s, 0) AS utilisation,
        requests / nullif($window_s, 0) * 3600 * device_s / 3600 AS utilisation_all_near
    FROM per_model WHERE device_s IS NOT NULL OR far_usd IS NOT NULL ORDER BY model NULLS LAST"""


def _answer(con: duckdb.DuckDBPyConnection, asked: Asked) -> dict[str, Any]:
    limits = {name: f"TIMESTAMP '{m}'" if (m := getattr(asked, name)) else "NULL" for name in ("since", "until")}
    if asked.until:
        limits["until"] = f"least({limits['until']}, now()::TIMESTAMP)"
    ((since, until),) = con.execute(_WINDOW.format(where=in_range(asked), own=own(asked.sees), **limits)).fetchall()
    window_s = None if since is None or until is None else max(0.0, (until - since).total_seconds())
    rows = dicts(con, _QUERY.format(cells=cells_in(asked, judged=True)), {"window_s": window_s})
    return {"rows": rows, "window_s": window_s, "formula": FORMULA}


BREAK_EVEN = Question(
    name="break-even",
    says="For each model: requests per hour, and utilisation of this machine, above which near is cheaper than far.",
    by=("model",),
    columns={
        "requests": "Decisions in the window, which begins with the log's first request and ends by now.",
        "near_requests": "Of these, answered by a device of this machine whose time is known.",
        "rate_usd_per_hour": "What an hour of the device costs, as it was charged; null when nothing ran near.",
        "device_s_per_request": "Mean device time of a near answer, seconds.",
        "far_usd_per_request": "Mean cost of the cheapest far candidate for the same requests: paid where it answered, "
        "predicted elsewhere.",
        "far_priced": "Requests whose far price is known.",
        "break_even_per_hour": "Requests per hour above which near is cheaper.",
        "break_even_utilisation": "The same as part of the device's time; above 1 near is never cheaper.",
        "requests_per_hour": "What was asked in the window.",
        "utilisation": "Device time that was used in the window, as part of it.",
        "utilisation_all_near": "What it would be if every request were answered near; above 1 one device is not "
        "enough.",
    },
    answer=_answer,
)
