"""Which wire speaks a payload at a provider: a payload to calls, their answers to our types. Opens no connection."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from backends.errors import RemoteError, Unavailable
from backends.remote import drawings_wire, huggingface_wire, openai_wire, transcripts_wire
from backends.types import (
    ClassificationInput,
    DrawingInput,
    EmbeddingInput,
    GenerationInput,
    PhotoInput,
    SpeechInput,
    Usage,
    ZeroShotInput,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backends.remote.call import Call
    from backends.remote.provider import Protocol, Provider
    from backends.types import Output

_N = TypeVar("_N", int, float)


def _one(make: Callable[[Any, str], Call]) -> Callable[[Any, str], Sequence[Call]]:
    return lambda payload, model: (make(payload, model),)


_CALLS: dict[Protocol, dict[type, Callable[[Any, str], Sequence[Call]]]] = {
    "openai": {
        GenerationInput: _one(partial(openai_wire.generation_call, stream=False)),
        EmbeddingInput: _one(openai_wire.embeddings_call),
        DrawingInput: _one(drawings_wire.openai_call),
        SpeechInput: _one(transcripts_wire.openai_call),
    },
    "huggingface": {
        GenerationInput: _one(partial(huggingface_wire.generation_call, stream=False)),
        EmbeddingInput: _one(huggingface_wire.embeddings_call),
        ClassificationInput: _one(huggingface_wire.classification_call),
        ZeroShotInput: _one(huggingface_wire.classification_call),
        PhotoInput: huggingface_wire.photo_calls,
        DrawingInput: drawings_wire.hub_calls,
        SpeechInput: _one(transcripts_wire.hub_call),
    },
}


def stream_call(provider: Provider, payload: GenerationInput, model: str) -> Call:
    """The call that streams a generation."""
    if provider.protocol == "huggingface":
        return huggingface_wire.generation_call(payload, model, stream=True)
    return openai_wire.generation_call(payload, model, stream=True)


def calls(provider: Provider, payload: object, model: str) -> Sequence[Call]:
    """What to post for a whole answer: one call, or one an image where the protocol takes no more at once.

    Raises:
        Unavailable: The provider's protocol cannot carry this payload.
        InvalidInput: The payload cannot be put into the protocol.
    """
    make = _CALLS[provider.protocol].get(type(payload))
    if make is None:
        msg = f"provider {provider.name} cannot be asked for {type(payload).__name__}"
        raise Unavailable(msg)
    return make(payload, model)


def parsed(provider: Provider, payload: object, answers: Sequence[Any]) -> tuple[Output, Usage, str | None]:
    """The output, the usage, and the model's name as served where an answer says it. One answer for each call.

    Raises:
        RemoteError: An answer is not what the protocol says.
    """
    hub, answer = provider.protocol == "huggingface", answers[0]
    model = answer.get("model") if isinstance(answer, dict) else None
    served = model if isinstance(model, str) and model else None
    if isinstance(payload, GenerationInput):
        reader = openai_wire.reader_of(payload)
        reader.feed(answer)
        return reader.output(), reader.usage, served
    usage = _usage(answers)
    match payload:
        case EmbeddingInput():
            parse = huggingface_wire.parse_embeddings if hub else openai_wire.parse_embeddings
            return parse(answer, payload), usage, served
        case ClassificationInput() | ZeroShotInput():
            return huggingface_wire.parse_classification(answer, payload), usage, served
    output, usage = _media(payload, answers, usage, hub=hub)
    return output, usage, served


def _media(payload: object, answers: Sequence[Any], usage: Usage, *, hub: bool) -> tuple[Output, Usage]:
    match payload:
        case PhotoInput():
            return huggingface_wire.parse_photos(answers, payload), replace(usage, images=len(payload.images))
        case DrawingInput() if hub:
            drawn = drawings_wire.parse_hub(answers, payload)
            return drawn, drawings_wire.usage_for(drawn, usage, payload.steps)
        case DrawingInput():
            drawn = drawings_wire.parse_openai(answers[0], payload)
            return drawn, drawings_wire.usage_for(drawn, usage, None)  # the protocol says nothing of steps
        case SpeechInput():
            parse = transcripts_wire.parse_hub if hub else transcripts_wire.parse_openai
            return parse(answers[0], payload), transcripts_wire.usage_for(answers[0], payload)
    msg = f"no answer is known for {type(payload).__name__}"
    raise RemoteError(msg)


def _usage(answers: Sequence[Any]) -> Usage:
    """What the far side says of all its answers together; a figure that one of them does not say is not known."""
    said = [openai_wire.usage_of(answer.get("usage") if isinstance(answer, dict) else None) for answer in answers]
    if len(said) == 1:
        return said[0]
    words = f"[{','.join(usage.raw or 'null' for usage in said)}]"
    told = any(usage.raw is not None for usage in said) and len(words.encode()) <= openai_wire.MAX_RAW_BYTES
    return Usage(
        prompt_tokens=_sum([usage.prompt_tokens for usage in said]),
        completion_tokens=_sum([usage.completion_tokens for usage in said]),
        cached_tokens=_sum([usage.cached_tokens for usage in said]),
        declared_cost_usd=_sum([usage.declared_cost_usd for usage in said]),
        raw=words if told else None,
    )


def _sum(figures: Sequence[_N | None]) -> _N | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known[1:], start=known[0]) if known and len(known) == len(figures) else None
