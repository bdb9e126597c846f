"""The tasks the near side can do: adding one is a file and a row here. Imports no model library."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from backends.local import (
    embedder,
    feature_extraction,
    text_classification,
    text_generation,
    zero_shot_classification,
)
from backends.local.types import Answer, Control, Family
from backends.types import (
    ClassificationInput,
    EmbeddingInput,
    GenerationInput,
    Payload,
    Task,
    ZeroShotInput,
)

if TYPE_CHECKING:
    from pathlib import Path

_SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank."


class LocalTask(Struct, frozen=True):
    """How a task is done: by which kind of model, by which function, and a short request to measure it with."""

    family: Family
    run: Callable[[Any, Any, Control], Answer]
    warm_up: Payload


LOADERS: dict[Family, Callable[[Path, str, str], Any]] = {
    "embedder": embedder.load,
    "causal-lm": text_generation.load,
}

TASKS: dict[Task, LocalTask] = {
    Task.FEATURE_EXTRACTION: LocalTask("embedder", feature_extraction.run, EmbeddingInput(texts=(_SENTENCE,))),
    Task.TEXT_CLASSIFICATION: LocalTask("embedder", text_classification.run, ClassificationInput(texts=(_SENTENCE,))),
    Task.ZERO_SHOT_CLASSIFICATION: LocalTask(
        "embedder",
        zero_shot_classification.run,
        ZeroShotInput(texts=(_SENTENCE,), candidate_labels=("animals", "money", "weather")),
    ),
    Task.TEXT_GENERATION: LocalTask(
        "causal-lm", text_generation.run, GenerationInput(prompt=_SENTENCE, max_tokens=8, temperature=0.0)
    ),
}
