"""feature-extraction: one vector a text."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from backends.errors import InvalidInput
from backends.local.embedder import unit
from backends.local.types import Answer, LocalTask
from backends.types import EmbeddingInput, EmbeddingOutput, Task, Usage

if TYPE_CHECKING:
    from backends.local.embedder import Embedder
    from backends.local.types import Unit

_SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank."


def pre(model: Embedder, payload: EmbeddingInput) -> list[Unit]:
    """Tokenise the texts.

    Raises:
        ContextLengthExceeded: A text is too long and `truncate` is off.
        InvalidInput: More dimensions are asked for than the model has, or a token id is none of its own.
    """
    if payload.dimensions is not None and not 0 < payload.dimensions <= model.dimensions:
        raise InvalidInput(f"dimensions is {payload.dimensions}; the model's vectors have {model.dimensions}")
    texts = model.texts(payload.tokens) if payload.tokens else payload.texts
    return model.units(texts, truncate=payload.truncate)


def post(_model: Embedder, payload: EmbeddingInput, units: list[Unit], results: list[Any]) -> Answer:
    """Keep the first `dimensions` components; scale to length 1 where `normalize` asks for it."""
    import numpy as np

    vectors = np.stack(results)[:, : payload.dimensions]
    if payload.normalize:
        vectors = unit(vectors)
    rows = tuple(array("f", row.astype(np.float32, copy=False).tobytes()) for row in vectors)
    return Answer(EmbeddingOutput(rows), Usage(prompt_tokens=sum(each.size for each in units)))


TASK = LocalTask(
    task=Task.FEATURE_EXTRACTION,
    family="embedder",
    pre=pre,
    post=post,
    warm_ups=(
        EmbeddingInput(texts=(_SENTENCE,)),
        EmbeddingInput(texts=(_SENTENCE,) * 8),
        EmbeddingInput(texts=(" ".join([_SENTENCE] * 12),) * 8, truncate=True),
    ),
)
