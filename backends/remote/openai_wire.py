"""The OpenAI protocol: request bodies, and answers into our types. Opens no connection.

Only fields that were given are sent. `top_k` and `repetition_penalty` are no part of this protocol, and its servers
refuse unknown fields, so they are sent only where `extended` says that the server takes them (hf-inference's chat).
"""

from __future__ import annotations

import binascii
import sys
from array import array
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from backends.errors import ContentRefused, RemoteError
from backends.extras import answers_of
from backends.remote import vectors
from backends.remote.call import Call
from backends.remote.choices import Choices
from backends.types import EmbeddingInput, GenerationInput, GenerationOutput, Usage

if TYPE_CHECKING:
    from backends.extras import Choice
    from backends.types import EmbeddingOutput

MOST_TOKENS = 10_000_000
"""No request has more; a far side that says so is not believed."""

MAX_RAW_BYTES = 4096
"""A far side's words on usage are kept up to this length, as JSON; longer ones are dropped, never cut."""

_T = TypeVar("_T")
_Finish = Literal["stop", "length", "tool_calls"]

_FINISH: dict[str, _Finish] = {
    "stop": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
}

_TOOL_CALLS: dict[str, _Finish] = {"tool_calls": "tool_calls", "function_call": "tool_calls"}


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Message(Struct):
    content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(Struct):
    index: int | None = 0
    message: _Message | None = None
    delta: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None

    @property
    def piece(self) -> str:
        """Whatever text it holds: of a chat, a chunk of one, or a completion."""
        message = self.message or self.delta
        return (message.content if message else self.text) or ""


class _Generation(Struct):
    """A chat or completion, whole or a chunk of it."""

    choices: list[_Choice] | None = None
    usage: Any = None
    model: Any = None


class _Row(Struct):
    embedding: Any
    index: int | None = None


class _Embeddings(Struct):
    data: list[_Row]


def generation_call(payload: GenerationInput, model: str, *, stream: bool, extended: bool = False) -> Call:
    """A chat for messages, a completion for a prompt: the far side must not put its chat template around a prompt."""
    given = {
        "max_tokens": payload.max_tokens,
        "temperature": payload.temperature,
        "top_p": payload.top_p,
        "seed": payload.seed,
        "stop": list(payload.stop) or None,
        "top_k": payload.top_k if extended else None,
        "repetition_penalty": payload.repetition_penalty if extended else None,
    }
    body: dict[str, Any] = {"model": model} | {name: value for name, value in given.items() if value is not None}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if payload.extras is not None:
        body |= payload.extras.fields
    if payload.prompt is not None:
        return Call("/completions", body | {"prompt": payload.prompt + payload.partial})
    messages = [{"role": message.role, "content": message.content} for message in payload.messages]
    if payload.extras is not None and payload.extras.messages:
        messages = list(payload.extras.messages)
    if payload.partial:  # as vLLM, SGLang and their kin have it: go on with this message, and begin no new one
        messages.append({"role": "assistant", "content": payload.partial})
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return Call("/chat/completions", body | {"messages": messages})


def embeddings_call(payload: EmbeddingInput, model: str) -> Call:
    """Embeddings as plain floats: base64 would be smaller, but not every server knows it."""
    given = payload.tokens or payload.texts
    body: dict[str, Any] = {"model": model, "input": list(given), "encoding_format": "float"}
    if payload.dimensions is not None:
        body["dimensions"] = payload.dimensions
    return Call("/embeddings", body)


class GenerationReader:
    """Puts a generation together from its chunks; a whole answer is a single chunk.

    Args:
        max_tokens: Nobody writes more than this: a far side that says so is not believed.
        answers: How many whole choices are wanted, where more than text was asked; None for text alone.

    Attributes:
        counted: The usage came with the finish or behind it: nothing more is to be expected.
        parts: What the last chunk added to the choices.
    """

    def __init__(self, max_tokens: int | None = None, answers: int | None = None) -> None:
        self.usage = Usage()
        self.parts: tuple[Choice, ...] = ()
        self._max_tokens = max_tokens
        self._choices = None if answers is None else Choices(answers)
        self.model: str | None = None
        self.counted = False
        self._pieces: list[str] = []
        self._finish: str | None = None

    def feed(self, payload: Any) -> str:
        """Take a chunk; gives the text it adds.

        Raises:
            RemoteError: It has not the protocol's shape.
        """
        chunk = converted(payload, _Generation)
        if isinstance(chunk.model, str) and chunk.model:
            self.model = chunk.model
        if isinstance(chunk.usage, dict) and chunk.usage:  # with the last choice, behind it, or in every chunk
            self.usage = usage_of(chunk.usage, self._max_tokens)
        added = ""
        for choice in chunk.choices or []:
            if not choice.index:  # only one was asked for
                added += choice.piece
                self._finish = choice.finish_reason or self._finish
        if added:
            self._pieces.append(added)
        if self._choices is not None:
            self.parts = self._choices.feed(payload.get("choices") or [])
        self.counted = self.counted or (self.finished and bool(chunk.usage))
        return added

    @property
    def finished(self) -> bool:
        """True once the far side said why the answer ends: all of the text is there."""
        return self._finish is not None if self._choices is None else self._choices.finished

    def output(self) -> GenerationOutput:
        """The whole text.

        Raises:
            RemoteError: No finish reason came, so the text was cut; or it is one that no text ends with.
            ContentRefused: The provider's filter ended it.
        """
        if not self.finished:
            msg = "truncated: the far generation ended without a finish reason"
            raise RemoteError(msg)
        if self._finish == "content_filter":
            msg = "the provider's content filter ended the generation"
            raise ContentRefused(msg)
        known = _FINISH if self._choices is None else _FINISH | _TOOL_CALLS
        if self._finish not in known:
            msg = f"the far generation ended with {str(self._finish)[:50]!r}; known are: {', '.join(known)}"
            raise RemoteError(msg)
        choices = () if self._choices is None else self._choices.whole()
        return GenerationOutput("".join(self._pieces), known[self._finish], choices=choices)


def reader_of(payload: GenerationInput) -> GenerationReader:
    """A reader of the answer to this payload."""
    answers = answers_of(payload.extras)
    return GenerationReader(payload.max_tokens * answers, None if payload.extras is None else answers)


def parse_embeddings(answer: Any, payload: EmbeddingInput) -> EmbeddingOutput:
    """The vectors in the order of the texts; both float lists and base64 are read.

    Raises:
        RemoteError: Not one finite vector a text, all of one length.
    """
    rows = converted(answer, _Embeddings).data
    if rows and all(row.index is not None for row in rows):
        rows = sorted(rows, key=lambda row: row.index or 0)
        if [row.index for row in rows] != list(range(len(rows))):
            msg = "the far side numbered its vectors wrongly"
            raise RemoteError(msg)
    return vectors.output([_floats(row.embedding) for row in rows], payload)


def usage_of(raw: Any, max_tokens: int | None = None) -> Usage:
    """What the far side says was consumed, and its own words for it.

    Anything that is no count, or cannot be true (as more cached tokens than there were), is None, never 0.
    """
    if not isinstance(raw, dict) or not raw:
        return Usage()
    prompt_tokens = _count(raw.get("prompt_tokens"), MOST_TOKENS)
    details = raw.get("prompt_tokens_details")
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=_count(raw.get("completion_tokens"), MOST_TOKENS if max_tokens is None else max_tokens),
        cached_tokens=_count(details.get("cached_tokens"), prompt_tokens or 0) if isinstance(details, dict) else None,
        declared_cost_usd=_cost(raw.get("estimated_cost"), raw.get("cost")),
        raw=_words(raw),
    )


def converted(payload: Any, kind: type[_T]) -> _T:
    """The payload as that type.

    Raises:
        RemoteError: It is another one.
    """
    try:
        return msgspec.convert(payload, kind)
    except msgspec.ValidationError as error:
        msg = f"the far answer has an unknown shape: {error}"
        raise RemoteError(msg) from error


def _floats(embedding: Any) -> Any:
    """base64 holds float32, little-endian."""
    if not isinstance(embedding, str):
        return embedding
    try:
        vector = array("f", b64decode(embedding, validate=True))
    except (binascii.Error, ValueError) as error:
        msg = "the far side gave a vector that is no base64 of float32"
        raise RemoteError(msg) from error
    if sys.byteorder == "big":
        vector.byteswap()
    return vector


def _count(value: Any, most: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def _words(raw: dict[str, Any]) -> str | None:
    """As canonical JSON: the same words are the same text, in whatever order they came."""
    try:
        text = msgspec.json.encode(raw, order="sorted")
    except RecursionError:
        return None
    return text.decode() if len(text) <= MAX_RAW_BYTES else None


def _cost(*values: Any) -> float | None:
    for value in values:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max:
            return float(value)
    return None
