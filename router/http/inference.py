"""The native routes: inference of any task, and its dry run."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.params import JSONBody
from litestar.response import Stream
from msgspec.structs import replace

from backends.types import Delta, Progress, Task
from policies.base import known
from policies.types import Estimate
from router.errors import InvalidRequest, RouterError
from router.http import headers
from router.http.answers import Answer, Whole, answer_of, answered, opened
from router.http.browser import RouteBody, measures_of, page_of, sent, unsent
from router.http.errors import body_of
from router.http.parameters import request_of
from router.http.results import result_of, usage_of
from router.http.schemas import Asked, AttemptAnswer, InferenceAnswer, InferenceBody, routing_of, task_named
from router.http.services import call_of, identity, model_and_routing, request_id, services
from router.outcome import Attempt, Begun, Outcome
from router.reported import OPEN_S
from router.request import Call, Routing
from router.rules import AUTO
from router.slate import Plan

encode = msgspec.json.encode


@post("/v1/inference", status_code=200, opt={"inference": True}, summary="Run one inference, near or far")
async def inference(request: Request[Any, Any, Any], data: JSONBody[InferenceBody]) -> Response[Any]:
    """Decide where the request runs, run it there, and answer with the decision's id, cost and reason."""
    call = await _call(request, data)
    if call.request.stream:
        return await _streamed(request, call)
    answer = await answered(request, call)
    credits_per_usd = services(request).settings.local.credits_per_usd
    body = body_of_answer(call, answer, credits_per_usd, listed=isinstance(data.inputs, list))
    return Whole(body, headers.of_outcome(answer.outcome, request_id(request)))


@post("/v1/route", status_code=200, summary="Dry run: what would be decided, and why")
async def route(request: Request[Any, Any, Any], data: JSONBody[RouteBody]) -> Response[Any]:
    """Find, estimate and decide as `/v1/inference` would. Nothing is executed, nothing is logged.

    A page that says what it could do itself (`browser`) is a candidate. Where it comes first, `report` says by which
    id, and within how many seconds, it is to tell `/v1/decisions/browser` what became of it: that is logged.
    """
    house = services(request)
    plan = await house.dispatcher.plan(await _dry(request, data))
    waits = house.reported.open(plan)
    report = None if waits is None else {"decision_id": waits, "within_s": OPEN_S}
    return Response({"success": True, "executed": False, **slate_of(plan), "report": report})


def slate_of(plan: Plan) -> dict[str, Any]:
    """A plan for a reader: every candidate with its estimate and, where it may not serve, the reason."""
    rejected = {r.candidate_id: r for r in plan.decision.rejections}
    return {
        "task": plan.call.request.task.value,
        "model": plan.call.request.model,
        "policy": plan.decision.policy,
        "policy_version": plan.decision.version,
        "route": plan.route,
        "chosen": plan.decision.ranked[0] if plan.decision.ranked else None,
        "ranked": list(plan.decision.ranked),
        "reason": plan.decision.reason,
        "explore_rate": plan.decision.explore_rate,
        "decide_us": plan.decide_us,
        "candidates": [
            {
                "candidate": estimate.candidate_id,
                "backend": estimate.backend,
                "provider": estimate.provider,
                "device": candidate.status.device,
                "eligible": estimate.candidate_id not in rejected,
                "rejection": rejected[estimate.candidate_id].reason if estimate.candidate_id in rejected else None,
                "loaded": candidate.status.loaded,
                **_figures(estimate),
                "score": plan.decision.scores.get(estimate.candidate_id),
                "propensity": plan.decision.propensity_of(estimate.candidate_id),
            }
            for candidate, estimate in zip(plan.candidates, plan.estimates, strict=True)
        ],
    }


def _figures(estimate: Estimate) -> dict[str, Any]:
    return {
        "latency_ms": _ms(estimate.latency_s),
        "latency_source": estimate.latency_source,
        "p95_ms": None if estimate.latency is None else estimate.latency.p95_s * 1000,
        "first_token_p95_ms": None if estimate.first_token is None else estimate.first_token.p95_s * 1000,
        "load_ms": _ms(estimate.load_s),
        "queue_ms": estimate.queue_s * 1000,
        "cost_usd": estimate.cost_usd,
        "cost_source": estimate.cost_source,
        "quality": estimate.quality,
    }


def _ms(seconds: float) -> float | None:
    """Milliseconds; None of what is not known."""
    return None if known(seconds) is None else seconds * 1000


async def _call(request: Request[Any, Any, Any], body: InferenceBody) -> Call:
    model, task, routing = await _wanted(request, body)
    return call_of(request, request_of(body, model, task, services(request).settings.server.max_batch_items), routing)


async def _dry(request: Request[Any, Any, Any], body: RouteBody) -> Call:
    """The call that is only decided about; without its inputs nothing can be said of answers given before."""
    page, measures = page_of(body.browser), measures_of(body)
    if measures is None:
        return replace(await _call(request, sent(body)), page=page)
    model, task, routing = await _wanted(request, body)
    call = call_of(request, unsent(body, model, task), replace(routing, cache=False))
    return replace(call, page=page, measures=measures)


async def _wanted(request: Request[Any, Any, Any], body: Asked) -> tuple[str, Task, Routing]:
    """The model's name, the task and the routing that a body asks for."""
    given = body.model or body.modelId
    if not given and body.task is None:
        raise InvalidRequest("model: a model id is required where no task is given.", param="model")
    model, routing = model_and_routing(request, given or AUTO, routing_of(body.routing, body.provider))
    task = task_named(body.task or await services(request).dispatcher.task_of(model, identity(request).tenant))
    return model, task, routing


def body_of_answer(call: Call, answer: Answer, credits_per_usd: float, *, listed: bool = False) -> InferenceAnswer:
    """The native response of an answer; `listed` when the inputs were a list."""
    outcome, result, winner = answer
    cost = outcome.cost.usd
    return InferenceAnswer(
        result=result_of(result.output, call.request, listed=listed),
        task=call.request.task.value,
        model=result.model,
        backend=winner.backend,
        provider=result.provider,
        device=result.device,
        decision_id=outcome.decision_id,
        policy=outcome.plan.decision.policy,
        reason=outcome.reason,
        latency_ms=outcome.latency_s * 1000,
        queue_ms=None if result.timings.queue_s is None else result.timings.queue_s * 1000,
        cost_usd=cost,
        cost_credits=None if cost is None else cost * credits_per_usd,
        cost_source=outcome.cost.source,
        usage=usage_of(result.usage),
        attempts=[_attempt(attempt) for attempt in outcome.attempts],
        slate=slate_of(outcome.plan) if call.routing.explain else msgspec.UNSET,
    )


def _attempt(attempt: Attempt) -> AttemptAnswer:
    return AttemptAnswer(
        candidate=attempt.candidate_id,
        status=attempt.status,
        latency_ms=attempt.total_s * 1000,
        cost_usd=attempt.cost.usd,
        error=None if attempt.error is None else f"{type(attempt.error).__name__}: {attempt.error}",
    )


async def _streamed(request: Request[Any, Any, Any], call: Call) -> Response[Any]:
    begun, pieces = await opened(request, call)

    async def events() -> AsyncGenerator[bytes, None]:
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Begun):
                    yield b"event: continued\ndata: " + encode(_continued(piece)) + b"\n\n"
                elif isinstance(piece, Delta):
                    yield b"event: delta\ndata: " + encode({"text": piece.text}) + b"\n\n"
                elif isinstance(piece, Progress):
                    yield b"event: progress\ndata: " + encode({"step": piece.step, "steps": piece.steps}) + b"\n\n"
                elif isinstance(piece, Outcome):
                    yield _last(request, call, piece)

    return Stream(events(), media_type="text/event-stream", headers=headers.of_stream(begun, request_id(request)))


def _continued(begun: Begun) -> dict[str, Any]:
    """Who goes on with a stream that another candidate could not finish, and where in the text that begins."""
    return {
        "backend": begun.backend,
        "provider": begun.provider,
        "model": begun.model,
        "attempts": begun.attempts,
        "from_char": begun.from_char,
    }


def _last(request: Request[Any, Any, Any], call: Call, outcome: Outcome) -> bytes:
    try:
        answer = answer_of(outcome)
    except RouterError as error:
        return b"event: error\ndata: " + encode({"success": False, **body_of(error)}) + b"\n\n"
    body = body_of_answer(call, answer, services(request).settings.local.credits_per_usd)
    return b"event: result\ndata: " + encode(body) + b"\n\n"
