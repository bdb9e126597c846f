"""Walks a course until somebody answers. Streamed or buffered, a failure is in the outcome, never raised.

Until text has gone out nobody has seen anything, so the next candidate takes over unseen. Afterwards a break is what
`on_stream_failure` says: an error, or a candidate that goes on where the other one stopped; and with `hold` nothing
goes out before it is whole. A truncated answer is never a success.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace

from backends.types import Delta, GenerationInput, GenerationOutput, Limits
from policies.rescue import room_s
from router.budgets import Exceeded
from router.course import Course
from router.errors import AllAttemptsFailed, BudgetExceeded, DeadlineExceeded, FailedAttempt
from router.escalation import Escalation
from router.hedging import first_of
from router.outcome import Answered, Attempt, Begun, Outcome
from router.runs import Errand
from router.telemetry import context

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backends.reports import LoadReport
    from backends.types import InferenceRequest, InferenceResult, Piece
    from router.budgets import Reservation
    from router.course import Step
    from router.errors import RouterError
    from router.hedging import Hedging
    from router.ledger import Ledger
    from router.outcome import Status
    from router.runs import Run, Runner
    from router.section_of_routing import RoutingSettings
    from router.slate import Candidate, Plan

_UNLIMITED = Limits()
MOST_CHARS_PER_TOKEN = 8  # twice as many as usual: what was said has this many tokens at least


class Attempts:
    """Runs plans against the backends."""

    def __init__(self, runner: Runner, hedging: Hedging, *, max_attempts: int) -> None:
        self._runner = runner
        self._hedging = hedging
        self._max_attempts = max_attempts

    def become(self, settings: RoutingSettings) -> None:
        """Run plans by these settings from now on; those under way go on as they began."""
        self._hedging.become(settings.hedging)
        self._max_attempts = settings.max_attempts

    async def stream(self, plan: Plan) -> AsyncGenerator[Begun | Piece | Outcome, None]:
        """Yield `Begun`, each piece, then the outcome. Closing it early cancels the work and settles."""
        first_s: float | None = None
        with self._settling(plan) as settling:
            async with aclosing(settling.chain.pieces()) as pieces:
                async for piece in pieces:
                    first_s = first_s or time.monotonic() - plan.call.received
                    yield piece
            yield settling.outcome(first_s)

    async def whole(self, plan: Plan) -> Outcome:
        """The outcome, with nobody listening before it. Cancelling it cancels the work and settles."""
        with self._settling(plan) as settling:
            await settling.chain.run()
            return settling.outcome(None)

    def _settling(self, plan: Plan) -> _Settling:
        most = self._max_attempts if plan.call.pinned is None else 1  # who is measured is asked once
        return _Settling(plan, _Chain(plan, self._runner, self._hedging, most), self._runner.ledger)

    async def warm(self, candidate: Candidate, *, thorough: bool = False) -> LoadReport:
        """Load a near candidate's model and learn what loading measured.

        Raises:
            BackendError: it cannot be loaded.
        """
        self._runner.standby.disturb()
        report = await self._runner.backends[candidate.target.backend].load(candidate.target, thorough=thorough)
        self._runner.lessons.estimator.learn_load(candidate, report, "calibrated" if thorough else "warm-up")
        return report

    async def unload(self, candidate: Candidate) -> bool:
        """Free a near candidate's memory when its requests have ended; whether any was held."""
        return await self._runner.backends[candidate.target.backend].unload(candidate.target)


class _Settling:
    """Around a chain: it is settled once, however it ends."""

    def __init__(self, plan: Plan, chain: _Chain, ledger: Ledger) -> None:
        self.chain = chain
        self._plan = plan
        self._ledger = ledger
        self._settled = False

    def __enter__(self) -> Self:
        return self

    def outcome(self, first_s: float | None) -> Outcome:
        """Settle what has come to its end; `first_s` is when the sender heard the first of it."""
        self._settled = True
        chain = self.chain
        answered = chain.told(first_s)
        error = None if answered is not None else chain.failure()
        status: Status = "ok" if error is None else "error"
        return self._ledger.settle(self._plan, chain.attempts, status=status, error=error, answered=answered)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._settled:
            return
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._ledger.settle(self._plan, self.chain.attempts, status="cancelled")
        else:  # a bug that escaped a backend; it is raised on
            self._ledger.settle(self._plan, self.chain.attempts, status="error", error=self.chain.failure())


class _Chain:
    """The attempts of one request.

    Attributes:
        answered: The answer, once there is one.
        exceeded: The last budget that somebody was passed over for.
    """

    def __init__(self, plan: Plan, runner: Runner, hedging: Hedging, max_attempts: int) -> None:
        self.answered: Answered | None = None
        self.exceeded: Exceeded | None = None
        self._plan = plan
        self._runner = runner
        self._hedging = hedging
        self._course = Course(plan, max_attempts, runner.lessons.refusal, runner.lessons.account_refusal)
        self._escalation = Escalation(plan, runner.lessons.judgement)
        self._runs: list[Run] = []
        self._said: list[str] = []  # text that has gone out
        self._speaker: Run | None = None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Those that have ended, in the order in which they began."""
        return tuple(run.attempt for run in self._runs if run.attempt is not None)

    async def pieces(self) -> AsyncGenerator[Begun | Piece, None]:
        """Attempt after attempt, until one answers or the course ends; then the answer that was kept, if any."""
        async with aclosing(self._asked()) as pieces:
            async for piece in pieces:
                yield piece
        if self.answered is None and self._escalation.kept is not None and not self._said:
            run, self.answered = self._escalation.kept
            for told in (told for piece in self._escalation.held for told in self._told(run, piece)):
                yield told

    async def run(self) -> None:
        """The same for whoever takes the answer whole: nothing of it goes out before its end."""
        while (begun := await self._next()) is not None:
            number = len(self._runs)
            run = await self._under_way(*begun)
            judges = self._judges(run.candidate)
            async with aclosing(run):
                await run.finish()
            self._ended(run, self._runs[number:], [] if judges else None)
            if self.answered is not None:
                return
        if self._escalation.kept is not None:
            _, self.answered = self._escalation.kept

    async def _asked(self) -> AsyncGenerator[Begun | Piece, None]:
        while (begun := await self._next()) is not None:
            async with aclosing(self._tried(*begun)) as pieces:
                async for piece in pieces:
                    yield piece
            if self.answered is not None or (self._said and self._plan.on_stream_failure != "continue"):
                return
            self._course.continuing = bool(self._said)

    async def _next(self) -> tuple[Step, Reservation | None] | None:
        """The next step that may be taken, when it is time, and what was set aside for it; None at the end."""
        while (step := self._step()) is not None:
            if step.wait_s:
                await asyncio.sleep(step.wait_s)
                if not step.as_told and self._runner.lessons.refusal(step.candidate) is not None:
                    self._course.passed_over()
                    continue
            reservation = self._runner.reserve(self._plan, step.candidate)
            if not isinstance(reservation, Exceeded):
                return step, reservation
            self.exceeded = reservation
            self._course.passed_over()
        return None

    def told(self, first_token_s: float | None) -> Answered | None:
        """The answer, with when its sender heard the first of it, and what became of a near one before it."""
        if self.answered is None:
            return None
        asked = any(attempt.role == "escalation" for attempt in self.attempts)
        note = self._escalation.note(self.answered.attempt, asked=asked)
        return replace(self.answered, first_token_s=first_token_s, note=note)

    def _step(self) -> Step | None:
        left_s = self._left_s()
        if self._escalation.kept is not None:
            return self._course.escalate(lambda candidate: self._escalation.wants(candidate, left_s))
        return self._course.next(left_s, random.random())  # noqa: S311 -- spreads waits

    async def _tried(self, step: Step, reservation: Reservation | None) -> AsyncGenerator[Begun | Piece, None]:
        number = len(self._runs)
        run = await self._under_way(step, reservation)
        held: list[Piece] = []
        judges = self._judges(run.candidate)
        holds = self._plan.on_stream_failure == "hold" or judges
        async with aclosing(run), aclosing(run.pieces()) as pieces:
            async for piece in pieces:
                if holds:
                    held.append(piece)
                    continue
                for told in self._told(run, piece):
                    yield told
        self._ended(run, self._runs[number:], held if judges else None)
        if self.answered is not None:
            for told in (told for piece in held for told in self._told(run, piece)):
                yield told

    async def _under_way(self, step: Step, reservation: Reservation | None) -> Run:
        """The run of a step; where it is hedged, whichever of the two begins to answer first."""
        run = self._started(step, reservation)
        after_s = self._hedging.after_s(self._plan, step.candidate) if step.role == "primary" else None
        return run if after_s is None else await first_of(run, after_s, lambda: self._hedged(step.candidate))

    def _judges(self, candidate: Candidate) -> bool:
        """Whether its answer is judged before it goes out. What goes on with a text is a part of one: it is given."""
        return not self._said and self._escalation.watches(candidate, self._course.left(), self._left_s())

    def _ended(self, run: Run, begun: list[Run], judged: list[Piece] | None) -> None:
        """Take the run's answer, or keep it while another is asked, or tell the course of all that failed.

        `judged` is what was held of it to be judged; None where it is given in any case.
        """
        ended = [(each.candidate, each.attempt) for each in begun if each.attempt is not None]
        if run.attempt is not None and run.attempt.result is not None:
            answered = Answered(attempt=run.attempt, result=self._whole(run.attempt.result))
            if judged is None or not self._escalation.unsure(run.attempt):
                self.answered = answered
                return
            self._escalation.keep(run, answered, judged)
            for candidate, attempt in ended:  # who lost a hedge was paid for as well
                self._course.answered(candidate, attempt)
            return
        for candidate, attempt in ended:
            self._course.failed(candidate, attempt)

    def _told(self, run: Run, piece: Piece) -> list[Begun | Piece]:
        """The piece, and before it who speaks, where that is somebody new."""
        told: list[Begun | Piece] = [piece]
        if run is not self._speaker:
            target = run.candidate.target
            begun = Begun(
                plan=self._plan,
                backend=target.backend,
                provider=target.provider,
                model=target.model,
                attempts=len(self._runs),
                from_char=sum(map(len, self._said)),
            )
            told.insert(0, begun)
        self._speaker = run
        if isinstance(piece, Delta):
            self._said.append(piece.text)
        return told

    def _started(self, step: Step, reservation: Reservation | None) -> Run:
        from_char = sum(map(len, self._said)) if self._course.continuing else None
        room_s = self._room_s()
        errand = Errand(self._request(step.candidate, room_s), room_s, from_char, reservation)
        run = self._runner.run(self._plan, step, errand)
        self._runs.append(run)
        return run

    def _hedged(self, under_way: Candidate) -> Run | None:
        """The second attempt of a hedge, if there may be one now."""
        for candidate in filter(self._hedging.allows, self._course.beside(under_way)):
            reservation = self._runner.reserve(self._plan, candidate)
            if isinstance(reservation, Exceeded):
                continue
            if self._hedging.take():
                return self._started(self._course.hedge(candidate), reservation)
            if reservation is not None:
                reservation.release()
            return None
        return None

    def _request(self, candidate: Candidate, room_s: float) -> InferenceRequest:
        request = self._plan.call.request
        payload = request.payload
        if self._course.continuing and isinstance(payload, GenerationInput):
            partial = "".join(self._said)
            said = max(len(self._said), len(partial) // MOST_CHARS_PER_TOKEN)  # a piece is a token at least
            payload = replace(payload, partial=partial, max_tokens=max(1, payload.max_tokens - said))
        traceparent = context.traceparent(self._plan.decision_id, self._plan.call.traceparent, len(self._runs) + 1)
        limits = self._limits(candidate, room_s)
        return replace(request, payload=payload, deadline=self._plan.deadline, limits=limits, traceparent=traceparent)

    def _limits(self, candidate: Candidate, room_s: float) -> Limits:
        """What a far candidate may take: as long as is usual for it, and not what the next one needs.

        Where nobody could be asked instead it may take longer than usual: late is better than not at all.
        """
        if candidate.near:
            return _UNLIMITED
        own = candidate.limits
        instead = self._course.beside(candidate)
        usual_s = self._runner.lessons.patience.limit_s(candidate, self._plan.size) if instead else None
        total_s = own.total_s if self._plan.call.request.stream else _least(own.total_s, room_s)
        return Limits(first_token_s=_least(own.first_token_s, usual_s, room_s), idle_s=own.idle_s, total_s=total_s)

    def _room_s(self) -> float:
        """The time that is left, less what the next candidate needs of it, but half of it at least."""
        left_s = self._left_s()
        others = [self._plan.estimate(other.id).latency_s for other in self._course.left()]
        return room_s(left_s, min(others, default=None))

    def _whole(self, result: InferenceResult) -> InferenceResult:
        """The result with what others had said before it."""
        output = result.output
        if not self._course.continuing or not isinstance(output, GenerationOutput):
            return result
        # What was said by this one went out piece by piece, too: the answer is all that went out.
        return replace(result, output=GenerationOutput("".join(self._said), output.finish_reason))

    def failure(self) -> RouterError:
        """Why there is no answer."""
        failed = [FailedAttempt(a.candidate_id, a.error) for a in self.attempts if a.error is not None]
        if self._left_s() <= 0:
            return DeadlineExceeded(self._plan.deadline_s, failed)
        if self.exceeded is not None and not failed:
            return BudgetExceeded(self.exceeded.reason)
        return AllAttemptsFailed(failed)

    def _left_s(self) -> float:
        return self._plan.deadline - time.monotonic()


def _least(*seconds: float | None) -> float | None:
    return min((value for value in seconds if value is not None), default=None)
