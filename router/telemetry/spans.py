"""The spans of one request, in the words of OpenTelemetry's GenAI conventions. Values, and no word of what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from backends.types import GenerationInput, GenerationOutput, Task
from router.telemetry import context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.types import InferenceRequest
    from router.outcome import Attempt, Outcome
    from router.rows import Refused
    from router.slate import Plan

Value = str | int | float | bool | list[str]
Kind = Literal["server", "client", "internal"]

MAX_NAME = 128  # of a model: before it is found in the catalogue it is whatever somebody wrote
_OUTPUT = {Task.TEXT_GENERATION: "text", Task.AUTOMATIC_SPEECH_RECOGNITION: "text", Task.TEXT_TO_IMAGE: "image"}


class Span(Struct, frozen=True, kw_only=True):
    """One span: when it began and ended, in nanoseconds since 1970, and what is told of it.

    Attributes:
        parent_id: The span it is part of; None for the first of a trace.
        error: What kind of error it ended with; empty where it did not.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: Kind
    began_ns: int
    ended_ns: int
    attributes: dict[str, Value]
    error: str = ""


def operation(request: InferenceRequest) -> str:
    """What is done, in the conventions' words, or in the hub's where they have none."""
    payload = request.payload
    if isinstance(payload, GenerationInput):
        return "chat" if payload.messages else "text_completion"
    return "embeddings" if request.task is Task.FEATURE_EXTRACTION else request.task.value


def of_outcome(outcome: Outcome, addresses: Mapping[str, tuple[str, int | None]], now_ns: int) -> list[Span]:
    """The request, its decision and each attempt; none where its sender keeps no trace.

    Args:
        outcome: How it ended.
        addresses: Host and port of each provider.
        now_ns: When it ended, in nanoseconds since 1970.
    """
    parent = context.parent_of(outcome.plan.call.traceparent)
    if parent is not None and not parent.sampled:
        return []
    request = _request(outcome, parent, now_ns)
    attempts = [_attempt(request, outcome, number, addresses) for number in range(1, len(outcome.attempts) + 1)]
    return [request, _decision(request, outcome.plan), *attempts]


def of_refusal(refusal: Refused, decision_id: str, now_ns: int) -> list[Span]:
    """A request that was turned away before it was decided; `now_ns` is since 1970."""
    parent = context.parent_of(refusal.traceparent)
    if parent is not None and not parent.sampled:
        return []
    error = type(refusal.error).__name__
    told = {"nearfar.decision_id": decision_id, "nearfar.status": "refused", "error.type": error}
    span = _outermost(refusal.surface, decision_id, parent, (now_ns, now_ns))
    return [replace(span, attributes={**span.attributes, **told}, error=error)]


def _request(outcome: Outcome, parent: context.Parent | None, now_ns: int) -> Span:
    plan, call, winner = outcome.plan, outcome.plan.call, outcome.winner
    error = "" if outcome.error is None else type(outcome.error).__name__
    told: dict[str, Value | None] = {
        "gen_ai.operation.name": operation(call.request),
        "gen_ai.request.model": call.request.model[:MAX_NAME],
        "gen_ai.request.stream": call.request.stream,
        "gen_ai.response.time_to_first_chunk": outcome.first_token_s,
        "error.type": error or None,
        "nearfar.decision_id": plan.decision_id,
        "nearfar.status": outcome.status,
        "nearfar.backend": None if winner is None else winner.backend,
        "nearfar.attempts": len(outcome.attempts),
        "nearfar.cost_usd": outcome.cost.usd,
        "nearfar.cost_source": outcome.cost.source,
        "nearfar.overhead_s": outcome.overhead_s,
    }
    span = _outermost(call.surface, plan.decision_id, parent, (now_ns - round(outcome.latency_s * 1e9), now_ns))
    return replace(span, attributes={**span.attributes, **_known(told)}, error=error)


def _decision(request: Span, plan: Plan) -> Span:
    decided_ns = plan.ts_us * 1000
    told: dict[str, Value] = {
        "nearfar.policy": plan.decision.policy,
        "nearfar.candidates": len(plan.candidates),
        "nearfar.ranked": len(plan.decision.ranked),
    }
    times_ns = (decided_ns - plan.decide_us * 1000, decided_ns)
    return replace(_within(request, context.DECISION, plan.decision_id, "decide", times_ns), attributes=told)


def _attempt(request: Span, outcome: Outcome, number: int, addresses: Mapping[str, tuple[str, int | None]]) -> Span:
    attempt, asked = outcome.attempts[number - 1], outcome.plan.call.request
    candidate = next(c for c in outcome.plan.candidates if c.id == attempt.candidate_id)
    host, port = addresses.get(candidate.through or candidate.target.provider, (None, None))
    done, error = operation(asked), "" if attempt.error is None else type(attempt.error).__name__
    told: dict[str, Value | None] = {
        "gen_ai.operation.name": done,
        "gen_ai.provider.name": candidate.target.provider,
        "gen_ai.request.model": candidate.target.model,
        "gen_ai.output.type": _OUTPUT.get(asked.task),
        "server.address": None if candidate.near else host,
        "server.port": None if candidate.near else port,
        "error.type": error or None,
        "nearfar.role": attempt.role,
        "nearfar.backend": attempt.backend,
        "nearfar.device": attempt.device,
        "nearfar.status": attempt.status,
        "nearfar.cost_usd": attempt.cost.usd,
        **_payload(asked),
        **_answer(attempt),
    }
    began_ns = attempt.started_us * 1000
    times_ns = (began_ns, began_ns + round(attempt.total_s * 1e9))
    name = f"{done} {candidate.target.model}"
    span = _within(request, context.attempt(number), outcome.decision_id, name, times_ns)
    return replace(span, kind="internal" if candidate.near else "client", attributes=_known(told), error=error)


def _payload(request: InferenceRequest) -> dict[str, Value | None]:
    payload = request.payload
    if not isinstance(payload, GenerationInput):
        return {}
    return {"gen_ai.request.max_tokens": payload.max_tokens, "gen_ai.request.temperature": payload.temperature}


def _answer(attempt: Attempt) -> dict[str, Value | None]:
    result = attempt.result
    if result is None:
        return {}
    output = result.output
    return {
        "gen_ai.response.model": result.model[:MAX_NAME],
        "gen_ai.usage.input_tokens": result.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": result.usage.completion_tokens,
        "gen_ai.response.time_to_first_chunk": attempt.first_token_s,
        "gen_ai.response.finish_reasons": [output.finish_reason] if isinstance(output, GenerationOutput) else None,
    }


def _outermost(surface: str, decision_id: str, parent: context.Parent | None, times_ns: tuple[int, int]) -> Span:
    return Span(
        trace_id=context.trace_id(decision_id, parent),
        span_id=context.span_id(decision_id, context.REQUEST),
        parent_id=None if parent is None else parent.span_id,
        name=surface,
        kind="server",
        began_ns=times_ns[0],
        ended_ns=times_ns[1],
        attributes={"http.route" if surface.startswith("/") else "nearfar.surface": surface},
    )


def _within(request: Span, part: str, decision_id: str, name: str, times_ns: tuple[int, int]) -> Span:
    return Span(
        trace_id=request.trace_id,
        span_id=context.span_id(decision_id, part),
        parent_id=request.span_id,
        name=name,
        kind="internal",
        began_ns=times_ns[0],
        ended_ns=max(times_ns),
        attributes={},
    )


def _known(told: Mapping[str, Value | None]) -> dict[str, Value]:
    """What is known: unknown is left out, never 0."""
    return {name: value for name, value in told.items() if value is not None}
