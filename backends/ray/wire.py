"""What crosses between router, driver and replica: MessagePack of our own values. No class of ours is pickled.

A frame is a value's class by name, and the value. Errors cross as frames, too: a replica raises only for bugs.
"""

from __future__ import annotations

import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from backends import errors
from backends.errors import BackendError
from backends.ray.options import Opening
from backends.ray.seen import Seen
from backends.reports import LoadReport
from backends.types import (
    ClassificationInput,
    ClassificationOutput,
    Delta,
    DrawingInput,
    DrawingOutput,
    EmbeddingInput,
    EmbeddingOutput,
    GenerationInput,
    GenerationOutput,
    InferenceRequest,
    InferenceResult,
    PhotoInput,
    Progress,
    SpeechInput,
    Status,
    Target,
    Timings,
    TranscriptOutput,
    Usage,
    ZeroShotInput,
)

if TYPE_CHECKING:
    from backends.types import Piece


class Frame(Struct, frozen=True, array_like=True):
    """A value of one of several classes."""

    kind: str
    body: Raw


class Ask(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request as it crosses: clocks of two machines have nothing in common, so its deadline is what is left of it."""

    target: Target
    payload: Frame
    stream: bool = False
    tenant: str = ""
    background: bool = False
    left_s: float | None = None


class Served(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer as it crosses. `inside_s` is what it took in the replica altogether."""

    output: Frame
    usage: Usage
    timings: Timings
    model: str
    device: str
    batch_size: int
    inside_s: float


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of our errors as it crosses."""

    message: str
    retry_after_s: float | None = None
    http_status: int | None = None


class Described(Struct, frozen=True, kw_only=True):
    """What a replica says of itself: how its model stands, and what loading it took and measured."""

    status: Status
    report: LoadReport


class Standing(Struct, frozen=True, kw_only=True):
    """Every application of a cluster by name, as it stands."""

    applications: dict[str, Seen]


_VALUES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        EmbeddingInput, ClassificationInput, ZeroShotInput, GenerationInput, DrawingInput, PhotoInput, SpeechInput,
        EmbeddingOutput, ClassificationOutput, GenerationOutput, DrawingOutput, TranscriptOutput,
        Delta, Progress, Served, Described, LoadReport, Standing,
    )
}  # fmt: skip
_ERRORS: dict[str, type[BackendError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, BackendError)
}


def _to_plain(value: Any) -> Any:
    if isinstance(value, array):
        return value.tobytes()
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value).__name__)


def _from_plain(kind: type, value: Any) -> Any:
    if kind is array:
        return array("f", value)
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind.__name__)


_encode = msgspec.msgpack.Encoder(enc_hook=_to_plain).encode
_decoders = {
    name: msgspec.msgpack.Decoder(kind, dec_hook=_from_plain).decode
    for name, kind in (_VALUES | {"Ask": Ask, "Frame": Frame, "Failure": Failure, "Opening": Opening}).items()
}


def opening(value: Opening) -> bytes:
    """What a replica is told when it starts."""
    return _encode(value)


def opened(body: bytes) -> Opening:
    """The same, in the replica."""
    told: Opening = _decoders["Opening"](body)
    return told


def ask(request: InferenceRequest, target: Target) -> bytes:
    """A request, for a replica."""
    left_s = None if request.deadline is None else request.deadline - time.monotonic()
    return _encode(
        Ask(
            target=target,
            payload=_frame(request.payload),
            stream=request.stream,
            tenant=request.tenant,
            background=request.background,
            left_s=left_s,
        )
    )


def asked(body: bytes) -> tuple[InferenceRequest, Target]:
    """The same, in the replica, with a deadline by its own clock."""
    told: Ask = _decoders["Ask"](body)
    request = InferenceRequest(
        task=told.target.task,
        model=told.target.model,
        payload=_value(told.payload),
        stream=told.stream,
        tenant=told.tenant,
        background=told.background,
        deadline=None if told.left_s is None else time.monotonic() + told.left_s,
    )
    return request, told.target


def piece(value: Piece) -> bytes:
    """A piece of an answer."""
    return _encode(_frame(value))


def described(status: Status, report: LoadReport) -> bytes:
    """How a replica stands."""
    return _encode(_frame(Described(status=status, report=report)))


def report(value: LoadReport) -> bytes:
    """What was measured."""
    return _encode(_frame(value))


def standing(applications: dict[str, Seen]) -> bytes:
    """How a cluster stands."""
    return _encode(_frame(Standing(applications=applications)))


def result(value: InferenceResult, inside_s: float) -> bytes:
    """A whole answer, and what it took in the replica altogether."""
    served = Served(
        output=_frame(value.output),
        usage=value.usage,
        timings=value.timings,
        model=value.model,
        device=value.device,
        batch_size=value.batch_size,
        inside_s=inside_s,
    )
    return _encode(_frame(served))


def failure(error: BackendError) -> bytes:
    """One of our errors."""
    said = Failure(message=str(error), retry_after_s=error.retry_after_s, http_status=error.http_status)
    return _encode(Frame(type(error).__name__, Raw(_encode(said))))


def value_of(body: bytes) -> Any:
    """What a replica or the driver sent: a piece, an answer as it crossed, or what it was asked of itself.

    Raises:
        BackendError: what it failed with.
    """
    frame: Frame = _decoders["Frame"](body)
    kind = _ERRORS.get(frame.kind)
    if kind is not None:
        said: Failure = _decoders["Failure"](frame.body)
        raise kind(said.message, retry_after_s=said.retry_after_s, http_status=said.http_status)
    return _value(frame)


def answer(served: Served, target: Target, outside_s: float, *, cold: bool) -> InferenceResult:
    """The answer of a target. What it took outside of the replica is waiting: for one to start, or for its turn."""
    timings = served.timings
    if cold:
        timings = replace(timings, load_s=(timings.load_s or 0.0) + outside_s)
    else:
        timings = replace(timings, queue_s=(timings.queue_s or 0.0) + outside_s)
    return InferenceResult(
        output=_value(served.output),
        usage=served.usage,
        timings=timings,
        provider=target.provider,
        model=served.model,
        device=served.device,
        batch_size=served.batch_size,
    )


def _frame(value: Any) -> Frame:
    return Frame(type(value).__name__, Raw(_encode(value)))


def _value(frame: Frame) -> Any:
    return _decoders[frame.kind](frame.body)
