"""zero-shot-classification by embedding similarity: a label fits a text when their vectors point the same way.

This is not natural language inference: it knows topics, not negation. "I do not want a refund" is close to "refund".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backends.errors import ContextLengthExceeded, InvalidInput
from backends.local.embedder import unit
from backends.local.types import Answer, LocalTask
from backends.types import ClassificationOutput, LabelScore, Task, Usage, ZeroShotInput

if TYPE_CHECKING:
    from backends.local.embedder import Embedder
    from backends.local.types import Unit

# Measured with all-MiniLM-L6-v2 on the 3,000 validation utterances of CLINC150 and its 150 intent names:
# TEMPLATE  accuracy 0.700 among all 150 labels; "This request is about {}." 0.673, "This text is about {}." 0.669
# SCALE     1 / temperature; the least log loss (0.157) where each text has five candidate labels
# MIDPOINT  the cosine at which a label is as likely right as wrong, by a logistic fit, both cases weighing the same
TEMPLATE = "{}"
SCALE = 20.0
MIDPOINT = 0.239

_SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank."


def pre(model: Embedder, payload: ZeroShotInput) -> list[Unit]:
    """Tokenise the texts, then the labels.

    Raises:
        InvalidInput: The template has no place for a label.
        ContextLengthExceeded: A text or a label is too long and `truncate` is off.
    """
    template = payload.hypothesis_template or TEMPLATE
    if "{}" not in template:
        raise InvalidInput("hypothesis_template has no {}, the place of the label")
    texts = model.units(payload.texts, truncate=payload.truncate)
    hypotheses = [template.replace("{}", label) for label in payload.candidate_labels]
    try:
        return texts + model.units(hypotheses, truncate=payload.truncate)
    except ContextLengthExceeded as error:
        raise ContextLengthExceeded(f"of the candidate labels, in their template, {error}") from error


def post(_model: Embedder, payload: ZeroShotInput, units: list[Unit], results: list[Any]) -> Answer:
    """Score each label for each text, best first.

    One right label: a softmax, summing to 1. `multi_label`: each on its own, by a logistic curve.
    """
    import numpy as np

    vectors = unit(np.stack(results))
    cosines = vectors[: len(payload.texts)] @ vectors[len(payload.texts) :].T
    if payload.multi_label:
        scores = 1 / (1 + np.exp(-(cosines - MIDPOINT) * SCALE))
    else:
        weights = np.exp((cosines - cosines.max(axis=1, keepdims=True)) * SCALE)
        scores = weights / weights.sum(axis=1, keepdims=True)
    output = ClassificationOutput(tuple(ranked(payload.candidate_labels, row) for row in scores))
    return Answer(output, Usage(prompt_tokens=sum(each.size for each in units)))


def ranked(labels: tuple[str, ...], scores: Any, top_k: int | None = None) -> tuple[LabelScore, ...]:
    """Labels with their scores, the `top_k` best (all when None) first; equals stay in the order given."""
    import numpy as np

    scores = np.asarray(scores)
    order = np.argsort(-scores, kind="stable")[:top_k]
    return tuple(LabelScore(labels[index], float(scores[index])) for index in order)


TASK = LocalTask(
    task=Task.ZERO_SHOT_CLASSIFICATION,
    family="embedder",
    pre=pre,
    post=post,
    warm_ups=(
        ZeroShotInput(texts=(_SENTENCE,), candidate_labels=("animals", "money", "weather")),
        ZeroShotInput(texts=(_SENTENCE,) * 8, candidate_labels=("animals", "money", "weather")),
    ),
)
