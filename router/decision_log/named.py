"""The router's own questions of the log, by name: whoever asks from another process names one, and brings no SQL."""

from __future__ import annotations

from typing import Literal

Name = Literal["answer", "feedback", "agreement", "pairs", "latest_catalog", "catalogs", "catalog"]

_FADED = "pow(0.5, epoch(now()::TIMESTAMP - {of}.ts) / $half_life_s)"
_VOTES = """(SELECT DISTINCT ON (decision_id, source) * FROM main.feedback WHERE metric = 'score'
    ORDER BY decision_id, source, ts DESC)"""

# The answer that was given is that of the attempt which won.
_ANSWER = """
    SELECT d.model, d.intent, a.candidate_id, a.model, a.confidence, f.value, f.weight, epoch_us(f.ts)
    FROM nearfar_log.every_decision d
    LEFT JOIN (SELECT * FROM nearfar_log.every_attempt WHERE decision_id = $id::UUID AND won) a ON true
    LEFT JOIN (SELECT * FROM nearfar_log.feedback WHERE decision_id = $id::UUID AND source = $source
        AND metric = 'score' ORDER BY ts DESC LIMIT 1) f ON true
    WHERE d.decision_id = $id::UUID AND $own"""
_FEEDBACK = f"""
    SELECT d.model, d.intent, a.candidate_id, a.model,
        sum(f.value * f.weight * {_FADED.format(of="f")}), sum(f.weight * {_FADED.format(of="f")})
    FROM {_VOTES} f JOIN nearfar_log.every_decision d USING (decision_id)
    JOIN nearfar_log.every_attempt a USING (decision_id)
    WHERE a.won GROUP BY ALL ORDER BY ALL"""  # noqa: S608 - constants of this module
_AGREEMENT = f"""
    SELECT d.model, d.intent, s.candidate_id, a.model, s.reference, r.model,
        sum(s.agreement * {_FADED.format(of="s")}), sum({_FADED.format(of="s")})
    FROM nearfar_log.shadows s JOIN nearfar_log.every_decision d USING (decision_id)
    JOIN nearfar_log.every_attempt a USING (decision_id, attempt)
    JOIN nearfar_log.every_attempt r ON r.decision_id = s.decision_id AND r.won
    GROUP BY ALL ORDER BY ALL"""  # noqa: S608 - constants of this module
_PAIRS = f"""
    SELECT asked, candidate_id, model, of, confidence, right_share, reference, reference_model FROM (
        SELECT d.model AS asked, a.candidate_id, a.model, d.decision_id::VARCHAR || ' ' || f.source AS of,
            a.confidence, f.value AS right_share, f.ts, NULL AS reference, NULL AS reference_model
        FROM {_VOTES} f JOIN nearfar_log.every_decision d USING (decision_id)
        JOIN nearfar_log.every_attempt a USING (decision_id)
        WHERE a.won AND a.confidence IS NOT NULL
        UNION ALL
        SELECT d.model, a.candidate_id, a.model, d.decision_id::VARCHAR || ' shadow', a.confidence, s.agreement, s.ts,
            s.reference, r.model
        FROM nearfar_log.shadows s JOIN nearfar_log.every_decision d USING (decision_id)
        JOIN nearfar_log.every_attempt a USING (decision_id, attempt)
        JOIN nearfar_log.every_attempt r ON r.decision_id = s.decision_id AND r.won
        WHERE a.confidence IS NOT NULL)
    QUALIFY row_number() OVER (PARTITION BY asked, candidate_id ORDER BY ts DESC) <= $most
    ORDER BY ts, of"""  # noqa: S608 - constants of this module

_LATEST_CATALOG = "SELECT catalog FROM nearfar_log.catalogs ORDER BY ts DESC LIMIT 1"
_CATALOGS = """
    SELECT catalog, epoch_us(ts), author, change, count(*) OVER () FROM nearfar_log.catalogs
    ORDER BY ts DESC LIMIT $limit OFFSET $offset"""
_CATALOG = """
    SELECT catalog, epoch_us(ts), author, change, body::VARCHAR FROM nearfar_log.catalogs
    WHERE catalog = $catalog ORDER BY ts DESC LIMIT 1"""

NAMED: dict[Name, str] = {
    "answer": _ANSWER,
    "feedback": _FEEDBACK,
    "agreement": _AGREEMENT,
    "pairs": _PAIRS,
    "latest_catalog": _LATEST_CATALOG,
    "catalogs": _CATALOGS,
    "catalog": _CATALOG,
}
"""`$own` stands for the condition that a row is one of those that the reader may see."""
