"""What is known of the rightness of answers: each model's quality, and from which confidence on its answers are right.

Knows candidates and estimates, no log and no HTTP; who hears a judgement tells it here.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from backends.types import Task
from router.quality import Quality
from router.thresholds import Pair, Threshold, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Estimate
    from router.catalog import Catalog
    from router.quality import Prior
    from router.section_of_routing import CascadeSettings, RoutingSettings
    from router.slate import Candidate, Plan

MAX_MODELS = 1000
MAX_PAIRS = 2000  # of a model; the oldest goes first
FRESH = 0.02  # of a model's pairs: when so many are new, its threshold is worked out anew
TELLING = frozenset({  # tasks whose answers may say how sure their model is
    Task.TEXT_CLASSIFICATION, Task.ZERO_SHOT_CLASSIFICATION, Task.IMAGE_CLASSIFICATION, Task.TEXT_GENERATION,
    Task.AUTOMATIC_SPEECH_RECOGNITION,
})  # fmt: skip


def judgement_of(routing: RoutingSettings, catalog: Catalog) -> Judgement:
    """What is known of answers, by the catalogue's word alone so far."""

    def prior(model: str) -> Prior:
        entry = catalog.find(model)
        return None if entry is None else entry.quality

    return Judgement(Quality(routing.quality, prior, time.time), routing.cascade)


class Judgement:
    """Learns from what is said of answers. One instance per process; its state is bounded.

    Attributes:
        quality: Of every model.
    """

    def __init__(self, quality: Quality, settings: CascadeSettings) -> None:
        self.quality = quality
        self._settings = settings
        self._pairs: OrderedDict[str, OrderedDict[str, Pair]] = OrderedDict()
        self._thresholds: dict[str, Threshold] = {}
        self._changed: Counter[str] = Counter()  # pairs since a model's threshold was worked out
        self._default = choose((), settings)

    def become(self, settings: CascadeSettings) -> None:
        """Choose thresholds by these settings from now on."""
        self._settings = settings
        self._default = choose((), settings)
        self._thresholds = {}

    def pair(self, model: str, of: str, pair: Pair) -> None:
        """How sure a model was of an answer and how right it was; the latest of what is said `of` one answer counts."""
        pairs = self._pairs.setdefault(model, OrderedDict())
        pairs.pop(of, None)
        pairs[of] = pair
        if len(pairs) > MAX_PAIRS:
            pairs.popitem(last=False)
        self._changed[model] += 1
        if self._changed[model] >= FRESH * len(pairs):
            self._thresholds.pop(model, None)
        if len(self._pairs) > MAX_MODELS:
            forgotten, _ = self._pairs.popitem(last=False)
            self._thresholds.pop(forgotten, None)
            del self._changed[forgotten]

    def threshold(self, model: str) -> Threshold:
        """From which confidence on the model's answers may be given.

        Worked out anew, which takes some milliseconds, when a fiftieth of the pairs is new.
        """
        if model not in self._pairs:
            return self._default
        if model not in self._thresholds:
            self._thresholds[model] = choose(tuple(self._pairs[model].values()), self._settings)
            self._changed[model] = 0
        return self._thresholds[model]

    def compared(self, plan: Plan, pair: tuple[str, str], agreement: float, confidence: float | None) -> None:
        """A near answer agreed to this degree (0..1) with the far one; `pair` are the two candidates' ids.

        It counts as right as it agrees: what a cascade saves is to be as good as what it would have bought. Two places
        of one model say nothing of its quality.
        """
        listed = {candidate.id: candidate.listed_as for candidate in plan.candidates}
        near, reference = (listed.get(candidate_id) for candidate_id in pair)
        if near is None or reference is None or near == reference:
            return
        self.quality.agreed(near, None if plan.intent is None else plan.intent.label, reference, agreement)
        if confidence is not None:
            self.pair(near, f"{plan.decision_id} shadow", Pair(confidence, agreement))

    def marked(self, estimates: Sequence[Estimate], candidates: Sequence[Candidate]) -> list[Estimate]:
        """The estimates; the near ones say from which confidence on their answers may be given."""
        return [
            self._marked(estimate, candidate) if candidate.near and candidate.target.task in TELLING else estimate
            for estimate, candidate in zip(estimates, candidates, strict=True)
        ]

    def unsure(self, accept_from: float, confidence: float | None) -> bool:
        """Whether another answer is wanted beside one of this confidence, of a model with this threshold."""
        if confidence is None:
            return self._settings.unsaid == "escalate"
        return confidence < accept_from

    def _marked(self, estimate: Estimate, candidate: Candidate) -> Estimate:
        threshold = self.threshold(candidate.listed_as)
        return estimate._replace(accept_from=threshold.value, accept_why=threshold.why)
