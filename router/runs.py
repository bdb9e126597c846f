"""One attempt: one call of one backend, watched from its beginning to its end. Chooses nobody.

Whatever happens, a run that began leaves exactly one finished attempt behind.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Self, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from backends.errors import BackendError, RemoteError, Timeout
from backends.extras import parts_of
from backends.types import (
    Delta,
    GenerationOutput,
    InferenceRequest,
    InferenceResult,
    Timings,
    TranscriptOutput,
)
from router.budgets import Exceeded, Reservation
from router.charges import charge_of
from router.confidence import confidence_of
from router.ledger import now_us
from router.lessons import DeadlineTimeout, Impatient
from router.outcome import Attempt, Cost, Said
from router.pricing import asked_usd, most_used
from router.standby import LONG

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Mapping
    from contextlib import AbstractContextManager

    from backends.base import Backend
    from backends.types import Piece
    from router.budgets import Budgets
    from router.course import Step
    from router.energy_shares import Stay
    from router.ledger import Ledger
    from router.lessons import Lessons, Start
    from router.slate import Candidate, Plan
    from router.standby import Standby

T = TypeVar("T")


class Runner:
    """Starts runs."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        ledger: Ledger,
        lessons: Lessons,
        budgets: Budgets,
        standby: Standby,
    ) -> None:
        self.backends = backends
        self.ledger = ledger
        self.lessons = lessons
        self.standby = standby
        self.budgets = budgets

    def reserve(self, plan: Plan, candidate: Candidate) -> Reservation | Exceeded | None:
        """Set aside what asking a far candidate may cost; None where no budget looks."""
        if candidate.near or not self.budgets:
            return None
        most_usd = asked_usd(candidate, most_used(plan.size), plan.estimate(candidate.id))
        return self.budgets.reserve(charge_of(plan.call.request, candidate), most_usd)

    def run(self, plan: Plan, step: Step, errand: Errand) -> Run:
        """A run that begins when somebody waits for it. What runs near for want of anything better gives way to it."""
        if step.candidate.cached:
            return Recall(self, plan, step, errand)
        if step.candidate.near and step.role != "shadow":
            self.standby.disturb()
            if not errand.request.background:
                self.standby.claim()
        return Run(self, plan, step, errand)


class Errand(Struct, frozen=True):
    """What a run is to bring.

    Attributes:
        request: As the candidate gets it.
        room_s: What it may take before the next candidate's time begins.
        from_char: Where its text begins in an answer that others began; None in one of its own.
        reservation: What was set aside for it; settled when it ends.
    """

    request: InferenceRequest
    room_s: float
    from_char: int | None = None
    reservation: Reservation | None = None


class Run:
    """One attempt under way.

    Attributes:
        attempt: What came of it; None until it has ended.
    """

    def __init__(self, runner: Runner, plan: Plan, step: Step, errand: Errand) -> None:
        self.candidate = step.candidate
        self.role = step.role
        self.attempt: Attempt | None = None
        self._runner = runner
        self._plan = plan
        self._errand = errand
        self._first: list[Piece] = []
        self._stay: Stay | None = None
        self._rest = self._watched() if errand.request.stream else None

    @property
    def answers(self) -> bool:
        """Whether a piece of its answer exists, or the whole."""
        return bool(self._first) or (self.attempt is not None and self.attempt.result is not None)

    def lost(self) -> None:
        """Another one answered first. It may be charged all the same: what was expected counts, and is marked so."""
        if self.attempt is not None and self.attempt.status == "cancelled" and self.attempt.cost.usd is None:
            expected_usd = self._plan.estimate(self.candidate.id).cost_usd
            if expected_usd is not None:
                self.attempt = replace(
                    self.attempt, cost=replace(self.attempt.cost, usd=expected_usd, source="estimated")
                )
            self._runner.lessons.outrun(self._plan, self.candidate, self.attempt.total_s)

    async def begin(self) -> None:
        """Return when its first piece exists, or it has ended without one."""
        if self._rest is None:
            await self._whole()
            return
        async for piece in self._rest:
            self._first.append(piece)
            return

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Every piece, each once. Afterwards `attempt` is there."""
        if self._rest is None:
            await self._whole()
            return
        while self._first:
            yield self._first.pop(0)
        async for piece in self._rest:
            yield piece

    async def finish(self) -> None:
        """Return when it has ended, with nobody listening to its pieces."""
        if self._rest is None:
            await self._whole()
            return
        async for _ in self._rest:
            pass

    async def aclose(self) -> None:
        """Stop it, if it has not ended."""
        if self._rest is not None:
            await self._rest.aclose()
        if self.attempt is None and self._errand.reservation is not None:  # it never began
            self._errand.reservation.release()

    async def _whole(self) -> None:
        """Get an answer that comes in one piece, unless that has been done."""
        if self.attempt is not None:
            return
        with _Watch(self) as watch:
            self._stay = self._runner.ledger.stay(self.candidate)
            watch.result = await _bounded(self._answered(), self._plan.deadline, watch.clock)

    async def _watched(self) -> AsyncGenerator[Piece, None]:
        """Get an answer that comes in pieces."""
        with _Watch(self) as watch:
            self._stay = self._runner.ledger.stay(self.candidate)
            async with aclosing(self._streamed()) as pieces:
                async for piece in _until(pieces, self._plan.deadline, watch.clock):
                    if isinstance(piece, InferenceResult):
                        watch.result = piece
                        break
                    if watch.clock.first_token_s is None:
                        self._runner.lessons.heard(watch.start)
                    watch.clock.seen(piece)
                    yield piece

    def begun(self) -> Start:
        """It is under way from now on."""
        return self._runner.lessons.begin(self.candidate, teaches=self._teaches)

    def ended(self, watch: _Watch, error: BackendError | None) -> None:
        """It is over: write down what came of it, and learn from it."""
        try:
            self.attempt = attempt = self._finished(watch.result, error, watch.clock)
            if self._errand.reservation is not None:
                self._errand.reservation.settle(attempt.cost.usd)
            if self._teaches:
                self._runner.lessons.learn(self._plan, self.candidate, attempt, watch.start)
        finally:
            self._runner.lessons.ended(self.candidate, watch.start)

    @property
    def _teaches(self) -> bool:
        """Whether anything is learnt of it: not of what is pinned, which is to be measured alone."""
        return self._plan.call.pinned is None

    def blamed(self, error: BackendError, clock: _Stopwatch) -> BackendError:
        """The error; where it was our own haste that ended the wait, an error that says so."""
        hurried = type(error) is Timeout and clock.first_token_s is None and clock.elapsed_s() >= self._errand.room_s
        if not hurried:
            return error
        return Impatient(f"{self.candidate.id} was not waited for any longer: the next candidate needs the time")

    async def _answered(self) -> InferenceResult:
        target, request = self.candidate.target, self._errand.request
        with self._presence(request):
            return await self._runner.backends[target.backend].infer(request, target)

    async def _streamed(self) -> AsyncGenerator[Piece | InferenceResult, None]:
        target, request = self.candidate.target, self._errand.request
        with self._presence(request):
            async with aclosing(self._runner.backends[target.backend].stream(request, target)) as pieces:
                async for piece in pieces:
                    yield piece

    def _presence(self, request: InferenceRequest) -> AbstractContextManager[None]:
        """What others near have to do with it, while it lasts."""
        standby = self._runner.standby
        if not self.candidate.near or self.role == "shadow":
            return nullcontext()
        if not request.background:
            return standby.serving()
        return standby.giving_way() if request.interruptible and request.task in LONG else nullcontext()

    def _finished(self, result: InferenceResult | None, error: BackendError | None, clock: _Stopwatch) -> Attempt:
        candidate, ledger, told = self.candidate, self._runner.ledger, result or error
        total_s = clock.elapsed_s()
        if result is not None:
            cost = ledger.price(candidate, result, self._stay)
        else:
            said = Said(busy_s=clock.busy_s, pieces=clock.pieces, size=self._plan.size)
            cost = ledger.price_unanswered(candidate, error, said, self._stay)
        return Attempt(
            candidate_id=candidate.id,
            backend=candidate.target.backend,
            provider=candidate.target.provider if result is None else result.provider,
            model=candidate.target.model if result is None else result.model,
            device=candidate.status.device if result is None else result.device,
            started_us=clock.started_us,
            total_s=total_s,
            cost=cost,
            role=self.role,
            from_char=self._errand.from_char,
            result=result,
            error=error,
            first_token_s=clock.first_token_s,
            waited_s=clock.waited_s,
            confidence=None
            if result is None
            else confidence_of(result.output, self._errand.request.payload, candidate.target),
            replica=None if told is None else told.replica,
        )


class _Watch:
    """Around what a run waits for: however that ends, the run has ended then, once.

    Attributes:
        result: The answer, once it is there.
    """

    def __init__(self, run: Run) -> None:
        self.result: InferenceResult | None = None
        self._run = run

    def __enter__(self) -> Self:
        self.clock = _Stopwatch()
        self.start = self._run.begun()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """End the run. A backend's failure goes no further: it is in the attempt."""
        failed = isinstance(error, BackendError)
        self._run.ended(self, self._error(error))
        return failed

    def _error(self, error: BaseException | None) -> BackendError | None:
        if isinstance(error, BackendError):
            return self._run.blamed(error, self.clock)
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            return None
        if error is not None:  # a bug that escapes the backend
            return RemoteError("internal error")
        candidate_id = self._run.candidate.id
        return None if self.result is not None else RemoteError(f"{candidate_id} ended without a complete answer")


class Recall(Run):
    """One attempt that asks nobody: the answer is at hand. It cannot fail, costs nothing, and teaches nothing."""

    async def _whole(self) -> None:
        async for _ in self._watched():
            pass

    async def _watched(self) -> AsyncGenerator[Piece, None]:
        clock, candidate = _Stopwatch(), self.candidate
        result: InferenceResult | None = None
        try:
            for piece in _whole(candidate, streamed=self._errand.request.stream):
                clock.seen(piece)
                yield piece
            if candidate.answer is not None:
                result = replace(candidate.answer, timings=Timings(queue_s=0.0, service_s=clock.elapsed_s()))
        finally:
            self.attempt = Attempt(
                candidate_id=candidate.id,
                backend=candidate.target.backend,
                provider=candidate.target.provider,
                model=candidate.target.model,
                device=candidate.status.device,
                started_us=clock.started_us,
                total_s=clock.elapsed_s(),
                cost=Cost(0.0, "cached"),
                role=self.role,
                result=result,
                first_token_s=clock.first_token_s,
                confidence=None
                if result is None
                else confidence_of(result.output, self._errand.request.payload, candidate.target),
            )


def _whole(candidate: Candidate, *, streamed: bool) -> list[Delta]:
    """The text of the answer that a candidate holds, in one piece, where pieces are wanted and there is any."""
    output = None if candidate.answer is None else candidate.answer.output
    if not streamed:
        return []
    match output:
        case GenerationOutput(text=text, choices=choices) if text or choices:
            return [Delta(text, choices=parts_of(choices))]
        case TranscriptOutput(text=text) if text:
            return [Delta(text)]
    return []


class _Stopwatch:
    def __init__(self) -> None:
        self.started_us = now_us()
        self._started = time.monotonic()
        self.first_token_s: float | None = None
        self.busy_s: float | None = None
        self.pieces = 0
        self.waited_s = 0.0  # for the candidate: the rest is what the reader took between two pieces

    def seen(self, piece: Piece) -> None:
        self.busy_s = piece.service_s
        self.pieces += isinstance(piece, Delta)
        if self.first_token_s is None:
            self.first_token_s = self.elapsed_s()

    def elapsed_s(self) -> float:
        return time.monotonic() - self._started


async def _until(
    pieces: AsyncGenerator[Piece | InferenceResult, None], deadline: float, clock: _Stopwatch
) -> AsyncGenerator[Piece | InferenceResult, None]:
    """The pieces, each awaited no longer than the deadline. Never holds a timeout over a yield."""
    while True:
        try:
            piece = await _bounded(anext(pieces), deadline, clock)
        except StopAsyncIteration:
            return
        yield piece


async def _bounded(waited: Awaitable[T], deadline: float, clock: _Stopwatch) -> T:
    """What is awaited, if it comes before the deadline (monotonic seconds)."""
    asked = time.monotonic()
    limit = asyncio.timeout(deadline - asked)
    try:
        async with limit:
            return await waited
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlineTimeout("the deadline of the whole request ran out") from error
    finally:
        clock.waited_s += time.monotonic() - asked
