"""text-classification by intents: what a text wants, by its likeness to the examples of a set.

Models with classes of their own are `sequence_classifier`'s.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from backends.local.embedder import unit
from backends.local.intents.heads import Heads
from backends.local.types import Answer, LocalTask
from backends.local.zero_shot_classification import ranked
from backends.types import ClassificationInput, ClassificationOutput, Task, Usage

if TYPE_CHECKING:
    from backends.local.embedder import Embedder
    from backends.local.types import Unit

_SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank."


def task_for(head: str) -> LocalTask:
    """The task with the set of intents of this name; `builtin` is the one that comes with Nearfar."""
    return LocalTask(
        task=Task.TEXT_CLASSIFICATION,
        family="embedder",
        pre=partial(pre, head),
        post=partial(post, head),
        warm_ups=(ClassificationInput(texts=(_SENTENCE,)), ClassificationInput(texts=(_SENTENCE,) * 8)),
    )


def pre(head: str, model: Embedder, payload: ClassificationInput) -> list[Unit]:
    """Tokenise the texts. The first time, this also opens (or fits) the classifier.

    Raises:
        ContextLengthExceeded: A text is too long and `truncate` is off.
        Unavailable: There is no such set, or its file is damaged.
    """
    model.built("intents", Heads).classifier(head)
    return model.units(payload.texts, truncate=payload.truncate)


def post(head: str, model: Embedder, payload: ClassificationInput, units: list[Unit], results: list[Any]) -> Answer:
    """Intents with their calibrated probabilities, best first, `unknown` among them; all of them add up to 1.

    `unknown` comes first exactly where a text is less like every intent than the set's threshold demands; how it
    competes is written in `intents.classifier`.
    """
    import numpy as np

    classifier = model.built("intents", Heads).classifier(head)
    probabilities = classifier.probabilities(unit(np.stack(results)))
    output = ClassificationOutput(tuple(ranked(classifier.labels, row, payload.top_k) for row in probabilities))
    return Answer(output, Usage(prompt_tokens=sum(each.size for each in units)))
