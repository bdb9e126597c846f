"""What is known of the rightness of answers: each model's quality, and from which confidence on its answers are right.

Knows candidates and estimates, no log and no HTTP; who hears a judgement tells it here.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from backends.types import Task
from router.thresholds import Pair, Threshold, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Decision, Estimate
    from router.quality import Quality
    from router.sections import CascadeSettings
    from router.slate import Candidate

MAX_MODELS = 1000
MAX_PAIRS = 2000  # of a model; the oldest goes first
TELLING = frozenset({  # tasks whose answers may say how sure their model is
    Task.TEXT_CLASSIFICATION, Task.ZERO_SHOT_CLASSIFICATION, Task.IMAGE_CLASSIFICATION, Task.TEXT_GENERATION,
    Task.AUTOMATIC_SPEECH_RECOGNITION,
})  # fmt: skip


class Near(NamedTuple):
    """A near answer: by which model of the catalogue, to what was wanted, and how sure it was."""

    model: str
    intent: str | None
    confidence: float | None


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
        self._default = choose((), settings)

    def pair(self, model: str, of: str, pair: Pair) -> None:
        """How sure a model was of an answer and how right it was; the latest of what is said `of` one answer counts."""
        pairs = self._pairs.setdefault(model, OrderedDict())
        pairs.pop(of, None)
        pairs[of] = pair
        if len(pairs) > MAX_PAIRS:
            pairs.popitem(last=False)
        self._thresholds.pop(model, None)
        if len(self._pairs) > MAX_MODELS:
            forgotten, _ = self._pairs.popitem(last=False)
            self._thresholds.pop(forgotten, None)

    def threshold(self, model: str) -> Threshold:
        """From which confidence on the model's answers may be given; worked out anew after every pair, 1 to 5 ms."""
        if model not in self._pairs:
            return self._default
        if model not in self._thresholds:
            self._thresholds[model] = choose(tuple(self._pairs[model].values()), self._settings)
        return self._thresholds[model]

    def compared(self, decision_id: str, near: Near, reference: str, agreement: float) -> None:
        """A near answer agreed to this degree (0..1) with the far one of the model `reference` to the same request.

        As a pair it counts as right as it agrees: what a cascade saves is to be as good as what it would have bought.
        """
        self.quality.agreed(near.model, near.intent, reference, agreement)
        if near.confidence is not None:
            self.pair(near.model, f"{decision_id} shadow", Pair(near.confidence, agreement))

    def marked(self, estimates: Sequence[Estimate], candidates: Sequence[Candidate]) -> list[Estimate]:
        """The estimates; the near ones say from which confidence on their answers may be given."""
        return [
            self._marked(estimate, candidate) if candidate.near and candidate.target.task in TELLING else estimate
            for estimate, candidate in zip(estimates, candidates, strict=True)
        ]

    def unsure(self, decision: Decision, confidence: float | None) -> bool:
        """Whether a decision wants another answer beside one of this confidence."""
        if decision.escalate_below is None:
            return False
        if confidence is None:
            return self._settings.unsaid == "escalate"
        return confidence < decision.escalate_below

    def _marked(self, estimate: Estimate, candidate: Candidate) -> Estimate:
        threshold = self.threshold(candidate.listed_as)
        return dataclasses.replace(estimate, accept_from=threshold.value, accept_why=threshold.why)
