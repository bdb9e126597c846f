"""zero-shot-classification by embedding similarity: a label fits a text when their vectors point the same way.

This is not natural language inference: it knows topics, not negation. "I do not want a refund" is close to "refund".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backends.errors import InvalidInput
from backends.local.types import Answer
from backends.types import ClassificationOutput, LabelScore, Usage

if TYPE_CHECKING:
    from backends.local.embedder import Embedder
    from backends.local.types import Control
    from backends.types import ZeroShotInput

# Measured with all-MiniLM-L6-v2 on the 3,000 validation utterances of CLINC150 and its 150 intent names:
# TEMPLATE  accuracy 0.700 among all 150 labels; "This request is about {}." 0.673, "This text is about {}." 0.669
# SCALE     1 / temperature; the least log loss (0.157) where each text has five candidate labels
# MIDPOINT  the cosine at which a label is as likely right as wrong, by a logistic fit, both cases weighing the same
TEMPLATE = "{}"
SCALE = 20.0
MIDPOINT = 0.239


def run(model: Embedder, payload: ZeroShotInput, control: Control) -> Answer:
    """Score each label for each text, best first.

    One right label: a softmax, summing to 1. `multi_label`: each on its own, by a logistic curve.

    Raises:
        InvalidInput: The template has no place for a label.
    """
    template = payload.hypothesis_template or TEMPLATE
    if "{}" not in template:
        raise InvalidInput("hypothesis_template has no {}, the place of the label")
    hypotheses = [template.replace("{}", label) for label in payload.candidate_labels]
    cosines = model.unit_vectors(payload.texts, control) @ model.unit_vectors(hypotheses, control).T
    scores = ((cosines - MIDPOINT) * SCALE).sigmoid() if payload.multi_label else (cosines * SCALE).softmax(dim=1)
    output = ClassificationOutput(tuple(ranked(payload.candidate_labels, row) for row in scores.tolist()))
    return Answer(output, Usage(prompt_tokens=model.read(payload.texts) + model.read(hypotheses)))


def ranked(labels: tuple[str, ...], scores: Any) -> tuple[LabelScore, ...]:
    """Labels with their scores, best first; equals stay in the order given."""
    pairs = [LabelScore(label, score) for label, score in zip(labels, scores, strict=True)]
    return tuple(sorted(pairs, key=lambda pair: -pair.score))
