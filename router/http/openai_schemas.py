"""OpenAI's request shapes, complete enough to refuse by name what is not served, and their conversion to requests."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from backends.types import EmbeddingInput, InferenceRequest, Message, Task
from router.errors import InvalidRequest, TooLarge
from router.http.chats.extras import ChatAsking, ToolCall, chat_fields, extras_of, wire
from router.http.chats.generating import generation
from router.http.parameters import MAX_NEW_TOKENS
from router.http.schemas import (
    Body,
    Name,
    PositiveInt,
    ProviderBody,
    RoutingBody,
    texts_of,
)

MOST_IDS = 2**31


class ChatMessage(Body, kw_only=True, forbid_unknown_fields=True):
    """One message. Content may be text, or a list of text parts."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: Annotated[str, Meta(max_length=256)] | None = None
    refusal: str | None = None


class ChatBody(ChatAsking, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage]
    max_completion_tokens: PositiveInt | None = None
    # Accepted and without effect on the answer.
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    # Known, and refused unless it asks for nothing.
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
    messages = tuple(_message(index, message) for index, message in enumerate(body.messages))
    most = body.max_completion_tokens or body.max_tokens or MAX_NEW_TOKENS
    return generation(body, model, messages, most, extras_of(chat_fields(body), _whole(body.messages)))


def embeddings_request(body: EmbeddingsBody, model: str, max_items: int) -> InferenceRequest:
    """The inference request of an embeddings body.

    Raises:
        InvalidRequest: the input is empty or too long, or neither text nor token ids.
    """
    numbers = isinstance(body.input, list) and bool(body.input) and not isinstance(body.input[0], str)
    payload = EmbeddingInput(
        texts=() if numbers else texts_of(body.input, "input", max_items),
        tokens=token_ids(list(body.input), max_items) if numbers else (),
        dimensions=body.dimensions,
        truncate=body.truncate,
    )
    return InferenceRequest(task=Task.FEATURE_EXTRACTION, model=model, payload=payload)


def token_ids(given: list[Any], max_items: int) -> tuple[tuple[int, ...], ...]:
    """One text, or several, by the numbers of the model's vocabulary.

    Raises:
        InvalidRequest: they are no such numbers, or none at all.
    """
    rows = given if isinstance(given[0], list) else [given]
    if len(rows) > max_items:
        raise TooLarge(f"`input` has {len(rows)} items; at most {max_items} are allowed.", param="input")
    for row in rows:
        if not isinstance(row, list) or not row or not all(map(_is_id, row)):
            raise InvalidRequest("`input` must be text, a list of texts, token ids, or lists of them.", param="input")
    return tuple(tuple(row) for row in rows)


def _is_id(number: object) -> bool:
    return type(number) is int and 0 <= number < MOST_IDS


def _message(index: int, message: ChatMessage) -> Message:
    where = f"messages.{index}"
    content = _text(where, message)
    if message.role == "function":
        raise InvalidRequest(f"{where}.role: 'function' is OpenAI's old word; use 'tool'.", param=f"{where}.role")
    if message.tool_calls and message.role != "assistant":
        raise InvalidRequest(f"{where}.tool_calls: only an assistant calls tools.", param=f"{where}.tool_calls")
    if (message.role == "tool") != (message.tool_call_id is not None):
        said = f"{where}.tool_call_id: says which call the message of role 'tool' answers, and only that."
        raise InvalidRequest(said, param=f"{where}.tool_call_id")
    if message.role == "user" and not content.strip():
        raise InvalidRequest(f"{where}.content must not be empty.", param=f"{where}.content")
    role: Literal["system", "user", "assistant"] = "system"
    if message.role in {"user", "assistant", "tool"}:
        role = "assistant" if message.role == "assistant" else "user"  # a tool's answer is read, and not written
    return Message(role=role, content=content)


def _whole(messages: list[ChatMessage]) -> tuple[dict[str, Any], ...]:
    """The messages as they go over the wire, where one calls a tool or answers such a call; else none."""
    if not any(message.tool_calls or message.role == "tool" for message in messages):
        return ()
    return tuple(_wired(index, message) for index, message in enumerate(messages))


def _wired(index: int, message: ChatMessage) -> dict[str, Any]:
    calls = None if not message.tool_calls else [wire(call) for call in message.tool_calls]
    content = None if calls and not message.content else _text(f"messages.{index}", message)
    given = {"name": message.name, "tool_calls": calls, "tool_call_id": message.tool_call_id}
    said = {"role": "system" if message.role == "developer" else message.role, "content": content}
    return said | {name: value for name, value in given.items() if value is not None}


def _text(where: str, message: ChatMessage) -> str:
    if isinstance(message.content, list):
        return "".join(_part(where, part) for part in message.content)
    return message.content or ""


def _part(where: str, part: dict[str, Any]) -> str:
    text = part.get("text")
    if part.get("type") != "text" or not isinstance(text, str):
        raise InvalidRequest(f"{where}.content: only text parts are supported.", param=f"{where}.content")
    return text
