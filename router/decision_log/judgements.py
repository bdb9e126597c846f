"""What the log knows of the rightness of answers: one decision's, and everybody's added up. Reads, and decides nothing.

One vote a decision and source counts, the latest one; the feedback's rows stay as they came.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

from router.decision_log.tenancy import own

if TYPE_CHECKING:
    from router.decision_log.queries import LogReader

DAY_S = 86_400.0
_FADED = "pow(0.5, epoch(now()::TIMESTAMP - {of}.ts) / $half_life_s)"
_LATEST = """(SELECT DISTINCT ON (decision_id, source) * FROM main.feedback WHERE metric = 'score'
    ORDER BY decision_id, source, ts DESC)"""

# The answer that was given is that of the attempt which won.
_ANSWER = """
    SELECT d.model, d.intent, a.candidate_id, a.model, a.confidence, f.value, f.weight, epoch_us(f.ts)
    FROM nearfar_log.every_decision d
    LEFT JOIN (SELECT * FROM nearfar_log.every_attempt WHERE decision_id = $id::UUID AND won) a ON true
    LEFT JOIN (SELECT * FROM nearfar_log.feedback WHERE decision_id = $id::UUID AND source = $source
        AND metric = 'score' ORDER BY ts DESC LIMIT 1) f ON true
    WHERE d.decision_id = $id::UUID AND """
_FEEDBACK = f"""
    SELECT d.model, d.intent, a.candidate_id, a.model,
        sum(f.value * f.weight * {_FADED.format(of="f")}), sum(f.weight * {_FADED.format(of="f")})
    FROM {_LATEST} f JOIN nearfar_log.every_decision d USING (decision_id)
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
        FROM {_LATEST} f JOIN nearfar_log.every_decision d USING (decision_id)
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


class Place(NamedTuple):
    """Who answered: the model that was asked for, the candidate, and the model's name there."""

    asked: str | None
    candidate_id: str
    model: str


class Vote(NamedTuple):
    """What a source said of a decision before."""

    value: float
    weight: float
    ts_us: int


class Judged(NamedTuple):
    """A decision somebody judges: who answered (None: nobody), what was wanted, and the source's earlier vote."""

    place: Place | None
    intent: str | None
    confidence: float | None
    before: Vote | None


class FeedbackSum(NamedTuple):
    """All feedback on one place's answers to one intent, faded until now."""

    place: Place
    intent: str | None
    total: float
    weight: float


class AgreementSum(NamedTuple):
    """All comparisons of one place's answers with another's to one intent, faded until now."""

    place: Place
    reference: Place
    intent: str | None
    total: float
    weight: float


class PairRow(NamedTuple):
    """How sure of an answer a place was, and how right it turned out; `of` names the answer and who says so.

    `reference` is whose answer it was compared with; None where somebody said how right it was.
    """

    place: Place
    of: str
    confidence: float
    right: float
    reference: Place | None = None


def judged(reader: LogReader, decision_id: str, source: str) -> Judged | None:
    """One decision with what `source` said of it before; None where there is none that the reader may see.

    Raises:
        LogError: the log cannot be read.
    """
    try:
        key = str(uuid.UUID(decision_id))
    except ValueError:
        return None
    rows = reader.rows(_ANSWER + own(reader.sees, "d.tenant"), {"id": key, "source": source})
    if not rows:
        return None
    asked, intent, candidate_id, model, confidence, value, weight, ts_us = rows[0]
    place = None if candidate_id is None else Place(asked, candidate_id, model)
    return Judged(place, intent, confidence, None if value is None else Vote(value, weight, ts_us))


def feedback_sums(reader: LogReader, half_life_days: float | None) -> list[FeedbackSum]:
    """All feedback there is, added up. Raises as `judged` does."""
    rows = reader.rows(_FEEDBACK, _half_life(half_life_days))
    return [FeedbackSum(Place(row[0], row[2], row[3]), row[1], row[4], row[5]) for row in rows]


def agreement_sums(reader: LogReader, half_life_days: float | None) -> list[AgreementSum]:
    """All comparisons there are, added up. Raises as `judged` does."""
    rows = reader.rows(_AGREEMENT, _half_life(half_life_days))
    return [
        AgreementSum(Place(row[0], row[2], row[3]), Place(row[0], row[4], row[5]), row[1], row[6], row[7])
        for row in rows
    ]


def pair_rows(reader: LogReader, most: int) -> list[PairRow]:
    """The latest `most` of each candidate, oldest first. Raises as `judged` does."""
    return [
        PairRow(Place(asked, candidate_id, model), of, confidence, right, there and Place(asked, there, theirs))
        for asked, candidate_id, model, of, confidence, right, there, theirs in reader.rows(_PAIRS, {"most": most})
    ]


def _half_life(days: float | None) -> dict[str, object]:
    return {"half_life_s": float("inf") if days is None else days * DAY_S}
