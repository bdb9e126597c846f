"""Decisions as a router makes them, by the million: SQL that fills the log's own tables with realistic distributions.

Four models of three candidates each, traffic with a daily rhythm, sessions of some five requests, tenants of unequal
size, lognormal sizes and service times, predictions with an error, failures, fallbacks, whole sentences for reasons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

MODELS = """
    CREATE OR REPLACE TEMP TABLE made_models AS SELECT * FROM (VALUES
        (0, 'sentence-transformers/all-MiniLM-L6-v2', 'feature-extraction', 0.45, [
            {'id': 'local:sentence-transformers/all-MiniLM-L6-v2', 'side': 'local', 'provider': 'local', 'device':
                'cpu',
             'base': 8.0, 'token': 0.0, 'usd': 0.0, 'quality': NULL::DOUBLE},
            {'id': 'hf-inference:sentence-transformers/all-MiniLM-L6-v2', 'side': 'remote', 'provider': 'hf-inference',
             'device': 'remote', 'base': 95.0, 'token': 0.0, 'usd': 0.01, 'quality': NULL},
            {'id': 'together:sentence-transformers/all-MiniLM-L6-v2', 'side': 'remote', 'provider': 'together',
             'device': 'remote', 'base': 140.0, 'token': 0.0, 'usd': 0.008, 'quality': NULL}]),
        (1, 'HuggingFaceTB/SmolLM2-135M-Instruct', 'text-generation', 0.3, [
            {'id': 'local:HuggingFaceTB/SmolLM2-135M-Instruct', 'side': 'local', 'provider': 'local', 'device': 'cpu',
             'base': 40.0, 'token': 18.0, 'usd': 0.0, 'quality': 0.35},
            {'id': 'groq:llama-3.1-8b-instant', 'side': 'remote', 'provider': 'groq', 'device': 'remote', 'base': 180.0,
             'token': 1.4, 'usd': 0.07, 'quality': 0.68},
            {'id': 'novita:meta-llama/Llama-3.1-8B-Instruct', 'side': 'remote', 'provider': 'novita', 'device':
                'remote',
             'base': 420.0, 'token': 9.0, 'usd': 0.03, 'quality': 0.68}]),
        (2, 'meta-llama/Llama-3.3-70B-Instruct', 'text-generation', 0.15, [
            {'id': 'groq:llama-3.3-70b-versatile', 'side': 'remote', 'provider': 'groq', 'device': 'remote', 'base':
                240.0,
             'token': 3.6, 'usd': 0.69, 'quality': 0.82},
            {'id': 'together:meta-llama/Llama-3.3-70B-Instruct', 'side': 'remote', 'provider': 'together',
             'device': 'remote', 'base': 510.0, 'token': 11.0, 'usd': 0.88, 'quality': 0.82},
            {'id': 'novita:meta-llama/Llama-3.3-70B-Instruct', 'side': 'remote', 'provider': 'novita', 'device':
                'remote',
             'base': 760.0, 'token': 24.0, 'usd': 0.2, 'quality': 0.82}]),
        (3, 'distilbert/distilbert-base-uncased-finetuned-sst-2-english', 'text-classification', 0.1, [
            {'id': 'local:distilbert/distilbert-base-uncased-finetuned-sst-2-english', 'side': 'local', 'provider':
                'local',
             'device': 'cpu', 'base': 14.0, 'token': 0.0, 'usd': 0.0, 'quality': 0.7},
            {'id': 'hf-inference:distilbert/distilbert-base-uncased-finetuned-sst-2-english', 'side': 'remote',
             'provider': 'hf-inference', 'device': 'remote', 'base': 120.0, 'token': 0.0, 'usd': 0.012, 'quality': 0.7},
            {'id': 'gpu-box:sst-2', 'side': 'remote', 'provider': 'gpu-box', 'device': 'remote', 'base': 60.0,
             'token': 0.0, 'usd': NULL, 'quality': 0.7}])
        ) t(nth, model, task, weight, places)"""

_NORMAL = "sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())"

_DRAWN = f"""
    CREATE OR REPLACE TEMP TABLE drawn AS
    SELECT *, CASE WHEN r0 < 0.45 THEN 0 WHEN r0 < 0.75 THEN 1 WHEN r0 < 0.9 THEN 2 ELSE 3 END AS nth,
        greatest(1, exp(3.6 + 1.1 * z1))::BIGINT AS tokens_in, greatest(1, exp(4.4 + 0.8 * z2))::BIGINT AS tokens_out,
        CASE WHEN r1 < 0.72 THEN 1 WHEN r1 < 0.93 THEN 2 ELSE 3 END AS place,
        printf('%012x', epoch_ms(ts)) || substr(md5($seed || '-' || i), 1, 20) AS h,
        ('b' || substr(md5($seed || '-' || i), 2, 15)) AS hash,
        substr(md5($seed || '/' || (i // 5)), 1, 16) AS session
    FROM (SELECT i, $start::TIMESTAMP + to_microseconds(($span_us * ((i + random()) / $rows))::BIGINT) AS ts,
            random() AS r0, random() AS r1, random() AS r2, random() AS r3, random() AS r4, random() AS r5,
            {_NORMAL} AS z1, {_NORMAL} AS z2, {_NORMAL} AS z3, {_NORMAL} AS z4
        FROM range($rows::BIGINT) t(i))"""


def _candidate(n: int) -> str:
    """One place of a slate, as a struct in the order of the log's own; prices and times follow from its model's row."""
    p, pred = f"m.places[{n}]", f"pred{n}"
    unknown = f"({p}.usd IS NULL AND r3 < 0.7)"
    failing = f"({n} = 3 AND r4 < 0.04)"
    why = (
        "'price unknown: give it a price in the catalogue or choose a policy that does not rank by cost "
        "(fastest, local-first, remote-first)'"
    )
    down = f"('unavailable: ' || {p}.provider || ' failed 5 of its last 8 requests, next try in ' || ceil(r5 * 59))"
    return f"""{{
        'candidate_id': {p}.id, 'backend': {p}.side, 'provider': {p}.provider, 'model': m.model, 'device': {p}.device,
        'eligible': NOT {unknown} AND NOT {failing}, 'reason': CASE WHEN {failing} THEN {down} WHEN {unknown} THEN
            {why} END,
        'warm': true, 'queued': floor(r5 * r5 * 3)::INTEGER, 'load_ms': 0.0,
        'queue_ms': CASE WHEN {p}.side = 'local' THEN round(r5 * r5 * 30, 3) ELSE 0.0 END, 'pred_ms': {pred},
        'pred_source': 'history',
        'pred_cost_usd': CASE WHEN {p}.side = 'local' THEN round({pred} / 3.6e6 * 0.067, 12)
            ELSE round({p}.usd * (tokens_in + CASE WHEN {p}.token > 0 THEN 110 ELSE 0 END) / 1e6, 12) END,
        'pred_cost_source': CASE WHEN {p}.side = 'local' THEN 'measured' WHEN {p}.usd IS NULL THEN 'unknown' ELSE
            'priced' END,
        'pred_quality': {p}.quality, 'score': round(0.3 * {n} + 0.1 * r{n}, 6), 'near': {p}.side = 'local',
        'code': CASE WHEN {failing} THEN 'unavailable' WHEN {unknown} THEN 'price_unknown' END,
        'p90_ms': round({pred} * (1.38 + 0.02 * r2), 3), 'p95_ms': round({pred} * (1.52 + 0.03 * r2), 3),
        'p99_ms': round({pred} * (1.8 + 0.05 * r2), 3),
        'first_token_ms': CASE WHEN {p}.token > 0 THEN round({pred} * 0.3, 3) END,
        'first_token_p95_ms': CASE WHEN {p}.token > 0 THEN round({pred} * 0.5, 3) END,
        'propensity': CASE WHEN NOT {unknown} AND NOT {failing} THEN (place = {n})::INTEGER::DOUBLE END}}"""


def _predicted(n: int) -> str:
    p = f"m.places[{n}]"
    drift = f"exp(0.15 * sin(i / 7000.0 + {n}))"
    return f"round({p}.base * {drift} + {p}.token * 110 * exp(0.1 * z3) + 0.02 * tokens_in, 3) AS pred{n}"


_PLANNED = f"""
    CREATE OR REPLACE TEMP TABLE planned AS
    SELECT *, slate[place] AS best, slate[1 + place % 3] AS second,
        (h[1:8] || '-' || h[9:12] || '-7' || h[13:15] || '-a' || h[16:18] || '-' || h[19:30])::UUID AS decision_id,
        r2 < 0.015 AS failed, r2 >= 0.015 AND r2 < 0.03 AS fell_back, r2 > 0.98 AS cancelled
    FROM (SELECT *, [{", ".join(_candidate(n) for n in (1, 2, 3))}] AS slate
        FROM (SELECT d.*, m, {", ".join(_predicted(n) for n in (1, 2, 3))} FROM drawn d JOIN made_models m USING
            (nth)))"""

_DECISIONS = """
    INSERT INTO nearfar_log.decision_rows BY NAME
    SELECT decision_id, ts, $node AS node_id, $boot::UUID AS boot_id, $first + i AS seq, 1 AS schema_version,
        CASE WHEN nth IN (1, 2) THEN '/v1/chat/completions' ELSE '/v1/inference' END AS surface, NULL AS request_id,
        'policy' AS mode, CASE WHEN r5 < 0.8 THEN 'balanced' ELSE 'cheapest' END AS policy,
        CASE WHEN r5 < 0.8 THEN 'balanced@1-3f1c2b7a' ELSE 'cheapest@1' END AS policy_version,
        '7c1f0a2b9d3e4f50' AS price_book,
        best.candidate_id || ' has the best balance of latency and cost (no quality is known): score '
            || printf('%.4f', best.score) || ' against ' || printf('%.3f', second.score) || ' (' || second.candidate_id
            || '); expected ' || printf('%.1f', best.pred_ms) || ' ms, $' || printf('%.9f',
                coalesce(best.pred_cost_usd, 0))
            || '.' AS reason,
        m.task AS task, m.model AS model, tokens_in AS input_tokens, tokens_in * 4 + 120 AS input_bytes,
        CASE WHEN nth IN (1, 2) THEN 110 END AS output_tokens_est, 1 AS batch_items, nth IN (1, 2) AND r4 > 0.5 AS
            stream,
        300000.0 AS deadline_ms, false AS private, hash AS payload_hash, slate AS candidates,
        best.candidate_id AS chosen, (60 + 200 * r3 * r3)::BIGINT AS decide_us,
        CASE WHEN nth = 1 THEN ['smalltalk', 'code', 'summary', 'question'][1 + (r4 * 3.99)::INTEGER % 4] END AS intent,
        CASE WHEN nth = 1 THEN round(0.5 + r3 / 2, 4) END AS intent_probability,
        'team-' || floor(12 * pow(hash(session) % 1000 / 1000.0, 2))::INTEGER AS tenant, session,
        CASE WHEN nth = 2 THEN 'large' END AS route, 0.0 AS explore_rate, false AS explored, 1.0 AS propensity
    FROM planned"""

_TRIED = """
    CREATE OR REPLACE TEMP TABLE tried AS
    SELECT *, CASE WHEN fell_back THEN 2 ELSE 1 END AS attempts,
        round(server.pred_ms * exp(CASE WHEN server.near THEN 0.22 ELSE 0.3 END * z4)
            * CASE WHEN nth IN (1, 2) THEN greatest(0.2, tokens_out / 110.0) ELSE 1 END, 3) AS total_ms,
        total_ms * 0.067 / 3.6e6 AS near_usd,
        CASE WHEN server.near THEN near_usd WHEN server.pred_cost_usd IS NULL THEN NULL ELSE
            server.pred_cost_usd / (tokens_in + 110) * (tokens_in + CASE WHEN nth IN (1, 2) THEN tokens_out ELSE 0
                END) END
            AS usd,
        CASE WHEN nth IN (1, 2) THEN round(total_ms * (0.15 + 0.2 * r4), 3) END AS first_ms
    FROM (SELECT *, CASE WHEN fell_back THEN second ELSE best END AS server FROM planned)"""

_ATTEMPTS = """
    INSERT INTO nearfar_log.attempt_rows BY NAME
    SELECT decision_id, attempts AS attempt, ts + to_microseconds(180 + (attempts - 1) * 40000) AS ts,
        CASE WHEN fell_back THEN 'fallback' ELSE 'primary' END AS role, server.candidate_id, server.backend,
            server.provider,
        server.model, server.device, CASE WHEN failed THEN 'error' WHEN cancelled THEN 'cancelled' ELSE 'ok' END AS
            status,
        CASE WHEN failed THEN 'Unavailable' END AS error_class,
        CASE WHEN failed THEN server.provider || ' answered 503: the model is overloaded' END AS error,
        cancelled AS censored, NOT failed AND NOT cancelled AS won, total_ms,
        CASE WHEN server.near THEN round(server.queue_ms * (0.8 + 0.4 * r4), 3) END AS queue_ms,
        CASE WHEN server.near THEN 0.0 END AS load_ms,
        CASE WHEN server.near THEN round(total_ms * 0.93, 3) END AS service_ms, first_ms AS first_token_ms,
        CASE WHEN server.near THEN 1 + (r3 * 4)::INTEGER END AS batch_size, tokens_in AS prompt_tokens,
        CASE WHEN nth IN (1, 2) THEN tokens_out END AS completion_tokens,
        CASE WHEN server.near THEN round(total_ms * 0.93, 3) END AS occupancy_ms, usd AS cost_usd,
        CASE WHEN usd IS NULL THEN 'unknown' WHEN server.near THEN 'measured' ELSE 'priced' END AS cost_source,
        CASE WHEN NOT server.near THEN 'chatcmpl-' || hash END AS provider_request_id,
        CASE WHEN server.near THEN round(0.1 + r4 * 0.4, 3) END AS pre_ms,
        CASE WHEN server.near THEN round(0.02 + r3 * 0.1, 3) END AS post_ms,
        CASE WHEN server.near THEN near_usd END AS cost_occupancy_usd,
        CASE WHEN server.near THEN near_usd * 0.21 END AS cost_marginal_usd,
        CASE WHEN server.near THEN round(total_ms * 0.013, 4) END AS energy_j,
        CASE WHEN server.near THEN 'watts' END AS energy_source,
        CASE WHEN NOT server.near THEN '{"prompt_tokens":' || tokens_in || ',"completion_tokens":' || tokens_out
            || ',"total_tokens":' || (tokens_in + tokens_out) || '}' END AS usage_raw
    FROM tried
    UNION ALL BY NAME
    SELECT decision_id, 1 AS attempt, ts + to_microseconds(180) AS ts, 'primary' AS role, best.candidate_id,
        best.backend,
        best.provider, best.model, best.device, 'error' AS status, 'Unavailable' AS error_class,
        best.provider || ' answered 503: the model is overloaded' AS error, false AS censored, false AS won, 40.0 AS
            total_ms,
        0.0 AS cost_usd, 'priced' AS cost_source
    FROM tried WHERE fell_back"""

_OUTCOMES = """
    INSERT INTO nearfar_log.outcome_rows BY NAME
    SELECT decision_id, ts + to_microseconds((total_ms * 1000)::BIGINT + 900) AS ts,
        CASE WHEN failed THEN 'error' WHEN cancelled THEN 'cancelled' ELSE 'ok' END AS status,
        CASE WHEN failed THEN 'AllAttemptsFailed' END AS error_class,
        CASE WHEN failed THEN 'All attempts failed: ' || server.candidate_id || ': ' || server.provider
            || ' answered 503: the model is overloaded' END AS error,
        usd AS cost_usd, CASE WHEN usd IS NULL THEN 'unknown' WHEN server.near THEN 'measured' ELSE 'priced' END AS
            cost_source,
        CASE WHEN NOT failed AND NOT cancelled THEN server.backend END AS backend,
        CASE WHEN NOT failed AND NOT cancelled THEN server.provider END AS provider,
        CASE WHEN NOT failed AND NOT cancelled THEN server.model END AS model_served,
        CASE WHEN NOT failed AND NOT cancelled THEN server.device END AS device, attempts,
        round(total_ms + 0.6 + r4 + CASE WHEN fell_back THEN 40 ELSE 0 END, 3) AS latency_ms, round(0.6 + r4, 3) AS
            overhead_ms,
        first_ms AS first_token_ms, tokens_in AS prompt_tokens,
        CASE WHEN nth IN (1, 2) THEN tokens_out END AS completion_tokens
    FROM tried"""


def fill(con: duckdb.DuckDBPyConnection, rows: int, start: datetime, span_s: float, seed: int) -> None:
    """Put this many whole decisions, spread evenly over a time, into the tables that new rows arrive in.

    Args:
        con: A cursor of the log's database.
        rows: How many.
        start: Time of the first, UTC without a zone.
        span_s: Seconds until the last.
        seed: Tells one call's ids from another's.
    """
    ((node,),) = con.execute("SELECT value FROM nearfar_log.meta WHERE key = 'node_id'").fetchall()
    con.execute(MODELS)
    con.execute(_DRAWN, {"rows": rows, "start": start, "span_us": span_s * 1e6, "seed": seed})
    con.execute(_PLANNED)
    con.execute(_TRIED)
    con.execute("BEGIN")
    con.execute(_DECISIONS, {"node": node, "boot": f"00000000-0000-4000-8000-{seed:012d}", "first": 1})
    con.execute(_ATTEMPTS)
    con.execute(_OUTCOMES)
    con.execute("COMMIT")
    for table in ("drawn", "planned", "tried"):
        con.execute(f"DROP TABLE {table}")


def copy_settled(con: duckdb.DuckDBPyConnection, until: datetime, nth: int, shift_s: int) -> None:
    """Repeat what was settled before `until`, later by so many whole hours, and what it adds up to.

    Made anew is what differs between any two decisions: ids, hashes and sessions.
    """
    shift = f"to_seconds({shift_s})"
    con.execute(
        f"""
        INSERT INTO nearfar_log.settled BY NAME SELECT * EXCLUDE (h) REPLACE (
            ts + {shift} AS ts, o_ts + {shift} AS o_ts,
            (h[1:8] || '-' || h[9:12] || '-7' || h[13:15] || '-a' || h[16:18] || '-' || h[19:30])::UUID AS decision_id,
            'b' || substr(md5(h), 2, 15) AS payload_hash, substr(md5('{nth}-' || session), 1, 16) AS session,
            list_transform(attempts, lambda a: struct_update(a, ts := a.ts + {shift}, provider_request_id :=
                CASE WHEN a.provider_request_id IS NOT NULL THEN 'chatcmpl-b' || substr(md5(h), 2, 15) END)) AS
                    attempts)
        FROM (SELECT *, printf('%012x', epoch_ms(ts + {shift})) || substr(md5('{nth}-' || decision_id), 1, 20) AS h
            FROM nearfar_log.settled WHERE ts < $until)""",
        {"until": until},
    )
    for table in ("cells", "savings"):
        con.execute(
            f"INSERT INTO nearfar_log.{table} BY NAME SELECT * REPLACE (hour + {shift} AS hour) "
            f"FROM nearfar_log.{table} WHERE hour < $until",
            {"until": until},
        )
