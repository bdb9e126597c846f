"""What the log knows of the rightness of answers: one decision's, and everybody's added up. Reads, and decides nothing.

One vote a decision and source counts, the latest one; the feedback's rows stay as they came.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from router.decision_log.queries import LogReader

DAY_S = 86_400.0


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
    rows = reader.rows("answer", {"id": key, "source": source})
    if not rows:
        return None
    asked, intent, candidate_id, model, confidence, value, weight, ts_us = rows[0]
    place = None if candidate_id is None else Place(asked, candidate_id, model)
    return Judged(place, intent, confidence, None if value is None else Vote(value, weight, ts_us))


def feedback_sums(reader: LogReader, half_life_days: float | None) -> list[FeedbackSum]:
    """All feedback there is, added up. Raises as `judged` does."""
    rows = reader.rows("feedback", _half_life(half_life_days))
    return [FeedbackSum(Place(row[0], row[2], row[3]), row[1], row[4], row[5]) for row in rows]


def agreement_sums(reader: LogReader, half_life_days: float | None) -> list[AgreementSum]:
    """All comparisons there are, added up. Raises as `judged` does."""
    rows = reader.rows("agreement", _half_life(half_life_days))
    return [
        AgreementSum(Place(row[0], row[2], row[3]), Place(row[0], row[4], row[5]), row[1], row[6], row[7])
        for row in rows
    ]


def pair_rows(reader: LogReader, most: int) -> list[PairRow]:
    """The latest `most` of each candidate, oldest first. Raises as `judged` does."""
    return [
        PairRow(Place(asked, candidate_id, model), of, confidence, right, there and Place(asked, there, theirs))
        for asked, candidate_id, model, of, confidence, right, there, theirs in reader.rows("pairs", {"most": most})
    ]


def _half_life(days: float | None) -> dict[str, float]:
    return {"half_life_s": float("inf") if days is None else days * DAY_S}
