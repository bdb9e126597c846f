"""What chats and completions of OpenAI's shape share: how to sample, how to answer, where to run."""

from typing import Annotated

from msgspec import Meta

from backends.extras import Extras
from backends.types import GenerationInput, InferenceRequest, Message, Task
from router.errors import InvalidRequest
from router.http.schemas import (
    Body,
    Name,
    PositiveInt,
    Probability,
    ProviderBody,
    RoutingBody,
    Seed,
    Temperature,
)


class StreamOptions(Body, kw_only=True, forbid_unknown_fields=True):
    """What a stream should carry besides text."""

    include_usage: bool = False
    include_obfuscation: bool = False


class Generating(Body, kw_only=True, forbid_unknown_fields=True):
    """The fields of both that say nothing of what is generated from."""

    model: Name
    max_tokens: PositiveInt | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: PositiveInt | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    seed: Seed | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    routing: RoutingBody | None = None
    provider: ProviderBody | None = None
    user: str | None = None  # accepted and without effect on the answer

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and self.stream_options.include_usage


def generation(
    body: Generating,
    model: str,
    source: str | tuple[Message, ...],
    max_tokens: int,
    extras: Extras | None,
) -> InferenceRequest:
    """The request to go on with a prompt, or with messages, as the body says.

    Raises:
        InvalidRequest: `stop` asks for too much.
    """
    return InferenceRequest(
        task=Task.TEXT_GENERATION,
        model=model,
        stream=bool(body.stream),
        payload=GenerationInput(
            prompt=source if isinstance(source, str) else None,
            messages=() if isinstance(source, str) else source,
            max_tokens=max_tokens,
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=body.top_k,
            repetition_penalty=body.repetition_penalty,
            seed=body.seed,
            stop=stops(body.stop),
            extras=extras,
        ),
    )


def stops(stop: str | list[str] | None) -> tuple[str, ...]:
    """The texts that end an answer.

    Raises:
        InvalidRequest: they are too many, or one is empty.
    """
    given = () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)
    if len(given) > 16 or any(not text for text in given):
        raise InvalidRequest("`stop` takes up to 16 non-empty texts.", param="stop")
    return given
