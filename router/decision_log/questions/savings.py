"""`savings`: what was saved (or lost) against simple ways to decide, with a sign and an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.decision_log.facts import BASELINES, DIMENSIONS
from router.decision_log.questions.base import GROUPS, Asked, Question, savings_in
from router.decision_log.sql import dicts

if TYPE_CHECKING:
    import duckdb

NOTE = (
    "The baseline's cost and latency are what was observed where it would have chosen the candidate that answered, and "
    "what was predicted elsewhere: the intervals know nothing of errors that all predictions share."
)
MIN_CLUSTERS = 20
"""Below, 1.96 standard errors of clusters are no 95 %: no interval is given."""
_BY = tuple(name for name in GROUPS if name in {*DIMENSIONS, "day"})


def _sums(unit: str) -> str:
    """The sum, and what half of its interval is made of: the variance of a sum of clusters around their common mean.

    With S_c the sum and n_c the size of cluster c, and m the mean of all: G / (G - 1) * sum of (S_c - n_c m)^2. That
    is the linearised, cluster-robust variance (Liang and Zeger, Biometrika 73, 1986) of an intercept, times n^2.
    """
    mean = f"(sum({unit}) / sum({unit}_n))"
    squares = f"(sum({unit}_ss) - 2 * {mean} * sum({unit}_sn) + {mean} * {mean} * sum({unit}_nn))"
    clusters = f"sum({unit}_clusters)"
    return (
        f"sum({unit}_n)::BIGINT AS {unit}_n, {clusters}::BIGINT AS {unit}_clusters, "
        f"CASE WHEN sum({unit}_n) > 0 THEN sum({unit}) END AS {unit}, "
        f"CASE WHEN {clusters} >= {MIN_CLUSTERS} "
        f"THEN 1.96 * sqrt(greatest({squares}, 0) * {clusters} / ({clusters} - 1)) END AS {unit}_half"
    )


_QUERY = """
    SELECT {key}baseline, judged AS decisions, usd_n AS priced, (judged - usd_n)::BIGINT AS left_out,
        usd AS saved_usd, usd - usd_half AS saved_usd_low, usd + usd_half AS saved_usd_high,
        ms / 1000 AS saved_s, (ms - ms_half) / 1000 AS saved_s_low, (ms + ms_half) / 1000 AS saved_s_high,
        ms_n AS timed, usd_clusters AS clusters
    FROM (SELECT {group}baseline, sum(judged)::BIGINT AS judged, {usd}, {ms} FROM ({savings}) GROUP BY ALL)
    WHERE judged > 0
    ORDER BY {key}list_position({baselines}, baseline)"""


def _answer(con: duckdb.DuckDBPyConnection, asked: Asked) -> dict[str, Any]:
    by = asked.by or "all"
    query = _QUERY.format(
        key="" if by == "all" else f'"{by}", ',
        group="" if by == "all" else f'{GROUPS[by]} AS "{by}", ',
        usd=_sums("usd"),
        ms=_sums("ms"),
        savings=savings_in(asked),
        baselines=list(BASELINES),
    )
    return {"rows": dicts(con, query), "note": NOTE}


SAVINGS = Question(
    name="savings",
    says="What deciding saved against always near, always far, always the cheapest, always the fastest and a coin, "
    "all of "
    "them among the eligible candidates of each decision.",
    by=("all", *_BY),
    columns={
        "baseline": "`all-near` and `all-far` take the cheapest of that side, `cheapest` and `fastest` what was "
        "predicted "
        "to be so, `random` each with the same chance.",
        "decisions": "Answered decisions with a slate.",
        "priced": "Of these, those that count: the baseline had a candidate, and both costs are known.",
        "left_out": "The others: no candidate on that side, or an unknown price.",
        "saved_usd": "Sum of (the baseline's cost - what was paid), dollars; below 0, we paid more.",
        "saved_usd_low": "Lower end of its 95 % interval: normal, over clusters (a session, or else a tenant, within "
        f"an hour; else single decisions). Null with fewer than {MIN_CLUSTERS}.",
        "saved_usd_high": "Upper end. What comes after its session's hour was added up counts as a cluster of its own, "
        "until it is settled, minutes later.",
        "saved_s": "Sum of (the baseline's latency - what was observed), seconds; below 0, we took longer.",
        "saved_s_low": "Lower end of its 95 % interval.",
        "saved_s_high": "Upper end.",
        "timed": "Decisions that count for the seconds: the baseline had a candidate.",
        "clusters": "How many parts, taken as independent of each other, the interval of the dollars is made from: "
        "what one session, or else one tenant, asked within an hour, else a single decision.",
    },
    answer=_answer,
)
