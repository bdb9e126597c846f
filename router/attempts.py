"""Walks a decision's ranking until somebody answers. Streamed or buffered, a failure is in the outcome, never raised.

Until the first piece of a stream exists nothing has reached the sender, so the next candidate may take over unseen;
afterwards a failure ends the stream with an error, never with a truncated success.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace

from backends.errors import BackendError, Overloaded, RemoteError, Timeout
from backends.types import Delta, InferenceResult, Piece, Task
from router.errors import AllAttemptsFailed, DeadlineExceeded, FailedAttempt
from router.ledger import now_us
from router.outcome import Attempt, Begun, Outcome, Said

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from backends.base import Backend
    from backends.types import LoadReport
    from router.availability import Breakers
    from router.errors import RouterError
    from router.estimates import Estimator
    from router.ledger import Ledger
    from router.outcome import Status
    from router.slate import Candidate, Plan, Size


class Attempts:
    """Runs plans against the backends and learns from what happens."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        ledger: Ledger,
        estimator: Estimator,
        breakers: Breakers,
        *,
        max_attempts: int,
    ) -> None:
        self._backends = backends
        self._ledger = ledger
        self._estimator = estimator
        self._breakers = breakers
        self._max_attempts = max_attempts

    async def stream(self, plan: Plan) -> AsyncGenerator[Begun | Piece | Outcome, None]:
        """Yield `Begun`, each piece, then the outcome. Closing it early cancels the work and settles."""
        attempts: list[Attempt] = []
        settled = False
        status: Status = "error"  # what stays when a bug escapes a backend; it is raised on
        try:
            async with aclosing(self._walk(plan, attempts)) as pieces:
                async for piece in pieces:
                    yield piece
            status, error = _conclude(plan, attempts)
            settled = True
            yield self._ledger.settle(plan, tuple(attempts), status=status, error=error)
        except (asyncio.CancelledError, GeneratorExit):
            status = "cancelled"
            raise
        finally:
            if not settled:
                error = _conclude(plan, attempts)[1] if status == "error" else None
                self._ledger.settle(plan, tuple(attempts), status=status, error=error)

    async def warm(self, candidate: Candidate, *, thorough: bool = False) -> LoadReport:
        """Load a near candidate's model and learn what loading measured.

        Raises:
            BackendError: it cannot be loaded.
        """
        report = await self._backends[candidate.target.backend].load(candidate.target, thorough=thorough)
        self._estimator.learn_load(candidate, report, "calibrated" if thorough else "warm-up")
        return report

    def _order(self, plan: Plan) -> list[Candidate]:
        """Whom to try: the ranking, cut where another vector space would begin."""
        ranked = plan.ranked()
        if plan.call.request.task is Task.FEATURE_EXTRACTION:
            ranked = [c for c in ranked if c.vector_space == ranked[0].vector_space]
        return ranked[: self._max_attempts if plan.call.routing.allow_fallbacks else 1]

    async def _walk(self, plan: Plan, attempts: list[Attempt]) -> AsyncGenerator[Begun | Piece, None]:
        for candidate in self._order(plan):
            now = time.monotonic()
            if now >= _deadline(plan):
                return
            if attempts and self._breakers.refusal(candidate.id, now) is not None:
                continue  # it broke since the decision
            sent = False
            async with aclosing(self._attempt(plan, candidate, attempts)) as pieces:
                async for piece in pieces:
                    if not sent:
                        sent = True
                        yield _begun(plan, candidate, len(attempts) + 1)
                    yield piece
            failure = attempts[-1].error
            if failure is None or sent or not failure.elsewhere:
                return

    async def _attempt(self, plan: Plan, candidate: Candidate, attempts: list[Attempt]) -> AsyncGenerator[Piece, None]:
        """Call one backend once, and always leave one finished attempt behind."""
        clock = _Stopwatch()
        result: InferenceResult | None = None
        error: BackendError | None = RemoteError("internal error")  # what stays when a bug escapes the backend
        probe = self._breakers.begin(candidate.id)
        try:
            async with aclosing(self._pieces(plan, candidate)) as pieces:
                async for piece in _until(pieces, _deadline(plan)):
                    if isinstance(piece, InferenceResult):
                        result = piece
                        break
                    clock.token(piece)
                    yield piece
            error = None if result is not None else RemoteError(f"{candidate.id} ended without a complete answer")
        except BackendError as caught:
            error = caught
        except (asyncio.CancelledError, GeneratorExit):
            error = None
            raise
        finally:
            attempts.append(self._finished(candidate, plan.size, result, error, clock))
            self._learn(plan, candidate, attempts[-1], probe=probe)

    async def _pieces(self, plan: Plan, candidate: Candidate) -> AsyncGenerator[Piece | InferenceResult, None]:
        backend = self._backends[candidate.target.backend]
        request = replace(plan.call.request, deadline=_deadline(plan))
        if not request.stream:
            yield await backend.infer(request, candidate.target)
            return
        async with aclosing(backend.stream(request, candidate.target)) as pieces:
            async for piece in pieces:
                yield piece

    def _finished(
        self,
        candidate: Candidate,
        size: Size,
        result: InferenceResult | None,
        error: BackendError | None,
        clock: _Stopwatch,
    ) -> Attempt:
        total_s = clock.elapsed_s()
        if result is not None:
            cost = self._ledger.price(candidate, result)
        else:
            cost = self._ledger.price_unanswered(candidate, error, clock.said(size))
        return Attempt(
            candidate_id=candidate.id,
            backend=candidate.target.backend,
            provider=candidate.target.provider if result is None else result.provider,
            model=candidate.target.model if result is None else result.model,
            device=candidate.status.device if result is None else result.device,
            started_us=clock.started_us,
            total_s=total_s,
            cost=cost,
            result=result,
            error=error,
            first_token_s=clock.first_token_s,
        )

    def _learn(self, plan: Plan, candidate: Candidate, attempt: Attempt, *, probe: bool) -> None:
        result, error = attempt.result, attempt.error
        if result is not None:
            self._breakers.succeeded(candidate.id)
            self._estimator.observe(candidate, plan.size, result.usage, result.timings, attempt.total_s)
        elif error is None or isinstance(error, DeadlineTimeout) or (candidate.near and isinstance(error, Overloaded)):
            # Cancelled, too impatient, or a full queue of our own: nothing that speaks against the candidate.
            self._breakers.abandoned(candidate.id, probe=probe)
        else:
            self._breakers.failed(candidate.id, error, time.monotonic(), probe=probe)


class DeadlineTimeout(Timeout):
    """The request's own deadline ended the attempt; there is no time left to try elsewhere."""

    elsewhere: ClassVar[bool] = False


class _Stopwatch:
    def __init__(self) -> None:
        self.started_us = now_us()
        self._started = time.monotonic()
        self.first_token_s: float | None = None
        self.busy_s: float | None = None
        self.pieces = 0

    def token(self, piece: Piece) -> None:
        self.busy_s = piece.service_s
        self.pieces += isinstance(piece, Delta)
        if self.first_token_s is None:
            self.first_token_s = self.elapsed_s()

    def said(self, size: Size) -> Said:
        return Said(busy_s=self.busy_s, pieces=self.pieces, size=size)

    def elapsed_s(self) -> float:
        return time.monotonic() - self._started


async def _until(
    pieces: AsyncGenerator[Piece | InferenceResult, None], deadline: float
) -> AsyncGenerator[Piece | InferenceResult, None]:
    """The pieces, each awaited no longer than the deadline (monotonic seconds). Never holds a timeout over a yield."""
    while True:
        limit = asyncio.timeout(deadline - time.monotonic())
        try:
            async with limit:
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineTimeout("the deadline of the whole request ran out") from error
        yield piece


def _begun(plan: Plan, candidate: Candidate, number: int) -> Begun:
    return Begun(
        plan=plan,
        backend=candidate.target.backend,
        provider=candidate.target.provider,
        model=candidate.target.model,
        attempts=number,
    )


def _deadline(plan: Plan) -> float:
    return plan.call.received + plan.deadline_s


def _conclude(plan: Plan, attempts: list[Attempt]) -> tuple[Status, RouterError | None]:
    if attempts and attempts[-1].result is not None:
        return "ok", None
    failed = [FailedAttempt(a.candidate_id, a.error) for a in attempts if a.error is not None]
    if time.monotonic() >= _deadline(plan):
        return "error", DeadlineExceeded(plan.deadline_s, failed)
    return "error", AllAttemptsFailed(failed)
