"""The values that cross a backend's door: what is asked, of whom, and what came back. No I/O, no heavy import.

Units: seconds, bytes, tokens. Vectors are `array('f')`, float32, so that a thin install needs no numpy.
"""

from __future__ import annotations

from array import array
from enum import StrEnum
from typing import Literal

from msgspec import Struct

from backends.extras import Choice, Extras


class Task(StrEnum):
    """What is asked of a model, by the hub's own task names."""

    FEATURE_EXTRACTION = "feature-extraction"
    TEXT_CLASSIFICATION = "text-classification"
    ZERO_SHOT_CLASSIFICATION = "zero-shot-classification"
    TEXT_GENERATION = "text-generation"
    TEXT_TO_IMAGE = "text-to-image"
    IMAGE_CLASSIFICATION = "image-classification"
    AUTOMATIC_SPEECH_RECOGNITION = "automatic-speech-recognition"


class EmbeddingInput(Struct, frozen=True, kw_only=True):
    """Texts to embed. `dimensions` keeps the first n components.

    A text past the model's limit is refused, unless `truncate` asks for it to be cut. `tokens` are texts by the numbers
    of the model's own vocabulary; then there are no `texts`.
    """

    texts: tuple[str, ...] = ()
    tokens: tuple[tuple[int, ...], ...] = ()
    normalize: bool = True
    dimensions: int | None = None
    truncate: bool = False


class ClassificationInput(Struct, frozen=True, kw_only=True):
    """Texts to classify; `top_k` labels each, all of them when None. `truncate` as in `EmbeddingInput`."""

    texts: tuple[str, ...]
    top_k: int | None = None
    truncate: bool = False


class ZeroShotInput(Struct, frozen=True, kw_only=True):
    """Texts to classify among labels given with the request; `{}` in the template stands for a label."""

    texts: tuple[str, ...]
    candidate_labels: tuple[str, ...]
    multi_label: bool = False
    hypothesis_template: str | None = None
    truncate: bool = False


class Message(Struct, frozen=True):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class GenerationInput(Struct, frozen=True, kw_only=True):
    """A prompt or a chat to continue: exactly one of `prompt` and `messages` is given.

    A parameter that is None is the model's own default.

    Attributes:
        partial: The beginning of the answer, said already: what is generated goes on from there.
        extras: What is asked beyond plain text; None for nothing.
    """

    prompt: str | None = None
    messages: tuple[Message, ...] = ()
    max_tokens: int = 256
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    partial: str = ""
    extras: Extras | None = None


class DrawingInput(Struct, frozen=True, kw_only=True):
    """A prompt to draw `images` times. A parameter that is None is the model's own default.

    Attributes:
        width, height: Pixels.
        seed: Of the first image; each further one has the next. None draws a new one.
    """

    prompt: str
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    images: int = 1


class PhotoInput(Struct, frozen=True, kw_only=True):
    """Encoded images (PNG, JPEG, WebP, GIF, BMP) to classify; `top_k` labels each, all of them when None."""

    images: tuple[bytes, ...]
    top_k: int | None = None


class SpeechInput(Struct, frozen=True, kw_only=True):
    """An encoded recording (WAV, FLAC, MP3, Ogg, WebM) to write down.

    Attributes:
        language: ISO 639-1 code of what is spoken; None lets the model find out.
        timestamps: `word` asks for the time of each word; segments always have theirs.
    """

    audio: bytes
    language: str | None = None
    timestamps: Literal["segment", "word"] = "segment"


Payload = (
    EmbeddingInput | ClassificationInput | ZeroShotInput | GenerationInput | DrawingInput | PhotoInput | SpeechInput
)


class Limits(Struct, frozen=True, kw_only=True):
    """How long one attempt may take, in seconds; None leaves it to the provider's own settings.

    Attributes:
        first_token_s: Until the first piece of a stream, or the headers of a short answer.
        idle_s: Between two pieces.
        total_s: Altogether.
    """

    first_token_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None


class InferenceRequest(Struct, frozen=True, kw_only=True):
    """One request, validated: from here on nobody checks shapes again.

    Attributes:
        tenant: Whose request it is: a queue serves tenants in turn.
        background: Nobody sits and waits for the answer: a queue serves everybody else first.
        interruptible: Likewise, and it may be stopped near, as it is asked again then.
        deadline: Monotonic seconds after which nobody waits for the answer; None waits for ever.
        limits: Time limits of a far attempt.
        traceparent: Where the attempt stands in a trace (W3C Trace Context), for the far side to go on from.
    """

    task: Task
    model: str
    payload: Payload
    stream: bool = False
    tenant: str = ""
    background: bool = False
    interruptible: bool = False
    deadline: float | None = None
    limits: Limits = Limits()
    traceparent: str | None = None


class Target(Struct, frozen=True, kw_only=True):
    """Whom a backend should ask: one model at one place.

    Attributes:
        backend: `local`, `ray`, `remote` or `fake`.
        provider: `local`, or the name of the provider that serves a remote model.
        model: The model's name there.
        task: What it would be asked to do.
        source: local and ray only: a directory, `package:NAME` or `hub`.
        revision: Revision on the hub; None is its default branch.
        parameters: Number of weights, where known; sizes memory and time.
        continues: remote only: goes on from `GenerationInput.partial` in a chat.
        runtime: local only: what must compute it (`torch`, `onnx`, ...); None takes what was measured to be best.
        head: local only: the intents that text-classification tells apart, by the name of their set.
        shape: ray only: what its deployment has otherwise than all of them (see `backends.ray.options.Shape`).
        script: fake only: what it should pretend (see `backends.fake.Script`), as JSON-able pairs.
    """

    backend: str
    provider: str
    model: str
    task: Task
    source: str | None = None
    revision: str | None = None
    parameters: int | None = None
    runtime: str | None = None
    head: str | None = None
    continues: bool = False
    shape: tuple[tuple[str, int | float], ...] = ()
    script: tuple[tuple[str, str | int | float | bool], ...] = ()


OWN_MODELS = frozenset({"local", "ray"})
"""Backends that compute with our own near side: they say how long an answer held the device."""


class Status(Struct, frozen=True, kw_only=True):
    """A target's state at this instant, cheap to ask.

    Attributes:
        unavailable: Why it cannot serve right now; None when it can.
        back_in_s: Seconds until it is looked at again, where that it is unavailable passes by itself; else None.
        does_not_fit: Why the model does not fit this machine; None when it does (or is far).
        loaded: True when no load time would be paid.
        device: `cpu`, `cuda:0`, `mps`; `remote` when far.
        dtype: `float32`, `bfloat16`, `float16`; None when far.
        queued: Requests accepted and not yet answered.
        queue_s: How long a new request would wait for its turn; None where only its number in the queue is known.
        queue_turns: Likewise far, in answers' times: how many of them pass before its turn; None where nobody knows.
        together: How many requests usually share a far server's time; None where nobody knows.
        runtime: What computes it (`torch`, `onnx`, ...); None when far or not loaded.
        loads: How often it was loaded since the start.
        memory_bytes: What it occupies, or would.
        features: What of a generation's `extras` it can do.
    """

    unavailable: str | None = None
    back_in_s: float | None = None
    does_not_fit: str | None = None
    loaded: bool = False
    device: str = "remote"
    dtype: str | None = None
    queued: int = 0
    queue_s: float | None = None
    queue_turns: float | None = None
    together: float | None = None
    memory_bytes: int | None = None
    runtime: str | None = None
    loads: int = 0
    features: frozenset[str] = frozenset()


class Usage(Struct, frozen=True, kw_only=True):
    """What was consumed; None where nobody counted. `declared_cost_usd` is a price the provider itself stated.

    Attributes:
        images: Images drawn or looked at.
        pixel_steps: Pixels drawn, times the steps each took.
        audio_s: Seconds of sound heard.
        cached_tokens: Of `prompt_tokens`, those the far side had read before.
        compute_s: Seconds of compute as the far side states them; of an engine of one's own, its share of the time.
        steps: Of all drawings together.
        raw: The far side's own words on usage, as JSON.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    images: int | None = None
    pixel_steps: int | None = None
    audio_s: float | None = None
    declared_cost_usd: float | None = None
    cached_tokens: int | None = None
    compute_s: float | None = None
    steps: int | None = None
    raw: str | None = None


class LabelScore(Struct, frozen=True):
    """A label and its probability in 0..1."""

    label: str
    score: float


class EmbeddingOutput(Struct, frozen=True):
    """One float32 vector a text, in the order of the texts."""

    vectors: tuple[array, ...]  # type: ignore[type-arg]  # array[float] is not subscriptable for msgspec


class ClassificationOutput(Struct, frozen=True):
    """For each text or image its labels, best first. Also the answer of zero-shot classification."""

    labels: tuple[tuple[LabelScore, ...], ...]


class GenerationOutput(Struct, frozen=True):
    """The whole generated text.

    Attributes:
        finish_reason: `stop` (the model ended or a stop string came), `length`, or `tool_calls`: it wants functions
            called that it was told of.
        confidence: The geometric mean of its tokens' probabilities, in 0..1; None where the backend does not know them.
        choices: Where more than text was asked (`extras`), every answer whole; text and finish reason are the first's.
    """

    text: str
    finish_reason: Literal["stop", "length", "tool_calls"]
    confidence: float | None = None
    choices: tuple[Choice, ...] = ()


class DrawingOutput(Struct, frozen=True):
    """PNG files and the seed of each; None where a far side does not say."""

    images: tuple[bytes, ...]
    seeds: tuple[int | None, ...]


class Span(Struct, frozen=True):
    """Words, and when they are spoken: seconds from the start; `end_s` None where it is not known."""

    text: str
    start_s: float
    end_s: float | None


class TranscriptOutput(Struct, frozen=True, kw_only=True):
    """What was said. `words` is empty unless their times were asked for.

    Attributes:
        confidence: The geometric mean of its tokens' probabilities, times that of being speech, in 0..1; None where the
            backend does not know them.
    """

    text: str
    language: str | None = None
    segments: tuple[Span, ...] = ()
    words: tuple[Span, ...] = ()
    confidence: float | None = None


Output = EmbeddingOutput | ClassificationOutput | GenerationOutput | DrawingOutput | TranscriptOutput


class Timings(Struct, frozen=True, kw_only=True):
    """Where the seconds of one attempt went; None where it was not measured (few far sides tell of their queue).

    Attributes:
        queue_s: Waiting for its turn.
        load_s: Loading the model for it.
        pre_s: Tokenising or decoding the input.
        service_s: On the device, those it was batched with included: what its sender waited for.
        device_s: Its own share of that: what it costs.
        post_s: Making an answer of what the model gave.
        first_token_s: From the start of its service to the first piece of the answer.
    """

    queue_s: float | None = None
    load_s: float | None = None
    pre_s: float | None = None
    service_s: float | None = None
    device_s: float | None = None
    post_s: float | None = None
    first_token_s: float | None = None


class InferenceResult(Struct, frozen=True, kw_only=True):
    """A complete answer. `provider`, `model` and `device` are those that really served, not those asked.

    `replica` says which of the candidate's servers it was, where there are several.
    """

    output: Output
    usage: Usage
    timings: Timings
    provider: str
    model: str
    device: str
    batch_size: int = 1
    provider_request_id: str | None = None
    replica: str | None = None


class Delta(Struct, frozen=True):
    """A piece of generated or recognised text, as soon as it exists; near, with the seconds of device time so far.

    Where more than text was asked (`extras`), `choices` are the parts it adds, and `text` what of them is the first's.
    """

    text: str
    service_s: float | None = None
    choices: tuple[Choice, ...] = ()


class Progress(Struct, frozen=True):
    """A step of a drawing is done; near, with the seconds of device time held so far."""

    step: int
    steps: int
    service_s: float | None = None


Piece = Delta | Progress
"""What a stream yields before its result."""
