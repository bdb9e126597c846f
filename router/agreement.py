"""How well two answers to one request agree, by a measure of their task. Knows neither who gave them nor why."""

from __future__ import annotations

import math
from operator import mul
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from backends.types import ClassificationOutput, EmbeddingOutput, GenerationOutput, TranscriptOutput
from router.word_errors import word_error_rate

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

    from backends.types import LabelScore, Output

COMPARABLE = (ClassificationOutput, EmbeddingOutput, GenerationOutput, TranscriptOutput)
"""What can be compared. Two drawings of one prompt need not look alike."""


class Agreement(NamedTuple):
    """The measure's name (`cosine`, `label`, `wer` or `exact`) and its value: 1 for the same answer."""

    metric: str
    value: float


def agreement(reference: Output, other: Output) -> Agreement | None:
    """How well an answer agrees with the reference; None where the two cannot be compared.

    * Vectors: their cosine, mean over the texts, and 0 below that; None where they have not as many components.
    * Labels: the share of inputs whose first label is the same.
    * Speech: 1 - word error rate, and 0 below that.
    * Generated text: whether it is the same but for white space.

    It takes milliseconds for thousands of texts: not for the event loop.
    """
    match reference, other:
        case EmbeddingOutput(one), EmbeddingOutput(two):
            return _cosine(one, two)
        case ClassificationOutput(rows), ClassificationOutput(others):
            return _labels(rows, others)
        case TranscriptOutput(), TranscriptOutput():
            return Agreement("wer", max(0.0, 1.0 - word_error_rate(reference.text, other.text)))
        case GenerationOutput(), GenerationOutput():
            return Agreement("exact", float(reference.text.split() == other.text.split()))
    return None


def _cosine(one: Sequence[array[float]], two: Sequence[array[float]]) -> Agreement | None:
    if not one or len(one) != len(two) or any(len(a) != len(b) for a, b in zip(one, two, strict=True)):
        return None
    return Agreement("cosine", fmean(_cosine_of(a, b) for a, b in zip(one, two, strict=True)))


def _cosine_of(a: array[float], b: array[float]) -> float:
    length = math.hypot(*a) * math.hypot(*b)
    return min(1.0, max(0.0, sum(map(mul, a, b)) / length)) if length > 0 else 0.0


def _labels(rows: Sequence[Sequence[LabelScore]], others: Sequence[Sequence[LabelScore]]) -> Agreement | None:
    if not rows or len(rows) != len(others) or not all((*rows, *others)):
        return None
    same = [a[0].label.casefold() == b[0].label.casefold() for a, b in zip(rows, others, strict=True)]
    return Agreement("label", fmean(same))
