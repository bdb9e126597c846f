"""What analytics knows of one decision: how it ended, what was predicted, what else could have been. SQL, no state.

A fact is a row per decision. `observed_ms` is the time its attempts took: latency less the router's own overhead.
In hindsight the candidate that answered is worth what was observed, and every other eligible one what was predicted of it
when the choice was made, or what was measured where it ran as well (a shadow, a hedge that came second). Candidates that
were tried and failed are worth nothing.
"""

from __future__ import annotations

BASELINES = ("all-near", "all-far", "cheapest", "fastest", "random")

DIMENSIONS = ("model", "task", "policy", "tenant", "route", "intent")

_ENDED = """
    SELECT *, coalesce(o_status, 'open') AS status, o_latency_ms - o_overhead_ms AS observed_ms,
        list_filter(attempts, lambda a: a.won)[1] AS winner,
        list_filter(attempts, lambda a: a.role = 'primary' AND a.status = 'ok' AND NOT a.censored AND a.total_ms > 0
            AND a.candidate_id = chosen)[1].total_ms AS first_ms,
        list_filter(candidates, lambda c: c.candidate_id = chosen)[1] AS guess,
        list_sum(list_transform(attempts, lambda a: a.occupancy_ms)) AS occupancy_ms,
        list_sum(list_transform(attempts, lambda a: CASE WHEN a.occupancy_ms IS NOT NULL
            THEN coalesce(a.cost_occupancy_usd, a.cost_usd) END)) AS occupancy_usd,
        date_trunc('{slot}', ts) AS hour
    FROM whole"""

_CHOICES = """
    SELECT decision_id, c.candidate_id, coalesce(c.near, false) OR c.backend = 'local' AS near, c.pred_ms, c.pred_cost_usd,
        c.candidate_id = winner.candidate_id AS answered,
        list_filter(attempts, lambda a: a.candidate_id = c.candidate_id AND NOT a.won AND NOT a.censored) AS others,
        others[1] IS NOT NULL AND others[-1].status = 'ok' AS measured,
        list_bool_or(list_transform(others, lambda a: a.status = 'error' AND a.role <> 'shadow')) IS TRUE AS failed,
        CASE WHEN answered THEN observed_ms WHEN measured THEN others[-1].total_ms ELSE c.pred_ms END AS ms,
        CASE WHEN answered THEN o_cost_usd WHEN measured THEN others[-1].cost_usd ELSE c.pred_cost_usd END AS usd,
        observed_ms, o_cost_usd AS paid_usd
    FROM (SELECT *, unnest(candidates) AS c FROM ended WHERE status = 'ok' AND winner IS NOT NULL)
    WHERE c.eligible"""

_HINDSIGHT = """
    SELECT decision_id,
        count(*) FILTER (other) AS alternatives, min(ms) FILTER (other) AS best_ms, min(usd) FILTER (other) AS best_usd,
        bool_or(other AND ms < observed_ms AND usd < paid_usd) AS is_beaten,
        count(*) FILTER (other AND measured) AS measured,
        first({'usd': usd, 'ms': ms} ORDER BY pred_cost_usd NULLS LAST, pred_ms, candidate_id) FILTER (near) AS all_near,
        first({'usd': usd, 'ms': ms} ORDER BY pred_cost_usd NULLS LAST, pred_ms, candidate_id)
            FILTER (NOT near) AS all_far,
        first({'usd': usd, 'ms': ms} ORDER BY pred_cost_usd, pred_ms, candidate_id)
            FILTER (pred_cost_usd IS NOT NULL) AS cheapest,
        first({'usd': usd, 'ms': ms} ORDER BY pred_ms, candidate_id) AS fastest,
        {'usd': CASE WHEN bool_and(usd IS NOT NULL) THEN avg(usd) END, 'ms': avg(ms)} AS random
    FROM (SELECT *, NOT answered AND NOT failed AS other FROM choices)
    GROUP BY decision_id"""

_FACTS = """
    SELECT e.hour, e.ts, e.decision_id, e.model, e.task, e.policy, e.tenant, e.route, e.intent, e.status,
        o_backend AS backend, o_provider AS provider, winner.candidate_id AS candidate, e.chosen,
        CASE WHEN o_backend IS NOT NULL THEN o_backend = 'local'
            OR coalesce(list_filter(candidates, lambda c: c.candidate_id = winner.candidate_id)[1].near, false) END AS near,
        o_latency_ms AS latency_ms, o_first_token_ms AS first_token_ms, o_cost_usd AS cost_usd,
        o_prompt_tokens AS prompt_tokens, o_completion_tokens AS completion_tokens, occupancy_ms, occupancy_usd,
        first_ms, guess.pred_ms, guess.p90_ms, guess.p95_ms, guess.p99_ms, observed_ms, h.decision_id IS NOT NULL AS judged,
        CASE WHEN alternatives > 0 THEN greatest(observed_ms - best_ms, 0) ELSE 0 END AS regret_ms,
        CASE WHEN alternatives = 0 THEN o_cost_usd * 0 WHEN best_usd IS NOT NULL
            THEN greatest(o_cost_usd - best_usd, 0) END AS regret_usd,
        coalesce(is_beaten, false) AS is_beaten, measured,
        all_near, all_far, cheapest, fastest, random,
        coalesce(session, tenant) AS cluster
    FROM ended e LEFT JOIN hindsight h USING (decision_id)"""


def facts(source: str, slot: str = "hour") -> str:
    """The common table expressions up to `facts`, over a SELECT of whole decisions; `hour` is their time cut to `slot`."""
    return f"""
        whole AS ({source}), ended AS MATERIALIZED ({_ENDED.replace("{slot}", slot)}), choices AS ({_CHOICES}),
        hindsight AS ({_HINDSIGHT}), facts AS MATERIALIZED ({_FACTS})"""
