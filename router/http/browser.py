"""The sender's own browser: what a page tells of itself for `/v1/route`, and the route that takes what became of it."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, post
from litestar.params import JSONBody
from msgspec import Meta

from backends.types import InferenceRequest, Task
from router.errors import InvalidRequest
from router.http.schemas import Asked, Body, InferenceBody, NonNegative, Positive
from router.http.services import identity, services
from router.page import Ability, Page, Per, Speed
from router.reported import EMPTY, SURFACE, Ended, Failure, Report
from router.request import Measures

MAX_BYTES = 16_384
MAX_MODELS = 16
PageTask = Literal["feature-extraction", "text-classification", "automatic-speech-recognition"]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Bytes = Annotated[int, Meta(ge=0, le=10**13)]
Threads = Annotated[int, Meta(ge=1, le=1024)]
LongMs = Annotated[float, Meta(ge=0, le=86_400_000)]  # a day
SpeedMs = Annotated[float, Meta(ge=0.000001, le=86_400_000)]
Cosine = Annotated[float, Meta(ge=-1.0001, le=1.0001)]  # of float32 vectors, which may be a little longer than 1


class SpeedBody(Body, kw_only=True, forbid_unknown_fields=True):
    """What the page measured of a model once loaded: milliseconds `per` request, text, token, ... and of how many."""

    per: Per
    p50_ms: SpeedMs
    samples: Annotated[int, Meta(ge=1, le=10**9)]
    p95_ms: SpeedMs | None = None


class AbilityBody(Body, kw_only=True, forbid_unknown_fields=True):
    """One model that the page runs, or could load in `load_ms`. `parity` is the least cosine with this server's vectors."""  # noqa: E501

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    task: PageTask
    loaded: bool = False
    load_ms: LongMs | None = None
    speed: SpeedBody | None = None
    parity: Cosine | None = None
    revision: Word | None = None
    memory_bytes: Bytes | None = None
    device: Literal["wasm", "webgpu"] = "wasm"
    dtype: Word | None = None


class BrowserBody(Body, kw_only=True, forbid_unknown_fields=True):
    """What the page could do itself. All of it is the page's word."""

    models: Annotated[list[AbilityBody], Meta(max_length=MAX_MODELS)]
    memory_bytes: Bytes | None = None
    threads: Threads | None = None
    online: bool = True


class SizeBody(Body, kw_only=True, forbid_unknown_fields=True):
    """How large inputs are that are not sent: how many texts, their tokens together, or seconds of sound."""

    items: Annotated[int, Meta(ge=1, le=100_000)] = 1
    input_tokens: Count | None = None
    audio_s: Positive | None = None


class RouteBody(Asked, kw_only=True, forbid_unknown_fields=True):
    """What is to be decided: either `inputs`, or only their `size`, so that they need not leave the page."""

    inputs: str | list[Any] | None = None
    size: SizeBody | None = None
    browser: BrowserBody | None = None


class ReportBody(Body, kw_only=True, forbid_unknown_fields=True):
    """What became of a request that its page ran: `fell_back` where the server was asked then, in another request."""

    decision_id: Annotated[str, Meta(min_length=1, max_length=64)]
    status: Ended
    latency_ms: LongMs
    load_ms: LongMs | None = None
    failure: Failure | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    audio_s: NonNegative | None = None
    threads: Threads | None = None


@post(SURFACE, status_code=200, request_max_body_size=MAX_BYTES, summary="Say what became of it in the browser")
async def report(request: Request[Any, Any, Any], data: JSONBody[ReportBody]) -> dict[str, Any]:
    """Log a decision of `/v1/route` that chose the sender's page, with how it ended there, as the page says.

    Once, within 15 minutes, and by whom it was made for. The same again is answered the same and changes nothing.
    """
    house = services(request)
    house.reported.take(_report(data), identity(request).tenant)
    await house.dispatcher.acknowledged()
    return {"success": True, "decision_id": data.decision_id, "status": data.status}


def page_of(body: BrowserBody | None) -> Page | None:
    """What a page says of itself, in seconds.

    Raises:
        InvalidRequest: it names a model twice, or a 95th percentile below the median.
    """
    if body is None:
        return None
    names = [(each.model, each.task) for each in body.models]
    if len(set(names)) < len(names):
        raise InvalidRequest("browser.models: a model is listed twice for the same task.", param="browser.models")
    abilities = tuple(map(_ability, body.models))
    return Page(abilities=abilities, memory_bytes=body.memory_bytes, threads=body.threads, online=body.online)


def measures_of(body: RouteBody) -> Measures | None:
    """How large the inputs are, where they were not sent.

    Raises:
        InvalidRequest: neither is given, or both.
    """
    if (body.inputs is None) == (body.size is None):
        raise InvalidRequest("Give either `inputs` or, where they are to stay with you, their `size`.", param="inputs")
    return None if body.size is None else Measures(**msgspec.structs.asdict(body.size))


def unsent(body: RouteBody, model: str, task: Task) -> InferenceRequest:
    """The request whose inputs stay with its sender.

    Raises:
        InvalidRequest: no page does this task, so its inputs have to be sent.
    """
    if task not in EMPTY:
        raise InvalidRequest(f"inputs: {task.value} is decided by what is sent; only {', '.join(EMPTY)} go by `size`.",
                             param="inputs")  # fmt: skip
    if body.parameters or body.stream:
        raise InvalidRequest("parameters, stream: they mean nothing without `inputs`.", param="parameters")
    return InferenceRequest(task=task, model=model, payload=EMPTY[task])


def sent(body: RouteBody) -> InferenceBody:
    """The body of the inference that is to be decided about."""
    common = {name: getattr(body, name) for name in Asked.__struct_fields__}
    return InferenceBody(inputs="" if body.inputs is None else body.inputs, **common)


def _ability(body: AbilityBody) -> Ability:
    return Ability(
        model=body.model,
        task=Task(body.task),
        loaded=body.loaded,
        load_s=_seconds(body.load_ms),
        speed=None if body.speed is None else _speed(body.speed),
        parity=body.parity,
        revision=body.revision,
        memory_bytes=body.memory_bytes,
        device=body.device,
        dtype=body.dtype,
    )


def _speed(body: SpeedBody) -> Speed:
    if body.p95_ms is not None and body.p95_ms < body.p50_ms:
        raise InvalidRequest("browser.models: p95_ms is below p50_ms.", param="browser.models")
    return Speed(per=body.per, p50_s=body.p50_ms / 1000, p95_s=_seconds(body.p95_ms), samples=body.samples)


def _report(body: ReportBody) -> Report:
    if body.load_ms is not None and body.load_ms > body.latency_ms:
        raise InvalidRequest("load_ms: it is a part of latency_ms, and cannot be longer.", param="load_ms")
    failed = body.status in {"error", "fell_back"}
    if body.failure is not None and not failed:
        raise InvalidRequest(f"failure: there is none where the status is {body.status}.", param="failure")
    return Report(
        decision_id=body.decision_id,
        status=body.status,
        took_s=body.latency_ms / 1000,
        load_s=_seconds(body.load_ms),
        failure=body.failure,
        input_tokens=body.input_tokens,
        output_tokens=body.output_tokens,
        audio_s=body.audio_s,
        threads=body.threads,
    )


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000
