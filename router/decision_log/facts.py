"""What analytics knows of one decision: how it ended, what was predicted, what else could have been. SQL, no state.

A fact is a row per decision. `observed_ms` is the time its attempts took: latency less the router's own overhead.
In hindsight the candidate that answered is worth what was observed, and every other eligible one what was predicted
of it when the choice was made, or what was measured where it ran as well (a shadow, a hedge that came second); whoever
was stopped takes as long as it had at least. Candidates that were tried and failed are no alternative, nor is a near
answer that a cascade was not sure enough of. `router.explanation` says the same of single decisions.

The simple ways to decide that savings are counted against have no cache, and no page that does its own work: what was
answered so saved what each of them would have paid for the request.

What a page answered is neither near nor far (`near` is NULL): this machine did nothing for it. What it says of itself
is no prediction of ours, so none is judged by it.
"""

from __future__ import annotations

from router.decision_log.histograms import bucket

BASELINES = ("all-near", "all-far", "cheapest", "fastest", "random")

DIMENSIONS = ("model", "task", "policy", "tenant", "route", "intent")

_ENDED = """
    SELECT *, coalesce(o_status, 'open') AS status, o_latency_ms - o_overhead_ms AS observed_ms,
        list_filter(attempts, lambda a: a.won)[1] AS winner,
        list_filter(attempts, lambda a: a.role = 'primary' AND a.status = 'ok' AND NOT a.censored AND a.total_ms > 0
            AND a.candidate_id = chosen AND a.backend NOT IN ('cache', 'browser'))[1].total_ms AS first_ms,
        list_filter(candidates, lambda c: c.candidate_id = chosen)[1] AS guess,
        list_sum(list_transform(attempts, lambda a: a.occupancy_ms)) AS occupancy_ms,
        list_sum(list_transform(attempts, lambda a: CASE WHEN a.occupancy_ms IS NOT NULL
            THEN coalesce(a.cost_occupancy_usd, a.cost_usd) END)) AS occupancy_usd,
        date_trunc('{slot}', ts) AS hour
    FROM whole"""

_CHOICES = """
    SELECT decision_id, c.candidate_id, coalesce(c.near, false) OR c.backend = 'local' AS near, c.pred_ms,
        c.pred_cost_usd,
        c.backend IN ('cache', 'browser') AS beside, c.candidate_id = winner.candidate_id AS answered,
        list_filter(attempts, lambda a: a.candidate_id = c.candidate_id AND NOT a.won AND NOT a.censored) AS others,
        others[1] IS NOT NULL AND others[-1].status = 'ok' AS measured,
        list_bool_or(list_transform(others, lambda a: a.status = 'error' AND a.role <> 'shadow')) IS TRUE AS failed,
        list_bool_or(list_transform(others, lambda a: a.status = 'ok' AND a.role <> 'shadow')) IS TRUE
            AND list_bool_or(list_transform(attempts, lambda a: a.role = 'escalation')) IS TRUE AS doubted,
        list_max(list_transform(list_filter(attempts, lambda a: a.candidate_id = c.candidate_id AND NOT a.won
            AND a.censored), lambda a: a.total_ms)) AS had_ms,
        CASE WHEN answered THEN observed_ms WHEN measured THEN others[-1].total_ms
            WHEN had_ms > c.pred_ms THEN had_ms ELSE c.pred_ms END AS ms,
        CASE WHEN answered THEN o_cost_usd WHEN measured THEN others[-1].cost_usd ELSE c.pred_cost_usd END AS usd,
        observed_ms, o_cost_usd AS paid_usd
    FROM (SELECT *, unnest(candidates) AS c FROM ended WHERE status = 'ok' AND winner IS NOT NULL)
    WHERE c.eligible"""

_HINDSIGHT = """
    SELECT decision_id,
        count(*) FILTER (other) AS alternatives, min(ms) FILTER (other) AS best_ms, min(usd) FILTER (other) AS best_usd,
        bool_or(other AND ms < observed_ms AND usd < paid_usd) AS is_beaten,
        count(*) FILTER (other AND measured) AS measured,
        first({'usd': usd, 'ms': ms} ORDER BY pred_cost_usd NULLS LAST, pred_ms, candidate_id)
            FILTER (near AND NOT beside) AS all_near,
        first({'usd': usd, 'ms': ms} ORDER BY pred_cost_usd NULLS LAST, pred_ms, candidate_id)
            FILTER (NOT near AND NOT beside) AS all_far,
        first({'usd': usd, 'ms': ms} ORDER BY pred_cost_usd, pred_ms, candidate_id)
            FILTER (pred_cost_usd IS NOT NULL AND NOT beside) AS cheapest,
        first({'usd': usd, 'ms': ms} ORDER BY pred_ms, candidate_id) FILTER (NOT beside) AS fastest,
        {'usd': CASE WHEN bool_and(usd IS NOT NULL OR beside) THEN avg(usd) FILTER (NOT beside) END,
            'ms': avg(ms) FILTER (NOT beside)} AS random
    FROM (SELECT *, NOT answered AND NOT failed AND NOT doubted AS other FROM choices)
    GROUP BY decision_id"""

_JOINED = """
    SELECT e.hour, e.ts, e.decision_id, e.model, e.task, e.policy, e.tenant, e.route, e.intent, e.status,
        o_backend AS backend, o_provider AS provider, winner.candidate_id AS candidate, e.chosen,
        CASE WHEN o_backend <> 'browser' THEN o_backend = 'local'
            OR coalesce(list_filter(candidates, lambda c: c.candidate_id = winner.candidate_id)[1].near, false) END AS
                near,
        o_latency_ms AS latency_ms, o_first_token_ms AS first_token_ms, o_cost_usd AS cost_usd,
        o_prompt_tokens AS prompt_tokens, o_completion_tokens AS completion_tokens, occupancy_ms, occupancy_usd,
        CASE WHEN guess.pred_ms > 0 THEN first_ms END AS first_ms, guess.pred_ms, guess.p90_ms, guess.p95_ms,
            guess.p99_ms,
        observed_ms, h.decision_id IS NOT NULL AS judged,
        CASE WHEN alternatives = 0 THEN observed_ms * 0 WHEN observed_ms - best_ms IS NOT NULL
            THEN greatest(observed_ms - best_ms, 0) END AS regret_ms, -- greatest(NULL, 0) would be 0
        CASE WHEN alternatives = 0 THEN o_cost_usd * 0 WHEN o_cost_usd - best_usd IS NOT NULL
            THEN greatest(o_cost_usd - best_usd, 0) END AS regret_usd,
        coalesce(is_beaten, false) AS is_beaten, measured,
        all_near, all_far, cheapest, fastest, random,
        coalesce(session, tenant) AS cluster
    FROM ended e LEFT JOIN hindsight h USING (decision_id)"""

MEASURED = {
    "latency": "CASE WHEN status = 'ok' THEN latency_ms END",
    "first_token": "CASE WHEN status = 'ok' THEN first_token_ms END",
    "off": "abs(pred_ms - first_ms) / first_ms",
    "ratio": "first_ms / pred_ms",
    "regret_ms": "regret_ms",
    "regret_usd": "regret_usd",
}
"""What is counted in histograms: name -> SQL. The fact has its bucket, as `<name>_bucket`."""


_UNJUDGED = """
    SELECT NULL::UUID AS decision_id, NULL::BIGINT AS alternatives, NULL::DOUBLE AS best_ms, NULL::DOUBLE AS best_usd,
        NULL::BOOLEAN AS is_beaten, NULL::BIGINT AS measured, all_near, all_far, cheapest, fastest, random
    FROM (SELECT {'usd': NULL::DOUBLE, 'ms': NULL::DOUBLE} AS all_near, all_near AS all_far, all_near AS cheapest,
        all_near AS fastest, all_near AS random) WHERE false"""


def facts(source: str, slot: str = "hour", *, judged: bool = True) -> str:
    """A query of the facts of whole decisions, which `source` selects.

    Args:
        source: A query of whole decisions.
        slot: `hour` is their time cut to this.
        judged: Whether hindsight is wanted: it costs as much as all the rest. Without, nothing is `judged`.
    """
    buckets = ", ".join(f"{bucket(f'({value})')} AS {name}_bucket" for name, value in MEASURED.items())
    return f"""
        WITH whole AS ({source}), ended AS {"MATERIALIZED" if judged else "NOT MATERIALIZED"}
            ({_ENDED.replace("{slot}", slot)}), choices AS ({_CHOICES}),
            hindsight AS ({_HINDSIGHT if judged else _UNJUDGED})
        SELECT *, {buckets} FROM ({_JOINED})"""  # noqa: S608 - our own names
