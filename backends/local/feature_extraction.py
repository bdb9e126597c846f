"""feature-extraction: one vector a text."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from backends.errors import ContextLengthExceeded, InvalidInput
from backends.local.embedder import unit
from backends.local.types import Answer
from backends.types import EmbeddingOutput, Usage

if TYPE_CHECKING:
    from backends.local.embedder import Embedder
    from backends.local.types import Control
    from backends.types import EmbeddingInput


def run(model: Embedder, payload: EmbeddingInput, control: Control) -> Answer:
    """Embed the texts; `dimensions` keeps the first components, scaled to length 1 again when `normalize` is asked.

    Raises:
        ContextLengthExceeded: A text is too long and `truncate` is off.
        InvalidInput: More dimensions are asked for than the model has.
    """
    dimensions = payload.dimensions or model.dimensions
    if not 0 < dimensions <= model.dimensions:
        raise InvalidInput(f"dimensions is {dimensions}; the model's vectors have {model.dimensions}")
    if not payload.truncate:
        _refuse_long(model, payload.texts)
    vectors = model.vectors(payload.texts, control)[:, :dimensions]
    if payload.normalize:
        vectors = unit(vectors)
    output = EmbeddingOutput(tuple(array("f", row.numpy().tobytes()) for row in vectors))
    return Answer(output, Usage(prompt_tokens=model.read(payload.texts)))


def _refuse_long(model: Embedder, texts: tuple[str, ...]) -> None:
    for index, tokens in enumerate(model.count(texts)):
        if model.max_tokens is not None and tokens > model.max_tokens:
            raise ContextLengthExceeded(f"text {index} has {tokens} tokens; the model reads {model.max_tokens}")
