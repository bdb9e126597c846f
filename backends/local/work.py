"""How much work a payload is before anybody has looked inside it, in a unit that only compares requests of one task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.extras import answers_of
from backends.types import (
    ClassificationInput,
    DrawingInput,
    EmbeddingInput,
    GenerationInput,
    PhotoInput,
    SpeechInput,
    ZeroShotInput,
)

if TYPE_CHECKING:
    from backends.types import Payload

_PROMPT_TOKEN = 0.05  # reading a token next to writing one, on the machines of benchmarks/README.md
_PIXELS, _STEPS = 512 * 512, 20


def work_of(payload: Payload) -> float:
    """Characters of texts, expected tokens of a generation, pixel-steps of drawings, pictures, bytes of sound."""
    match payload:
        case EmbeddingInput() | ClassificationInput():
            lengths = [len(text) for text in payload.texts]
            if isinstance(payload, EmbeddingInput):
                lengths += [4 * len(ids) for ids in payload.tokens]
            return float(sum(length + 8 for length in lengths))
        case ZeroShotInput():
            return float(sum(len(text) + 8 for text in (*payload.texts, *payload.candidate_labels)))
        case GenerationInput():
            read = len(payload.prompt or "") + sum(len(message.content) for message in payload.messages)
            return answers_of(payload.extras) * (payload.max_tokens + _PROMPT_TOKEN * read / 4)
        case DrawingInput():
            pixels = payload.width * payload.height if payload.width and payload.height else _PIXELS
            return float(payload.images * pixels * (payload.steps or _STEPS))
        case PhotoInput():
            return float(len(payload.images))
        case SpeechInput():
            return float(len(payload.audio))
