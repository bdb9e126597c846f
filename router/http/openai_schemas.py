"""OpenAI's request shapes, complete enough to refuse by name what is not served, and their conversion to requests."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from backends.types import EmbeddingInput, GenerationInput, InferenceRequest, Message, Task
from router.errors import InvalidRequest
from router.http.parameters import MAX_NEW_TOKENS
from router.http.schemas import (
    Body,
    Name,
    PositiveInt,
    Probability,
    ProviderBody,
    RoutingBody,
    Seed,
    Temperature,
    texts_of,
)


class ChatMessage(Body, kw_only=True, forbid_unknown_fields=True):
    """One message. Content may be text, or a list of text parts."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None


class StreamOptions(Body, kw_only=True, forbid_unknown_fields=True):
    """What a stream should carry besides text."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatBody(Body, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/chat/completions`."""

    model: Name
    messages: list[ChatMessage]
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
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
    # Accepted and without effect on the answer.
    user: str | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    parallel_tool_calls: bool | None = None
    # Known, and refused unless they ask for nothing.
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None


class EmbeddingsBody(Body, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/embeddings`."""

    model: Name
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: PositiveInt | None = None
    truncate: bool = False  # ours: cut what is too long instead of refusing it
    user: str | None = None
    routing: RoutingBody | None = None
    provider: ProviderBody | None = None


# Field -> the values that ask for nothing special.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (None, 1),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "response_format": (None, {"type": "text"}),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "reasoning_effort": (None,),
    "verbosity": (None, "medium"),
    "modalities": (None, ["text"]),
}


def refuse_unserved(body: Body, neutral: Mapping[str, tuple[object, ...]]) -> None:
    """Let a body pass whose fields of these names ask for nothing: each has one of its neutral values.

    Raises:
        InvalidRequest: naming the first field that asks for something.
    """
    for field, values in neutral.items():
        if getattr(body, field) not in values:
            allowed = [str(value) for value in values if value and isinstance(value, str | int)]
            hint = f" other than {' or '.join(allowed)}" if allowed else ""
            raise InvalidRequest(f"`{field}`{hint} is not supported.", param=field)


def chat_request(body: ChatBody, model: str) -> InferenceRequest:
    """The inference request of a chat body.

    Raises:
        InvalidRequest: no message, a message that is not text, or a feature that is not served.
    """
    refuse_unserved(body, _NEUTRAL)
    if not body.messages:
        raise InvalidRequest("`messages` must not be empty.", param="messages")
    return InferenceRequest(
        task=Task.TEXT_GENERATION,
        model=model,
        stream=bool(body.stream),
        payload=GenerationInput(
            messages=tuple(_message(index, message) for index, message in enumerate(body.messages)),
            max_tokens=body.max_completion_tokens or body.max_tokens or MAX_NEW_TOKENS,
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=body.top_k,
            repetition_penalty=body.repetition_penalty,
            seed=body.seed,
            stop=_stop(body.stop),
        ),
    )


def embeddings_request(body: EmbeddingsBody, model: str, max_items: int) -> InferenceRequest:
    """The inference request of an embeddings body.

    Raises:
        InvalidRequest: the input is empty, too long, or made of token ids.
    """
    if isinstance(body.input, list) and body.input and not isinstance(body.input[0], str):
        raise InvalidRequest("`input` must be text or a list of texts; token ids are not supported yet.", param="input")
    texts = texts_of(body.input, "input", max_items)
    payload = EmbeddingInput(texts=texts, dimensions=body.dimensions, truncate=body.truncate)
    return InferenceRequest(task=Task.FEATURE_EXTRACTION, model=model, payload=payload)


def _message(index: int, message: ChatMessage) -> Message:
    where = f"messages.{index}"
    if message.role in {"tool", "function"} or message.tool_calls:
        raise InvalidRequest(f"{where}: tool messages are not supported yet.", param=f"{where}.role")
    if isinstance(message.content, list):
        content = "".join(_part(where, part) for part in message.content)
    else:
        content = message.content or ""
    if message.role == "user" and not content.strip():
        raise InvalidRequest(f"{where}.content must not be empty.", param=f"{where}.content")
    role: Literal["system", "user", "assistant"] = "system"
    if message.role in {"user", "assistant"}:
        role = "user" if message.role == "user" else "assistant"
    return Message(role=role, content=content)


def _part(where: str, part: dict[str, Any]) -> str:
    text = part.get("text")
    if part.get("type") != "text" or not isinstance(text, str):
        raise InvalidRequest(f"{where}.content: only text parts are supported.", param=f"{where}.content")
    return text


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)
    if len(stops) > 16 or any(not text for text in stops):
        raise InvalidRequest("`stop` takes up to 16 non-empty texts.", param="stop")
    return stops
