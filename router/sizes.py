"""How large a request is, from its characters and bytes alone. Loads no tokenizer, decodes no file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from backends import media
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
from router.slate import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.types import InferenceRequest

CHARS_PER_TOKEN = 4  # English prose through a byte-pair tokenizer
PRIOR_OUTPUT_TOKENS = 128

# Recordings that do not say how long they are: MP3 at 128 kbit/s, speech at 16 kHz in FLAC, Opus at 48 kbit/s.
AUDIO_BYTES_PER_S = {"audio/ogg": 6_000, "audio/webm": 6_000}
TYPICAL_AUDIO_BYTES_PER_S = 16_000


def size_of(request: InferenceRequest, context_length: int | None = None) -> Size:
    """Estimate a request's size from its characters and bytes; nothing is tokenised or decoded for that.

    Texts that may be truncated count as long as the model reads: `context_length` tokens each.
    """
    payload = request.payload
    match payload:
        case EmbeddingInput() | ClassificationInput() | ZeroShotInput():
            return _texts_size(payload, context_length if payload.truncate else None)
        case GenerationInput():
            return _generation_size(payload)
        case DrawingInput():
            return _drawing_size(payload)
        case PhotoInput():
            return Size(items=len(payload.images), input_tokens=None, images=len(payload.images))
        case SpeechInput():
            return Size(items=1, input_tokens=None, audio_s=_audio_s(payload.audio))


def _tokens(texts: Sequence[str], limit: int | None = None) -> int:
    counts = (len(text) // CHARS_PER_TOKEN + 2 for text in texts)
    return sum(counts if limit is None else (min(count, limit) for count in counts))


def _texts_size(payload: EmbeddingInput | ClassificationInput | ZeroShotInput, limit: int | None) -> Size:
    """Token ids were counted by their sender; the labels of zero-shot are embedded like texts, each once."""
    if isinstance(payload, EmbeddingInput) and payload.tokens:
        counts = [len(ids) if limit is None else min(len(ids), limit) for ids in payload.tokens]
        return Size(items=len(counts), input_tokens=sum(counts))
    labels = payload.candidate_labels if isinstance(payload, ZeroShotInput) else ()
    return Size(items=len(payload.texts), input_tokens=_tokens((*payload.texts, *labels), limit))


def _generation_size(payload: GenerationInput) -> Size:
    """Tools and schemas are read like text, once; each of several answers is written.

    Where tools were called, the extras hold the conversation as a whole.
    """
    extras = payload.extras
    texts = (payload.prompt,) if payload.prompt is not None else tuple(m.content for m in payload.messages)
    if extras is not None and extras.messages:
        texts = ()
    told = () if extras is None else (msgspec.json.encode(extras).decode(),)
    answers = answers_of(extras)
    return Size(
        items=1,
        input_tokens=_tokens((*texts, *told)),
        output_tokens=min(payload.max_tokens, PRIOR_OUTPUT_TOKENS) * answers,
        max_output_tokens=payload.max_tokens * answers,
    )


def _drawing_size(payload: DrawingInput) -> Size:
    sized = payload.width is not None and payload.height is not None
    return Size(
        items=payload.images,
        input_tokens=_tokens((payload.prompt, payload.negative_prompt or "")),
        images=payload.images,
        pixels=(payload.width or 0) * (payload.height or 0) if sized else None,
        steps=payload.steps,
    )


def _audio_s(audio: bytes) -> float:
    """A WAV says how long it is; another recording is as long as its bytes usually sound."""
    seconds = media.wav_seconds(audio)
    if seconds is not None:
        return seconds
    return len(audio) / AUDIO_BYTES_PER_S.get(media.content_type(audio) or "", TYPICAL_AUDIO_BYTES_PER_S)
