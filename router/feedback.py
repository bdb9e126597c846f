"""What somebody says of an answer afterwards: into the log, and at once into what is known of the model. No HTTP.

A decision has one vote of each source. Saying something else replaces it: the log keeps both rows, the latest counts.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from router.decision_log import judgements
from router.decision_log.record import FeedbackRow
from router.errors import InvalidRequest
from router.judgement import MAX_PAIRS, Judgement
from router.quality import fading
from router.thresholds import Pair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.candidates import CandidateFinder
    from router.decision_log.judgements import Judged, Place
    from router.decision_log.taking import Log
    from router.quality import Figure
    from router.sections import QualitySettings


class Said(NamedTuple):
    """What a sender says of a decision: `score` in 0..1, and the right answer where it is a label.

    `sees` is whose decisions the sender may judge: one tenant's, or with None everybody's.
    """

    decision_id: str
    score: float
    label: str | None
    source: str
    sees: str | None


class Taken(NamedTuple):
    """Feedback that was taken in: of which model's answer to what, and the model's quality since."""

    model: str
    intent: str | None
    replaced: bool
    quality: Figure


class Feedback:
    """Takes feedback in, one at a time: a vote must be found before the next may replace it."""

    def __init__(
        self,
        log: Log,
        judgement: Judgement,
        finder: CandidateFinder,
        settings: QualitySettings,
    ) -> None:
        self._log = log
        self._judgement = judgement
        self._finder = finder
        self._half_life_days = settings.half_life_days
        self._one_at_a_time = asyncio.Lock()

    async def take(self, said: Said) -> Taken | None:
        """Write it down and learn from it; None where there is no such decision to see. On disk when this returns.

        Raises:
            InvalidRequest: the decision has no answer to judge.
            LogError: the log cannot be read or written.
        """
        async with self._one_at_a_time:
            await self._log.committed()
            found = await asyncio.to_thread(
                judgements.judged, self._log.reader(said.sees), said.decision_id, said.source
            )
            if found is None:
                return None
            if found.place is None:
                raise InvalidRequest("decision_id: this decision has no answer to judge.", param="decision_id")
            ts_us = max(time.time_ns() // 1000, found.before.ts_us + 1 if found.before else 0)
            self._log.append(
                FeedbackRow(
                    decision_id=said.decision_id,
                    ts_us=ts_us,
                    source=said.source,
                    metric="score",
                    value=said.score,
                    label=said.label,
                )
            )
            taken = self._learnt(said, found, found.place, ts_us)
            await self._log.committed()
        return taken

    def restore(self) -> None:
        """Take in what the log knows from before this start. Blocks.

        Raises:
            LogError: the log cannot be read.
        """
        reader, quality, listed = self._log.reader(), self._judgement.quality, self._every()
        for heard in judgements.feedback_sums(reader, self._half_life_days):
            if heard.weight > 0:
                quality.judged(
                    self._listed(heard.place, listed), heard.intent, heard.total / heard.weight, heard.weight
                )
        for agreed in judgements.agreement_sums(reader, self._half_life_days):
            model, reference = (self._listed(place, listed) for place in (agreed.place, agreed.reference))
            if agreed.weight > 0 and model != reference:
                quality.agreed(model, agreed.intent, reference, agreed.total / agreed.weight, agreed.weight)
        for pair in judgements.pair_rows(reader, MAX_PAIRS):
            model = self._listed(pair.place, listed)
            if pair.reference is None or model != self._listed(pair.reference, listed):
                self._judgement.pair(model, pair.of, Pair(pair.confidence, pair.right))

    def _learnt(self, said: Said, found: Judged, place: Place, ts_us: int) -> Taken:
        model, quality, before = self._listed(place), self._judgement.quality, found.before
        if before is not None:
            age_s = (ts_us - before.ts_us) / 1e6
            quality.judged(model, found.intent, before.value, -before.weight * fading(age_s, self._half_life_days))
        quality.judged(model, found.intent, said.score)
        if found.confidence is not None:
            self._judgement.pair(model, f"{said.decision_id} {said.source}", Pair(found.confidence, said.score))
        return Taken(model, found.intent, before is not None, quality.of(model, found.intent))

    def _every(self) -> dict[str, str]:
        return {candidate.id: candidate.listed_as for candidate in self._finder.every()}

    def _listed(self, place: Place, listed: Mapping[str, str] | None = None) -> str:
        """The catalogue's id of a model that answered; what it was called there, where the catalogue has it no more."""
        if place.asked is not None and self._finder.catalog.find(place.asked) is not None:
            return place.asked
        return (self._every() if listed is None else listed).get(place.candidate_id, place.model)
