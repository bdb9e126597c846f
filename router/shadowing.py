"""Shadowing: a sample of the requests that went far is run near as well, while this machine has nothing else to do.

It gives the latency, the cost and the agreement of both places for the same request, and nobody waits for it: the
answer has gone out. Only what went far is run near, never the reverse, so nothing leaves the machine and no budget is
touched. What it learns goes where every near attempt's does; its row has the role `shadow` and a cost of its own, which
is no part of the request's.

* It starts when nothing near is under way or queued, and gives way at once when a request needs this machine. What gave
  way is not begun again: its row says `cancelled`.
* Where a cascade has asked near and far, the two answers are compared, and nothing is run.
* Only models in memory: a cold one would push out another, which a request may want next.
* At most `MOST_WAITING` requests and `MOST_BYTES` wait, for `LONGEST_S` at most, in memory alone; when more come, the
  oldest go, and are counted.
"""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct
from msgspec.structs import astuple, replace

from backends.types import Limits, Output, Task
from router.agreement import COMPARABLE, agreement
from router.course import Step
from router.decision_log.record import ShadowRow
from router.ledger import now_us
from router.outcome import Attempt
from router.runs import Errand
from router.slate import Candidate, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.outcome import Outcome
    from router.runs import Runner

MOST_WAITING = 8
MOST_BYTES = 32 * 1024 * 1024
LONGEST_S = 600.0
LOOK_AGAIN_S = 0.25  # while something near is under way; nobody tells when that ends, as a model may be loading, say


class ShadowState(NamedTuple):
    """How shadowing goes, for people: since the start, but for what waits now."""

    waiting: int
    run: int
    preempted: int
    dropped: int


class _Waiting(Struct, frozen=True, kw_only=True):
    plan: Plan
    answered_by: Candidate
    output: Output
    number: int  # of the attempt it will be
    held_bytes: int
    since: float
    near: Attempt | None  # what a cascade had asked near already: it is compared, and nothing is run


class Shadows:
    """Takes in what was answered far, and runs it near. One instance per process.

    Attributes:
        share: Of the requests answered far, in 0..1; 0 is none.
    """

    def __init__(self, runner: Runner, every: Callable[[], list[Candidate]], share: float) -> None:
        """`runner` starts runs; `every` gives all candidates of the catalogue, as they are now."""
        self._runner = runner
        self._every = every
        self.share = share
        self._waiting: deque[_Waiting] = deque()
        self._came = asyncio.Event()
        self._run = 0
        self._dropped = 0

    def state(self) -> ShadowState:
        """How it goes."""
        return ShadowState(len(self._waiting), self._run, self._runner.standby.preempted, self._dropped)

    def offer(self, outcome: Outcome, draw: float) -> None:
        """A request ended: keep it, if it is one to shadow and `draw` (0..1) is below the share. Runs nothing."""
        number, near = _answered_near_too(outcome)
        answered_by = _answered_far(outcome) if near is not None or draw < self.share else None
        if answered_by is None or outcome.result is None:
            return
        output = outcome.result.output
        payload = outcome.plan.call.request.payload
        waiting = _Waiting(
            plan=outcome.plan,
            answered_by=answered_by,
            output=output,
            number=number,
            held_bytes=held_bytes(payload) + held_bytes(output) + held_bytes(None if near is None else near.result),
            since=time.monotonic(),
            near=near,
        )
        if near is not None or self._near(waiting) is not None:
            self._waiting.append(waiting)
            self._trim()
            self._came.set()

    async def run(self) -> None:
        """Run what waits, one by one, while nothing near is under way. Ends when it is cancelled."""
        while True:
            self._trim()
            if not self._waiting:
                self._came.clear()
                await self._came.wait()
            elif self._waiting[0].near is not None:
                waiting = self._waiting.popleft()
                await self._compared(waiting, waiting.near)
            elif self._idle():
                await self._one(self._waiting.popleft())
            else:
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _one(self, waiting: _Waiting) -> None:
        candidate = self._near(waiting)
        if candidate is None:  # it was loaded when the request came
            self._dropped += 1
            return
        task = asyncio.create_task(self._attempted(waiting, candidate), name="shadow")
        self._runner.standby.take(task)
        try:
            await asyncio.wait([task])
        finally:
            self._runner.standby.left()
            task.cancel()
            await asyncio.wait([task])
        if task.cancelled():
            await asyncio.sleep(
                LOOK_AGAIN_S
            )  # whoever needed the machine has not begun yet: a hint comes before a plan
        else:
            await self._compared(waiting, task.result())

    async def _attempted(self, waiting: _Waiting, candidate: Candidate) -> Attempt | None:
        plan = self._planned(waiting.plan, candidate)
        request = replace(plan.call.request, deadline=plan.deadline, limits=Limits())
        run = self._runner.run(plan, Step(candidate, "shadow"), Errand(request, math.inf))
        try:
            async with aclosing(run), aclosing(run.pieces()) as pieces:
                async for _ in pieces:
                    pass
        finally:
            if run.attempt is not None:
                self._run += 1
                self._runner.ledger.shadowed(plan, waiting.number, run.attempt)
        return run.attempt

    def _planned(self, plan: Plan, candidate: Candidate) -> Plan:
        """The request as if it came now, to this candidate alone: what was expected of it then says nothing now."""
        call = replace(plan.call, received=time.monotonic())
        estimates = self._runner.lessons.estimates(plan.size, [candidate], _wanted(plan))
        return replace(plan, call=call, candidates=[candidate], estimates=estimates)

    async def _compared(self, waiting: _Waiting, attempt: Attempt | None) -> None:
        if attempt is None or attempt.result is None:
            return
        found = await asyncio.to_thread(agreement, waiting.output, attempt.result.output)
        if found is None:
            return
        row = ShadowRow(
            decision_id=waiting.plan.decision_id,
            attempt=waiting.number,
            ts_us=now_us(),
            candidate_id=attempt.candidate_id,
            reference=waiting.answered_by.id,
            metric=found.metric,
            agreement=found.value,
        )
        self._runner.ledger.agreed(row)
        self._runner.lessons.compared(waiting.plan, row, attempt.confidence)

    def _idle(self) -> bool:
        """Whether nothing is under way or queued on this machine: of requests, and of what is not one (a warm-up)."""
        if self._runner.lessons.admission.near_in_flight:
            return False
        return not any(candidate.status.queued for candidate in self._every() if candidate.near)

    def _near(self, waiting: _Waiting) -> Candidate | None:
        """Who would run it: a near candidate of the slate that is loaded now, of the same model if there is one.

        Vectors of another model have nothing in common with those that were given.
        """
        same_only = waiting.plan.call.request.task is Task.FEATURE_EXTRACTION
        model = waiting.answered_by.listed_as
        found = [self._now(each) for each in waiting.plan.candidates if each.near and not each.cached]
        may = [each for each in found if self._serves(each) and (each.listed_as == model or not same_only)]
        return min(may, key=lambda each: each.listed_as != model, default=None)

    def _now(self, candidate: Candidate) -> Candidate:
        status = self._runner.backends[candidate.target.backend].status(candidate.target)
        return replace(candidate, status=status)

    def _serves(self, candidate: Candidate) -> bool:
        status = candidate.status
        able = status.loaded and status.unavailable is None and status.does_not_fit is None and not candidate.lacks
        return able and self._runner.lessons.trusted(candidate)  # a probe decides for requests: one of them is it

    def _trim(self) -> None:
        """Let go of what is too old, and of the oldest where there is too much."""
        now = time.monotonic()
        while self._waiting and (
            len(self._waiting) > MOST_WAITING
            or sum(each.held_bytes for each in self._waiting) > MOST_BYTES
            or now - self._waiting[0].since > LONGEST_S
        ):
            self._waiting.popleft()
            self._dropped += 1


def held_bytes(value: Any) -> int:
    """About what a payload or an output holds in memory: its texts, bytes and numbers, whatever they lie in."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, array):
        return len(value) * value.itemsize
    if isinstance(value, Struct):
        return sum(map(held_bytes, astuple(value)))
    if isinstance(value, dict):
        return sum(map(held_bytes, value.values()))
    return sum(map(held_bytes, value)) if isinstance(value, tuple | list) else 8


def _wanted(plan: Plan) -> str | None:
    return None if plan.intent is None else plan.intent.label


def _answered_near_too(outcome: Outcome) -> tuple[int, Attempt | None]:
    """The near answer that a cascade was not sure of, and its number; else the number a shadow would have, and None."""
    near = {candidate.id for candidate in outcome.plan.candidates if candidate.near and not candidate.cached}
    for number, attempt in enumerate(outcome.attempts, start=1):
        if attempt.result is not None and attempt is not outcome.winner and attempt.candidate_id in near:
            return number, attempt
    return len(outcome.attempts) + 1, None


def _answered_far(outcome: Outcome) -> Candidate | None:
    """The far candidate that gave the whole answer alone; None where there is none, or nothing to compare."""
    won, result = outcome.winner, outcome.result
    if won is None or result is None or outcome.splices or not isinstance(result.output, COMPARABLE):
        return None
    found = next(each for each in outcome.plan.candidates if each.id == won.candidate_id)
    return None if found.near else found
