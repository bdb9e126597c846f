"""OpenAI's routes."""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from router.http.description import headers
from router.http.description.inference import CHAT, DECISION, DRAWS, HEARS, VECTORS
from router.http.description.operation import EVENTS, TEXT, Described, Example, Told, events
from router.sections import Price

_MULTIPART = "multipart/form-data"
_CHUNKS = (
    'Chunks in OpenAI\'s shape, `data: [DONE]` at the end. An error after the first one is `data: {"error": ...}`.'
)


class ChatUsage(Told):
    """Tokens: 0 where nobody counted, and without `completion_tokens`. `cost` in US dollars, null where not known."""

    prompt_tokens: int
    total_tokens: int
    cost: float | None
    completion_tokens: int | UnsetType = UNSET


class ChatReply(Told):
    """What the model says."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(Told):
    """One answer."""

    index: int
    message: ChatReply
    logprobs: None
    finish_reason: str


class ChatCompletion(Told):
    """A chat's continuation."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
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


def _chat(summary: str, **more: Any) -> Example:
    message = {"role": "user", "content": "Say hello."}
    return Example(summary=summary, body={"model": CHAT, "messages": [message], "max_tokens": 8, **more})


TABLE = {
    "POST /v1/chat/completions": Described(
        answer=ChatCompletion,
        media={EVENTS: events(_CHUNKS)},
        headers=headers.INFERENCE,
        links=DECISION,
        examples={
            "chat": _chat("A short answer"),
            "streamed": _chat("The same, streamed", stream=True, stream_options={"include_usage": True}),
            "near": _chat(
                "Only on this machine", routing={"backend": "any", "private": False, "max_latency_ms": 60000}
            ),
        },
    ),
    "POST /v1/embeddings": Described(
        answer=Vectors,
        headers=headers.INFERENCE,
        links=DECISION,
        examples={
            "floats": Example(summary="Two texts", body={"model": VECTORS, "input": ["near", "far"]}),
            "base64": Example(summary="Compact", body={"model": VECTORS, "input": "near", "encoding_format": "base64"}),
        },
    ),
    "POST /v1/images/generations": Described(
        answer=Pictures,
        media={EVENTS: events("A comment for each step, then the image.", "image_generation.completed")},
        headers=headers.INFERENCE,
        links=DECISION,
        examples={
            "drawing": Example(summary="One picture", body={"model": DRAWS, "prompt": "a red circle", "seed": 7}),
            "streamed": Example(summary="With its steps", body={"model": DRAWS, "prompt": "a cross", "stream": True}),
        },
    ),
    "POST /v1/audio/transcriptions": Described(
        answer=Transcription,
        media={
            TEXT: {"type": "string", "description": "`response_format` text, srt or vtt."},
            EVENTS: events("Their `type`: `transcript.text.delta`, at the end `transcript.text.done`."),
        },
        headers=headers.INFERENCE,
        links=DECISION,
        examples={
            "verbose": Example(
                summary="With times",
                media=_MULTIPART,
                body={"file": "(the bytes of a recording)", "model": HEARS, "response_format": "verbose_json"},
            ),
            "subtitles": Example(
                summary="As subtitles",
                media=_MULTIPART,
                body={"file": "(the bytes of a recording)", "model": HEARS, "response_format": "srt"},
            ),
        },
    ),
    "GET /v1/models": Described(answer=Models),
    "GET /v1/models/{model_id}": Described(
        answer=Model,
        examples={
            "one": Example(summary="A model of the catalogue", parameters={"model_id": CHAT}),
            "unknown": Example(summary="One that nobody knows", parameters={"model_id": "no/such-model"}, status=404),
        },
    ),
}
