"""How good one output is, 0 worst to 1 best, by a run's metric. Outputs in, a score out; it asks nobody.

* `exact_match`: 1 where the text is one of the right answers, else 0. Both are brought to one form first: Unicode's
  NFKC, no case, one space for any white space, and no quotes or marks around the whole (`" Paris. "` is `paris`).
* `label_accuracy`: the share of the input's texts (or pictures) whose first label is the right one, without case.
* `cosine`: the cosine to the right vectors, mean over the texts, and 0 below that.
* `word_error_rate`: 1 less the word error rate, and 0 below that; of several right transcripts the nearest counts.
* `vote`: no output has a score of its own; people say which of two is better (`router.compare.votes`).

None is "cannot be told": nothing is expected, the output is of another kind, or vectors are not as long.
"""

from __future__ import annotations

import unicodedata
from array import array
from typing import TYPE_CHECKING

from backends.types import (
    ClassificationOutput,
    EmbeddingOutput,
    GenerationOutput,
    LabelScore,
    TranscriptOutput,
)
from router.agreement import agreement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backends.types import Output
    from router.compare.run import Metric

    Expected = Output | str | Sequence[str] | Sequence[float] | Sequence[Sequence[float]] | None

AROUND = " .,;:!?\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb()[]*"


def score(metric: Metric, output: Output, expected: Expected) -> float | None:
    """How good an output is.

    What is expected is the output of a reference, or what the suite says: a text or several right ones (`exact_match`,
    `word_error_rate`), a label or one for each text (`label_accuracy`), a vector or one for each text (`cosine`).
    """
    if expected is None or metric == "vote":
        return None
    if metric == "exact_match":
        return _exact(output, expected)
    found = [agreement(right, output) for right in _references(metric, expected)]
    wanted = {"label_accuracy": "label", "cosine": "cosine", "word_error_rate": "wer"}[metric]
    values = [each.value for each in found if each is not None and each.metric == wanted]
    return max(values, default=None)


def plain(text: str) -> str:
    """A text in the one form in which answers are compared."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(AROUND)


def _exact(output: Output, expected: Expected) -> float | None:
    said = _text(output)
    right = _text(expected)
    answers = [right] if right is not None else [one for one in _several(expected) if isinstance(one, str)]
    if said is None or not answers:
        return None
    return float(plain(said) in map(plain, answers))


def _text(value: object) -> str | None:
    """The text of an output; a label is one too. None where there is none."""
    match value:
        case str():
            return value
        case GenerationOutput() | TranscriptOutput():
            return value.text
        case ClassificationOutput(((first, *_),)):
            return first.label
    return None


def _several(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, list | tuple) else ()


def _references(metric: Metric, expected: object) -> Iterator[Output]:
    """What the suite expects as the outputs that would be right."""
    if isinstance(expected, ClassificationOutput | EmbeddingOutput | TranscriptOutput):
        yield expected
        return
    words = [expected] if isinstance(expected, str) else [one for one in _several(expected) if isinstance(one, str)]
    if metric == "label_accuracy" and words:
        yield ClassificationOutput(tuple((LabelScore(word, 1.0),) for word in words))
    elif metric == "word_error_rate":
        yield from (TranscriptOutput(text=word) for word in words)
    elif metric == "cosine":
        rows = _several(expected)
        vectors = [vector for row in ((rows,) if _is_vector(rows) else rows) if (vector := _vector(row)) is not None]
        if vectors:
            yield EmbeddingOutput(tuple(vectors))


def _is_vector(value: object) -> bool:
    return bool(numbers := _several(value)) and all(isinstance(one, int | float) for one in numbers)


def _vector(value: object) -> array[float] | None:
    return array("f", [one for one in _several(value) if isinstance(one, int | float)]) if _is_vector(value) else None
