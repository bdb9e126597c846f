"""Turns a request's plan, attempts and end into rows of the decision log, and prices them. Decides nothing.

Streamed and buffered requests come through the same functions, so the same request costs the same either way.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING

import msgspec
import uuid_utils

from backends.errors import (
    ContextLengthExceeded,
    InvalidInput,
    ModelNotFound,
    OutOfMemory,
    Overloaded,
    Timeout,
    Unavailable,
)
from router.decision_log.record import (
    AttemptRow,
    CandidateRow,
    DecisionRow,
    OutcomeRow,
    PolicyRow,
    PriceBookRow,
)
from router.errors import RouterError
from router.outcome import Attempt, Cost, Outcome, total_cost
from router.pricing import priced_usd

if TYPE_CHECKING:
    from backends.errors import BackendError
    from backends.types import InferenceResult, Payload
    from policies.base import Policy
    from router.decision_log.log import DecisionLog
    from router.outcome import Status
    from router.pricing import LocalRates
    from router.settings import LogSettings
    from router.slate import Candidate, Plan

# Refusals that come before the device does anything.
_NEVER_RAN = (ContextLengthExceeded, InvalidInput, ModelNotFound, OutOfMemory, Overloaded, Unavailable)
_ENCODE = msgspec.json.Encoder().encode


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was turned away before anything was decided: what is known of it."""

    error: RouterError
    surface: str
    request_id: str | None = None
    model: str | None = None
    task: str | None = None
    input_bytes: int | None = None


def new_decision_id() -> str:
    """A UUIDv7: unique, and ordered by time."""
    return str(uuid_utils.uuid7())


def now_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class Ledger:
    """Writes every request's rows. Appending neither waits nor fails, so it is safe in a `finally`."""

    def __init__(self, log: DecisionLog, rates: LocalRates, price_book: tuple[str, str], settings: LogSettings) -> None:
        self._log = log
        self._strict = settings.durability == "strict"
        self._rates = rates
        self._price_book, body = price_book
        self._store_inputs = settings.store_inputs
        self._hash_key = secrets.token_bytes(16)  # new at every boot: equal inputs can be seen, none can be guessed
        self._policies: set[str] = set()
        log.append(PriceBookRow(price_book=self._price_book, ts_us=now_us(), body=body))

    def decided(self, plan: Plan, policy: Policy) -> None:
        """Write the decision, before anything is dispatched."""
        version = f"{policy.name}@{policy.version}"
        if version not in self._policies:
            self._policies.add(version)
            body = _ENCODE({"policy": policy.name, "version": policy.version, "parameters": repr(policy)}).decode()
            self._log.append(PolicyRow(policy_version=version, policy=policy.name, ts_us=plan.ts_us, body=body))
        request, routing, decision = plan.call.request, plan.call.routing, plan.decision
        self._log.append(
            DecisionRow(
                decision_id=plan.decision_id,
                ts_us=plan.ts_us,
                seq=self._log.next_seq(),
                surface=plan.call.surface,
                request_id=plan.call.request_id,
                mode="policy",
                policy=decision.policy,
                policy_version=version,
                price_book=self._price_book,
                reason=decision.reason,
                task=request.task.value,
                model=request.model,
                input_tokens=plan.size.input_tokens,
                input_bytes=plan.call.input_bytes,
                output_tokens_est=plan.size.output_tokens,
                batch_items=plan.size.items,
                stream=request.stream,
                deadline_ms=plan.deadline_s * 1000,
                max_cost_usd=routing.max_cost_usd,
                max_latency_ms=routing.max_latency_ms,
                min_quality=routing.min_quality,
                private=routing.private,
                payload_hash=self._hash(request.payload),
                inputs=_ENCODE(request.payload).decode() if self._store_inputs else None,
                candidates=_candidate_rows(plan),
                chosen=decision.ranked[0] if decision.ranked else None,
                decide_us=plan.decide_us,
            )
        )

    def refused(self, refusal: Refused) -> str:
        """Write a request that was turned away before it could be decided, and how it ended. Returns its id."""
        decision_id, ts_us = new_decision_id(), now_us()
        self._log.append(
            DecisionRow(
                decision_id=decision_id,
                ts_us=ts_us,
                seq=self._log.next_seq(),
                surface=refusal.surface,
                request_id=refusal.request_id,
                mode="refused",
                policy=None,
                policy_version=None,
                price_book=self._price_book,
                reason=str(refusal.error),
                task=refusal.task,
                model=refusal.model,
                input_tokens=None,
                input_bytes=refusal.input_bytes,
                output_tokens_est=None,
                batch_items=0,
                stream=False,
                deadline_ms=None,
                max_cost_usd=None,
                max_latency_ms=None,
                min_quality=None,
                private=False,
                payload_hash=None,
                inputs=None,
                candidates=[],
                chosen=None,
                decide_us=0,
            )
        )
        self._log.append(
            OutcomeRow(
                decision_id=decision_id,
                ts_us=ts_us,
                status="refused",
                error_class=type(refusal.error).__name__,
                error=str(refusal.error),
                backend=None,
                provider=None,
                model_served=None,
                device=None,
                attempts=0,
                latency_ms=0.0,
                overhead_ms=0.0,
                first_token_ms=None,
                prompt_tokens=None,
                completion_tokens=None,
                cost_usd=0.0,
                cost_source="measured",
            )
        )
        return decision_id

    def settle(
        self, plan: Plan, attempts: tuple[Attempt, ...], *, status: Status, error: RouterError | None = None
    ) -> Outcome:
        """Write every attempt and the end of the request. Called exactly once per plan, however it ended."""
        latency_s = time.monotonic() - plan.call.received
        won = attempts[-1] if attempts and attempts[-1].result is not None else None
        outcome = Outcome(
            plan=plan,
            status=status,
            attempts=attempts,
            latency_s=latency_s,
            overhead_s=max(0.0, latency_s - sum(a.total_s for a in attempts)),
            cost=total_cost(tuple(a.cost for a in attempts)),
            result=won.result if won is not None else None,
            error=error,
            first_token_s=won.first_token_s if won is not None else None,
        )
        for number, attempt in enumerate(attempts, start=1):
            self._log.append(_attempt_row(plan, number, attempt, won=attempt is won))
        self._log.append(_outcome_row(outcome, won))
        return outcome

    async def acknowledged(self) -> None:
        """Return when an answer may go out: at once, or in strict durability when every row so far is on disk."""
        if self._strict:
            await self._log.committed()

    def price(self, candidate: Candidate, result: InferenceResult) -> Cost:
        """What an answered attempt cost."""
        if candidate.target.backend == "local":
            service_s = result.timings.service_s or 0.0
            return Cost(self._rates.occupancy_usd(service_s / result.batch_size, result.device), "measured")
        usage = result.usage
        if usage.declared_cost_usd is not None:
            return Cost(usage.declared_cost_usd, "declared")
        usd = priced_usd(candidate.price, usage.prompt_tokens, usage.completion_tokens)
        return Cost(usd, "unknown" if usd is None else "priced")

    def price_unanswered(self, candidate: Candidate, error: BackendError | None, held_s: float) -> Cost:
        """What a failed or cancelled attempt cost: near at most the time it held the device, far maybe nobody knows.

        Far, a provider bills only what completed; after a timeout or a broken stream that cannot be told from here.
        """
        if candidate.target.backend == "local":
            busy_s = 0.0 if isinstance(error, _NEVER_RAN) else held_s
            return Cost(self._rates.occupancy_usd(busy_s, candidate.status.device), "measured")
        if error is not None and error.billed is False:
            return Cost(0.0, "priced")
        return Cost(None, "unknown")

    def _hash(self, payload: Payload) -> str:
        return hashlib.blake2b(_ENCODE(payload), digest_size=8, key=self._hash_key).hexdigest()


def _candidate_rows(plan: Plan) -> list[CandidateRow]:
    rejected = {rejection.candidate_id: rejection.reason for rejection in plan.decision.rejections}
    return [
        CandidateRow(
            candidate_id=candidate.id,
            backend=candidate.target.backend,
            provider=candidate.target.provider,
            model=candidate.target.model,
            device=candidate.status.device,
            eligible=candidate.id not in rejected,
            reason=rejected.get(candidate.id),
            warm=candidate.status.loaded,
            queued=candidate.status.queued,
            load_ms=estimate.load_s * 1000,
            queue_ms=estimate.queue_s * 1000,
            pred_ms=estimate.latency_s * 1000,
            pred_source=estimate.latency_source,
            pred_cost_usd=estimate.cost_usd,
            pred_cost_source=estimate.cost_source,
            pred_quality=estimate.quality,
            score=plan.decision.scores.get(candidate.id),
        )
        for candidate, estimate in zip(plan.candidates, plan.estimates, strict=True)
    ]


def _attempt_row(plan: Plan, number: int, attempt: Attempt, *, won: bool) -> AttemptRow:
    timings = attempt.result.timings if attempt.result is not None else None
    usage = attempt.result.usage if attempt.result is not None else None
    batch_size = attempt.result.batch_size if attempt.result is not None else None
    service_s = timings.service_s if timings is not None else None
    return AttemptRow(
        decision_id=plan.decision_id,
        attempt=number,
        ts_us=attempt.started_us,
        role="primary" if number == 1 else "fallback",
        candidate_id=attempt.candidate_id,
        backend=attempt.backend,
        provider=attempt.provider,
        model=attempt.model,
        device=attempt.device,
        status=attempt.status,
        error_class=None if attempt.error is None else type(attempt.error).__name__,
        error=None if attempt.error is None else str(attempt.error),
        censored=attempt.result is None and (attempt.error is None or isinstance(attempt.error, Timeout)),
        won=won,
        total_ms=attempt.total_s * 1000,
        queue_ms=_ms(timings.queue_s) if timings is not None else None,
        load_ms=_ms(timings.load_s) if timings is not None else None,
        service_ms=_ms(service_s),
        first_token_ms=_ms(attempt.first_token_s),
        batch_size=batch_size,
        prompt_tokens=usage.prompt_tokens if usage is not None else None,
        completion_tokens=usage.completion_tokens if usage is not None else None,
        occupancy_ms=service_s / (batch_size or 1) * 1000
        if service_s is not None and attempt.backend == "local"
        else None,
        cost_usd=attempt.cost.usd,
        cost_source=attempt.cost.source,
        provider_request_id=attempt.result.provider_request_id if attempt.result is not None else None,
    )


def _outcome_row(outcome: Outcome, won: Attempt | None) -> OutcomeRow:
    usage = outcome.result.usage if outcome.result is not None else None
    return OutcomeRow(
        decision_id=outcome.decision_id,
        ts_us=now_us(),
        status=outcome.status,
        error_class=None if outcome.error is None else type(outcome.error).__name__,
        error=None if outcome.error is None else str(outcome.error),
        backend=None if won is None else won.backend,
        provider=None if won is None else won.provider,
        model_served=None if won is None else won.model,
        device=None if won is None else won.device,
        attempts=len(outcome.attempts),
        latency_ms=outcome.latency_s * 1000,
        overhead_ms=outcome.overhead_s * 1000,
        first_token_ms=_ms(outcome.first_token_s),
        prompt_tokens=None if usage is None else usage.prompt_tokens,
        completion_tokens=None if usage is None else usage.completion_tokens,
        cost_usd=outcome.cost.usd,
        cost_source=outcome.cost.source,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
