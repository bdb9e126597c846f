"""The shapes of OpenAI's answers, as its clients read them; what only we say is marked so or under `nearfar`."""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from router.http.description.operation import Told
from router.sections import Price


class ChatUsage(Told):
    """Tokens: 0 where nobody counted, and without `completion_tokens`. `cost` in US dollars, null where not known.

    The details are the far side's own counts.
    """

    prompt_tokens: int
    total_tokens: int
    cost: float | None
    completion_tokens: int | UnsetType = UNSET
    prompt_tokens_details: dict[str, int] | UnsetType = UNSET
    completion_tokens_details: dict[str, int] | UnsetType = UNSET


class CalledFunction(Told):
    """A function that the model wants called, with its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(Told, forbid_unknown_fields=False):
    """A tool that the model wants used."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class ChatReply(Told, forbid_unknown_fields=False):
    """What the model says; null where it wants tools used. What else a far side says in its message is beside it."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[ToolCall] | UnsetType | None = UNSET


class ChatChoice(Told):
    """One answer; `logprobs` where they are asked for."""

    index: int
    message: ChatReply
    logprobs: dict[str, Any] | None
    finish_reason: str


class ChatCompletion(Told):
    """A chat's continuation."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage


class TextChoice(Told):
    """One answer; several prompts have theirs one after the other."""

    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: str


class TextCompletion(Told):
    """How texts go on."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: ChatUsage


class Vector(Told):
    """One text's vector: floats, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Vectors(Told):
    """One vector a text, in their order."""

    object: Literal["list"]
    data: list[Vector]
    model: str
    usage: ChatUsage


class Picture(Told):
    """A PNG file as base64, and the seed that draws it again, where that is known."""

    b64_json: str
    seed: int | None


class TextTokens(Told):
    """What went in."""

    text_tokens: int
    image_tokens: int


class PictureUsage(Told):
    """Tokens as OpenAI's clients require them, the images, and the cost in US dollars."""

    input_tokens: int
    input_tokens_details: TextTokens
    output_tokens: int
    total_tokens: int
    images: int | None
    cost: float | None


class Pictures(Told):
    """What was drawn."""

    created: int
    data: list[Picture]
    background: str
    output_format: str
    size: str | None
    usage: PictureUsage


class HeardUsage(Told):
    """Seconds of sound, and the cost in US dollars."""

    type: Literal["duration"]
    seconds: float
    cost: float | None


class Segment(Told):
    """A part of a recording, times in seconds. What Whisper alone knows of it is null."""

    id: int
    start: float
    end: float
    text: str
    tokens: list[int]
    seek: None
    temperature: None
    avg_logprob: None
    compression_ratio: None
    no_speech_prob: None


class Word(Told):
    """A word, times in seconds."""

    word: str
    start: float
    end: float


class Transcription(Told):
    """What was said. All but `text` and `usage` only in `verbose_json`."""

    text: str
    usage: HeardUsage | UnsetType = UNSET
    task: Literal["transcribe"] | UnsetType = UNSET
    language: str | UnsetType | None = UNSET
    duration: float | UnsetType | None = UNSET
    segments: list[Segment] | UnsetType = UNSET
    words: list[Word] | UnsetType = UNSET


class QualityNow(Told):
    """What a model's quality is held to be, in all and by intent."""

    value: float | None
    source: str | None
    weight: float
    intents: dict[str, dict[str, Any]]


class ModelCandidate(Told):
    """Who can serve the model, and why not now."""

    candidate: str
    backend: str
    provider: str
    device: str
    loaded: bool
    available: bool
    why_not: str | None
    memory_bytes: int | None
    price: Price | None


class ModelDetails(Told):
    """What only we know of a model or, with `models`, of an alias."""

    task: str | None
    description: str
    candidates: list[ModelCandidate]
    context_length: int | UnsetType | None = UNSET
    parameters: int | UnsetType | None = UNSET
    quality: float | dict[str, float] | UnsetType | None = UNSET
    quality_now: QualityNow | UnsetType = UNSET
    models: list[str] | UnsetType = UNSET
    fallbacks: list[str] | UnsetType = UNSET
    policy: str | UnsetType | None = UNSET


class Model(Told):
    """A model in OpenAI's shape."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    nearfar: ModelDetails


class Models(Told):
    """The catalogue."""

    object: Literal["list"]
    data: list[Model]
