"""The values that cross a backend's door: what is asked, of whom, and what came back. No I/O, no heavy import.

Units: seconds, bytes, tokens. Vectors are `array('f')`, float32, so that a thin install needs no numpy.
"""

from __future__ import annotations

from array import array
from enum import StrEnum
from typing import Literal

from msgspec import Struct


class Task(StrEnum):
    """What is asked of a model, by the hub's own task names."""

    FEATURE_EXTRACTION = "feature-extraction"
    TEXT_CLASSIFICATION = "text-classification"
    ZERO_SHOT_CLASSIFICATION = "zero-shot-classification"
    TEXT_GENERATION = "text-generation"


class EmbeddingInput(Struct, frozen=True, kw_only=True):
    """Texts to embed. `dimensions` keeps the first n components; `truncate` cuts texts past the model's limit."""

    texts: tuple[str, ...]
    normalize: bool = True
    dimensions: int | None = None
    truncate: bool = True


class ClassificationInput(Struct, frozen=True, kw_only=True):
    """Texts to classify; `top_k` labels each, all of them when None."""

    texts: tuple[str, ...]
    top_k: int | None = None


class ZeroShotInput(Struct, frozen=True, kw_only=True):
    """Texts to classify among labels given with the request; `{}` in the template stands for a label."""

    texts: tuple[str, ...]
    candidate_labels: tuple[str, ...]
    multi_label: bool = False
    hypothesis_template: str | None = None


class Message(Struct, frozen=True):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class GenerationInput(Struct, frozen=True, kw_only=True):
    """A prompt or a chat to continue: exactly one of `prompt` and `messages` is given.

    A parameter that is None is the model's own default.
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


Payload = EmbeddingInput | ClassificationInput | ZeroShotInput | GenerationInput


class InferenceRequest(Struct, frozen=True, kw_only=True):
    """One request, validated: from here on nobody checks shapes again."""

    task: Task
    model: str
    payload: Payload
    stream: bool = False


class Target(Struct, frozen=True, kw_only=True):
    """Whom a backend should ask: one model at one place.

    Attributes:
        backend: `local`, `remote` or `fake`.
        provider: `local`, or the name of the provider that serves a remote model.
        model: The model's name there.
        task: What it would be asked to do.
        source: local only: a directory, `package:NAME` or `hub`.
        revision: Revision on the hub; None is its default branch.
        parameters: Number of weights, where known; sizes memory and time.
        script: fake only: what it should pretend (see `backends.fake.Script`), as JSON-able pairs.
    """

    backend: str
    provider: str
    model: str
    task: Task
    source: str | None = None
    revision: str | None = None
    parameters: int | None = None
    script: tuple[tuple[str, str | int | float | bool], ...] = ()


class Status(Struct, frozen=True, kw_only=True):
    """A target's state at this instant, cheap to ask.

    Attributes:
        unavailable: Why it cannot serve right now; None when it can.
        does_not_fit: Why the model does not fit this machine; None when it does (or is far).
        loaded: True when no load time would be paid.
        device: `cpu`, `cuda:0`, `mps`; `remote` when far.
        dtype: `float32`, `bfloat16`, `float16`; None when far.
        queued: Requests accepted and not yet answered.
        memory_bytes: What it occupies, or would.
    """

    unavailable: str | None = None
    does_not_fit: str | None = None
    loaded: bool = False
    device: str = "remote"
    dtype: str | None = None
    queued: int = 0
    memory_bytes: int | None = None


class LoadReport(Struct, frozen=True, kw_only=True):
    """What loading a model measured.

    `service_s` is the time of one warm-up request of `input_tokens` and `output_tokens` tokens; None when the backend
    measured none.
    """

    load_s: float
    service_s: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0


class LabelScore(Struct, frozen=True):
    """A label and its probability in 0..1."""

    label: str
    score: float


class EmbeddingOutput(Struct, frozen=True):
    """One float32 vector a text, in the order of the texts."""

    vectors: tuple[array, ...]  # type: ignore[type-arg]  # array[float] is not subscriptable for msgspec


class ClassificationOutput(Struct, frozen=True):
    """For each text its labels, best first. Also the answer of zero-shot classification."""

    labels: tuple[tuple[LabelScore, ...], ...]


class GenerationOutput(Struct, frozen=True):
    """The whole generated text. `finish_reason` is `stop` (the model ended or a stop string came) or `length`."""

    text: str
    finish_reason: Literal["stop", "length"]


Output = EmbeddingOutput | ClassificationOutput | GenerationOutput


class Usage(Struct, frozen=True, kw_only=True):
    """What was consumed; None where nobody counted. `declared_cost_usd` is a price the provider itself stated."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    declared_cost_usd: float | None = None


class Timings(Struct, frozen=True, kw_only=True):
    """Where the seconds of one attempt went; None where it was not measured (a far queue cannot be seen)."""

    queue_s: float | None = None
    load_s: float | None = None
    service_s: float | None = None
    first_token_s: float | None = None


class InferenceResult(Struct, frozen=True, kw_only=True):
    """A complete answer. `provider`, `model` and `device` are those that really served, not those asked."""

    output: Output
    usage: Usage
    timings: Timings
    provider: str
    model: str
    device: str
    batch_size: int = 1
    provider_request_id: str | None = None


class Delta(Struct, frozen=True):
    """A piece of generated text, as soon as it exists; near, with the seconds of device time held so far."""

    text: str
    service_s: float | None = None
