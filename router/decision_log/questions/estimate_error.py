"""`estimate-error`: what was predicted against what was observed, and whether the quantiles held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from router.decision_log.questions.base import GROUPS, Asked, Question, cells_in, grouped, in_range
from router.decision_log.questions.timeseries import step_for
from router.decision_log.sql import dicts

if TYPE_CHECKING:
    import duckdb

SAMPLE = 500
ERROR_SUMS = {
    "n": "sum(seen)::BIGINT",
    "mean_log_ratio": "sum(log_ratio) / nullif(sum(seen), 0)",
    "within_p50": "sum(in_p50) / nullif(sum(seen), 0)",
    **{f"within_p{q}": f"sum(in_p{q}) / nullif(sum(n_p{q}), 0)" for q in (90, 95, 99)},
}
ERROR_QUANTILES = {"off_hist": {"median_error": 0.5, "p90_error": 0.9}, "ratio_hist": {"median_ratio": 0.5}}
ERROR_COLUMNS = {
    "n": "First attempts of the chosen candidate that succeeded: what was predicted can be compared with what was.",
    "median_error": "Median of |predicted - observed| / observed, within 2 %.",
    "p90_error": "90th percentile of it.",
    "median_ratio": "Median of observed / predicted: above 1, it takes longer than predicted.",
    "bias": "median_ratio - 1: how much longer (or, below 0, shorter) than predicted the middle one takes.",
    "mean_log_ratio": "Mean of ln(observed / predicted): 0 without bias, whichever way the outliers lie.",
    "within_p50": "Share of observations at or below the predicted median; 0.5 when it is calibrated.",
    "within_p90": "The same of the predicted 90th percentile, where one was predicted; 0.9 when it is calibrated.",
    "within_p95": "Of the 95th.",
    "within_p99": "Of the 99th.",
}
_NEWEST = """
    SELECT ts FROM nearfar_log.{table} WHERE {where} ORDER BY ts DESC LIMIT {limit}"""
_SAMPLE = """
    SELECT ts AS at, chosen AS candidate, guess.pred_ms AS predicted_ms, guess.p95_ms AS predicted_p95_ms,
        first.total_ms AS observed_ms
    FROM (SELECT ts, chosen, list_filter(candidates, lambda c: c.candidate_id = chosen)[1] AS guess,
            list_filter(attempts, lambda a: a.role = 'primary' AND a.status = 'ok' AND NOT a.censored
                AND a.candidate_id = chosen)[1] AS first
        FROM ({whole}))
    WHERE first IS NOT NULL ORDER BY ts DESC LIMIT {limit}"""


def _answer(con: duckdb.DuckDBPyConnection, asked: Asked) -> dict[str, Any]:
    by = asked.by or "candidate"
    keys = {by: "chosen" if by == "candidate" else GROUPS[by]}
    step = None
    if asked.step is not None:
        step = step_for(con, asked)
        asked = replace(asked, by=by, step=step)
        keys = {"at": f"date_trunc('{step}', hour)", **keys}
    query = grouped(cells_in(asked), keys, ERROR_SUMS, ERROR_QUANTILES)
    rows = dicts(con, f"SELECT *, median_ratio - 1 AS bias FROM ({query}) WHERE n > 0")  # noqa: S608
    return {"rows": rows, "sample": _sample(con, asked)} | ({"step": step} if step else {})


def _sample(con: duckdb.DuckDBPyConnection, asked: Asked) -> list[dict[str, Any]]:
    """The newest observations of the range: bounded, and found by the end of the tables without reading the rest."""
    where = in_range(asked)
    newest = " UNION ALL ".join(
        f"({_NEWEST.format(table=table, where=where, limit=2 * SAMPLE)})" for table in ("decision_rows", "settled")
    )
    ((since,),) = con.execute(f"SELECT min(ts) FROM ({newest} ORDER BY ts DESC LIMIT {2 * SAMPLE})").fetchall()  # noqa: S608
    if since is None:
        return []
    where = in_range(replace(asked, since=since))
    whole = " UNION ALL BY NAME ".join(
        f"SELECT ts, chosen, candidates, attempts FROM nearfar_log.{table} WHERE {where}"  # noqa: S608
        for table in ("hot", "settled")
    )
    return dicts(con, _SAMPLE.format(whole=whole, limit=SAMPLE))


ESTIMATE_ERROR = Question(
    name="estimate-error",
    says="Predicted against observed latency of the candidate that was chosen, and how often the predicted quantiles "
    f"held; `sample` has the newest pairs, {SAMPLE} at most.",
    by=("candidate", *(name for name in GROUPS if name != "candidate")),
    columns={"at": "When the step begins, UTC; only when asked by step.", **ERROR_COLUMNS},
    answer=_answer,
    steps=True,
)
