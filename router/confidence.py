"""How sure a model is of an answer, in 0..1, from the answer itself; None where nothing tells. Pure.

* Labels by a set of intents: the probability of the first label, which is calibrated when the set is fitted
  (`backends.local.intents.calibration`). Of other labels the margin between the first and the second (Scheffer,
  Decomain and Wrobel, 2001): a softmax is mostly too sure, a margin less so. Where one label alone was asked for, the
  least margin its probability allows. Labels that do not exclude each other: how far the least certain is from even.
* Text: the likelihood of a token, the geometric mean over the answer, where a runtime tells it. It is no probability of
  being right, but it ranks answers ("look before you leap", Huang et al., 2023, arXiv:2307.10236); a threshold is
  learnt on it.
* Speech: the same over the segments, times how probable it is that they are speech at all (Radford et al., 2022).
* Vectors and drawings: None. Nothing in them says whether they are right.

A request with several inputs is as sure as its least sure one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.types import ClassificationOutput, GenerationOutput, TranscriptOutput, ZeroShotInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.types import LabelScore, Output, Payload, Target


def confidence_of(output: Output, payload: Payload, target: Target) -> float | None:
    """How sure `target` is of what it answered to `payload`."""
    match output:
        case ClassificationOutput():
            found = [_of_labels(labels, payload, target) for labels in output.labels]
            known = [each for each in found if each is not None]
            return min(known) if known and len(known) == len(found) else None
        case GenerationOutput() | TranscriptOutput():
            return None if output.confidence is None else _within(output.confidence)
    return None


def _of_labels(labels: Sequence[LabelScore], payload: Payload, target: Target) -> float | None:
    scores = [label.score for label in labels]
    if not scores or not all(0 <= score <= 1 for score in scores):  # a regression's label has a value for a score
        return None
    if isinstance(payload, ZeroShotInput) and payload.multi_label:
        return _within(min(abs(2 * score - 1) for score in scores))
    first = scores[0]
    if target.head is not None:
        return _within(first)
    second = scores[1] if len(scores) > 1 else 1 - first
    return _within(first - second)


def _within(value: float) -> float | None:
    """In 0..1; None for what is no number."""
    return None if value != value else min(1.0, max(0.0, value))  # noqa: PLR0124 -- NaN alone differs from itself
