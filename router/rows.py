"""From what the router knows to the rows that the log keeps: plain conversions, value in, value out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from backends.errors import Timeout
from backends.types import OWN_MODELS, Timings, Usage
from router.decision_log.record import AttemptRow, CandidateRow, DecisionRow, OutcomeRow
from router.errors import RouterError
from router.outcome import Bases
from router.privacy.redaction import without_inputs, without_values

if TYPE_CHECKING:
    from backends.types import InferenceResult
    from policies.types import Decision, Estimate
    from router.outcome import Attempt, Outcome
    from router.slate import Plan


class Refused(Struct, frozen=True, kw_only=True):
    """A request that was turned away before anything was decided: what is known of it."""

    error: RouterError
    surface: str
    request_id: str | None = None
    model: str | None = None
    task: str | None = None
    input_bytes: int | None = None
    tenant: str = ""
    traceparent: str | None = None  # as `Call.traceparent`


class Under(NamedTuple):
    """What a decision is made under: ids of snapshots."""

    price_book: str
    catalog: str | None


class Hashes(NamedTuple):
    """Keyed hashes of what a request says: of its inputs and of its session; None where there are none."""

    payload: str | None
    session: str | None


def decision_row(plan: Plan, seq: int, under: Under, policy_version: str, hashes: Hashes) -> DecisionRow:
    """A request as it was decided."""
    request, routing, decision = plan.call.request, plan.call.routing, plan.decision
    return DecisionRow(
        decision_id=plan.decision_id,
        ts_us=plan.ts_us,
        seq=seq,
        surface=plan.call.surface,
        request_id=plan.call.request_id,
        mode="policy" if plan.call.pinned is None else "pinned",
        reason=decision.reason,
        price_book=under.price_book,
        task=request.task.value,
        model=request.model,
        input_bytes=plan.call.input_bytes,
        policy=decision.policy,
        policy_version=policy_version,
        input_tokens=plan.size.input_tokens,
        output_tokens_est=plan.size.output_tokens,
        batch_items=plan.size.items,
        stream=request.stream,
        deadline_ms=plan.deadline_s * 1000,
        max_cost_usd=routing.max_cost_usd,
        max_latency_ms=routing.max_latency_ms,
        min_quality=routing.min_quality,
        private=routing.private,
        payload_hash=hashes.payload,
        candidates=_candidate_rows(plan),
        chosen=decision.ranked[0] if decision.ranked else None,
        decide_us=plan.decide_us,
        intent=plan.intent.label if plan.intent else None,
        intent_probability=plan.intent.probability if plan.intent else None,
        tenant=request.tenant or None,
        session=hashes.session,
        route=plan.route,
        catalog=under.catalog,
        **_chance(decision),
    )


def _chance(decision: Decision) -> dict[str, Any]:
    return {
        "explore_rate": decision.explore_rate,
        "draw": decision.draw,
        "explored": decision.explored,
        "propensity": decision.propensity,
    }


def refused_rows(
    refused: Refused, decision_id: str, ts_us: int, seq: int, under: Under
) -> tuple[DecisionRow, OutcomeRow]:
    """A request that was turned away before it could be decided, and its end. Nobody was asked: it cost nothing."""
    decision = DecisionRow(
        decision_id=decision_id,
        ts_us=ts_us,
        seq=seq,
        surface=refused.surface,
        request_id=refused.request_id,
        mode="refused",
        reason=without_values(str(refused.error)),
        price_book=under.price_book,
        task=refused.task,
        model=refused.model,
        input_bytes=refused.input_bytes,
        tenant=refused.tenant or None,
        catalog=under.catalog,
    )
    outcome = OutcomeRow(
        decision_id=decision_id,
        ts_us=ts_us,
        status="refused",
        error_class=type(refused.error).__name__,
        error=without_values(str(refused.error)),
        cost_usd=0.0,
        cost_source="measured",
    )
    return decision, outcome


def _candidate_rows(plan: Plan) -> list[CandidateRow]:
    rejected = {rejection.candidate_id: rejection for rejection in plan.decision.rejections}
    return [
        CandidateRow(
            candidate_id=candidate.id,
            backend=candidate.target.backend,
            provider=candidate.target.provider,
            model=candidate.target.model,
            device=candidate.status.device,
            eligible=candidate.id not in rejected,
            reason=rejected[candidate.id].reason if candidate.id in rejected else None,
            code=rejected[candidate.id].code if candidate.id in rejected else None,
            near=candidate.near,
            warm=candidate.status.loaded,
            queued=candidate.status.queued,
            load_ms=milliseconds(estimate.load_s),
            queue_ms=milliseconds(estimate.queue_s),
            pred_ms=milliseconds(estimate.latency_s),
            pred_source=estimate.latency_source,
            pred_cost_usd=_expected(estimate.cost_usd),
            pred_cost_source=estimate.cost_source,
            pred_quality=estimate.quality,
            score=_expected(plan.decision.scores.get(candidate.id)),
            propensity=plan.decision.propensity_of(candidate.id),
            **_quantiles(estimate),
        )
        for candidate, estimate in zip(plan.candidates, plan.estimates, strict=True)
    ]


def _quantiles(estimate: Estimate) -> dict[str, Any]:
    whole, first = estimate.latency, estimate.first_token
    return {
        "p90_ms": None if whole is None else milliseconds(whole.p90_s),
        "p95_ms": None if whole is None else milliseconds(whole.p95_s),
        "p99_ms": None if whole is None else milliseconds(whole.p99_s),
        "first_token_ms": None if first is None else milliseconds(first.p50_s),
        "first_token_p95_ms": None if first is None else milliseconds(first.p95_s),
    }


def attempt_row(plan: Plan, number: int, attempt: Attempt, *, won: bool) -> AttemptRow:
    """One attempt of a plan; its number counts from 1."""
    result = attempt.result
    return AttemptRow(
        decision_id=plan.decision_id,
        attempt=number,
        ts_us=attempt.started_us,
        role=attempt.role,
        candidate_id=attempt.candidate_id,
        backend=attempt.backend,
        provider=attempt.provider,
        model=attempt.model,
        device=attempt.device,
        status=attempt.status,
        error_class=None if attempt.error is None else type(attempt.error).__name__,
        error=_said(attempt.error, plan),
        censored=result is None and (attempt.error is None or isinstance(attempt.error, Timeout)),
        won=won,
        total_ms=milliseconds(attempt.total_s),
        first_token_ms=_ms(attempt.first_token_s),
        batch_size=None if result is None else result.batch_size,
        occupancy_ms=None if result is None or attempt.backend not in OWN_MODELS else _ms(occupied_s(result)),
        cost_usd=attempt.cost.usd,
        cost_source=attempt.cost.source,
        provider_request_id=None if result is None else result.provider_request_id,
        from_char=attempt.from_char,
        confidence=attempt.confidence,
        replica=attempt.replica,
        **_times(result.timings if result is not None else Timings()),
        **_used(result.usage if result is not None else Usage()),
        **_bases(attempt.cost.bases or Bases()),
    )


def _times(timings: Timings) -> dict[str, Any]:
    return {
        "queue_ms": _ms(timings.queue_s),
        "load_ms": _ms(timings.load_s),
        "service_ms": _ms(timings.service_s),
        "pre_ms": _ms(timings.pre_s),
        "post_ms": _ms(timings.post_s),
    }


def _used(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "images": usage.images,
        "audio_s": usage.audio_s,
        "cached_tokens": usage.cached_tokens,
        "compute_ms": _ms(usage.compute_s),
        "usage_raw": usage.raw,
    }


def _bases(bases: Bases) -> dict[str, Any]:
    return {
        "cost_occupancy_usd": bases.occupancy_usd,
        "cost_marginal_usd": bases.marginal_usd,
        "cost_amortised_usd": bases.amortised_usd,
        "energy_j": bases.energy_j,
        "energy_source": bases.energy_source,
    }


def occupied_s(result: InferenceResult) -> float | None:
    """Seconds a near answer held the device by itself: its own share of a batch, or an equal one where none is told."""
    timings = result.timings
    if timings.device_s is not None or timings.service_s is None:
        return timings.device_s
    return timings.service_s / result.batch_size


def outcome_row(outcome: Outcome, won: Attempt | None, ts_us: int) -> OutcomeRow:
    """How a request ended; `won` is the attempt that answered it."""
    usage = outcome.result.usage if outcome.result is not None else None
    return OutcomeRow(
        decision_id=outcome.decision_id,
        ts_us=ts_us,
        status=outcome.status,
        error_class=None if outcome.error is None else type(outcome.error).__name__,
        error=_said(outcome.error, outcome.plan),
        backend=None if won is None else won.backend,
        provider=None if won is None else won.provider,
        model_served=None if won is None else won.model,
        device=None if won is None else won.device,
        attempts=len(outcome.attempts),
        latency_ms=milliseconds(outcome.latency_s),
        overhead_ms=milliseconds(outcome.overhead_s),
        first_token_ms=_ms(outcome.first_token_s),
        prompt_tokens=None if usage is None else usage.prompt_tokens,
        completion_tokens=None if usage is None else usage.completion_tokens,
        cost_usd=outcome.cost.usd,
        cost_source=outcome.cost.source,
    )


def _said(error: Exception | None, plan: Plan) -> str | None:
    """An error in words, without what of the request a far side may have repeated in them."""
    return None if error is None else without_inputs(str(error), plan.call.request.payload)


def milliseconds(seconds: float) -> float:
    """To the microsecond: what is below was never measured, and would fill the log with digits that mean nothing."""
    return round(seconds * 1000, 3)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else milliseconds(seconds)


def _expected(figure: float | None) -> float | None:
    """What was expected, to twelve places: more than any estimate knows. What was paid is kept exactly."""
    return None if figure is None else round(figure, 12)
