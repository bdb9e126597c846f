"""Runs a suite: sends every trial when it is due, writes down what came of it, and stops before money runs out.

It can be stopped anywhere and gone on with: a trial whose row is in the log is not sent again, but for the warm-up,
as what was warm is cold after a while. Every trial is a decision of its own, pinned to its candidate.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import uuid_utils
from msgspec.structs import replace

from backends.types import GenerationOutput, Timings, Usage
from router.compare.job import call_of
from router.compare.kept import run_row, trial_row
from router.compare.plan import planned
from router.compare.run import Closed, Run, Trial
from router.compare.scoring import Scores
from router.errors import RouterError
from router.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backends.types import InferenceResult, Output
    from router.compare.job import Contender, Job, Parts
    from router.compare.kept import Before
    from router.compare.plan import Slot
    from router.compare.run import TrialStatus

INTERRUPTED = "interrupted"


class Running:
    """One run under way.

    Args:
        parts: Whom it asks through.
        job: What it does.
        before: The run it goes on with; None begins one.
        tell: Called after every trial.
        hear: Called with every answer.
    """

    def __init__(
        self,
        parts: Parts,
        job: Job,
        before: Before | None = None,
        tell: Callable[[Running], None] = lambda _: None,
        hear: Callable[[Trial, Output], None] | None = None,
    ) -> None:
        self._parts, self._job, self._tell, self._hear = parts, job, tell, hear
        self._contenders = {one.name: one for one in job.contenders}
        self._slots = planned(job.shape)
        self._head = _begun(job) if before is None else replace(before.run, ended_at=None, stopped=None, trials=())
        self._trials = {} if before is None else {trial.number: trial for trial in before.run.trials}
        self._scores = Scores(job.suite.metric, job.suite.reference, [one.expected for one in job.inputs])
        self._began = time.monotonic() - (datetime.now(UTC) - self._head.started_at).total_seconds()
        self._scoring = asyncio.Lock()
        self._stopped: str | None = None
        self._reserved_usd = 0.0
        self.spent_usd = sum(self._charge(self._slots[number], usd) for number, usd in before.billed) if before else 0.0

    @property
    def run(self) -> Run:
        """The run as it is now."""
        return replace(self._head, trials=tuple(trial for _, trial in sorted(self._trials.items())))

    @property
    def finished(self) -> int:
        """Trials that have ended."""
        return len(self._trials)

    @property
    def planned(self) -> int:
        """Trials in the whole plan."""
        return len(self._slots)

    def stop(self, why: str) -> None:
        """Begin no further trial; what is under way may end."""
        self._stopped = self._stopped or why

    async def go(self) -> Run:
        """Take the run to its end.

        Cancelled, it is left so that it can be gone on with.
        """
        self._keep_head()
        try:
            await self._all()
        except asyncio.CancelledError:
            self.stop(INTERRUPTED)
            raise
        except Exception as error:
            self.stop(f"a bug ({type(error).__name__})")  # what a bug says may hold anything
            raise
        finally:
            self._head = replace(self._head, ended_at=datetime.now(UTC), stopped=self._stopped)
            self._keep_head()
        return self.run

    async def _all(self) -> None:
        warm_up = [slot for slot in self._slots if slot.warm_up]
        left = [slot for slot in self._slots if not slot.warm_up and slot.number not in self._trials]
        if not left:
            return
        await self._closed(warm_up, 1)
        for place, slots in groupby(left, key=lambda slot: slot.load):
            load = self._job.suite.loads[place]
            if isinstance(load, Closed):
                for _, block in groupby(slots, key=lambda slot: slot.block):
                    await self._closed(list(block), load.concurrency)
            else:
                await self._open(list(slots))

    async def _closed(self, slots: Sequence[Slot], callers: int) -> None:
        """So many callers, each with the next trial once its last has ended."""
        waiting = iter(slots)

        async def caller() -> None:
            for slot in waiting:
                if not self._may(slot):
                    return
                await self._trial(slot, self._now())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(callers, len(slots))):
                group.create_task(caller())

    async def _open(self, slots: Sequence[Slot]) -> None:
        """Each trial when it is due, whatever the others do."""
        began = self._now() - (slots[0].at_s or 0.0)
        async with asyncio.TaskGroup() as group:
            for slot in slots:
                due_s = began + (slot.at_s or 0.0)
                await asyncio.sleep(max(0.0, due_s - self._now()))
                if not self._may(slot):
                    return
                group.create_task(self._trial(slot, due_s))

    def _may(self, slot: Slot) -> bool:
        """Whether the trial may begin; what it may cost is set aside then."""
        if self._stopped is not None:
            return False
        most_usd, cost_usd = self._job.suite.budget_usd, _expected(self._contenders[slot.candidate], slot.input)
        if most_usd is not None and self.spent_usd + self._reserved_usd + cost_usd > most_usd:
            self.stop(
                f"budget_usd: ${self.spent_usd:.6f} of ${most_usd:g} are spent, and the next trial may cost "
                f"${self._reserved_usd + cost_usd:.6f}"
            )
            return False
        self._reserved_usd += cost_usd
        return True

    async def _trial(self, slot: Slot, due_s: float) -> None:
        contender = self._contenders[slot.candidate]
        sent_s = self._now()
        try:
            heard = await self._asked(slot, contender)
        finally:
            self._reserved_usd -= _expected(contender, slot.input)
        trial = _trial(slot, heard, due_s, sent_s)
        self.spent_usd += self._charge(slot, trial.cost_usd)
        self._keep(trial)
        if heard.result is not None:
            if self._hear is not None:
                self._hear(trial, heard.result.output)
            await self._scored(trial, heard.result.output)
        self._tell(self)

    async def _scored(self, trial: Trial, output: Output) -> None:
        """Score it off the loop, where others are timed; one at a time, as some wait for others' outputs."""
        async with self._scoring:
            for scored in await asyncio.to_thread(self._scores.of, trial, output):
                self._keep(scored)

    async def _asked(self, slot: Slot, contender: Contender) -> _Heard:
        """Ask, and listen to the end."""
        request_id = f"{self._head.run_id}/{slot.number}"
        call = call_of(self._parts, self._job.suite, contender, slot.input, request_id)
        first_s: float | None = None
        try:
            async with aclosing(self._parts.dispatcher.stream(call)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Outcome):
                        return _heard(piece, first_s, self._now())
                    first_s = first_s or self._now()
        except RouterError as error:  # it was refused before it could be decided
            return _Heard("refused", self._now(), error=type(error).__name__, decision_id=error.decision_id)
        raise AssertionError("a stream always ends with its outcome")

    def _keep(self, trial: Trial) -> None:
        self._trials[trial.number] = trial
        self._parts.log.append(trial_row(trial, self._head.run_id, self._job.tenant))

    def _keep_head(self) -> None:
        self._parts.log.append(run_row(self._head, self._job.tenant, self._job.digest))

    def _charge(self, slot: Slot, usd: float | None) -> float:
        """What a trial cost far; where nobody knows, what it might."""
        contender = self._contenders[slot.candidate]
        if contender.candidate.near:
            return 0.0
        return _expected(contender, slot.input) if usd is None else usd

    def _now(self) -> float:
        return time.monotonic() - self._began


class _Heard(NamedTuple):
    """What came of asking; times since the run's start."""

    status: TrialStatus
    ended_s: float
    first_s: float | None = None
    error: str | None = None
    result: InferenceResult | None = None
    cost_usd: float | None = None
    cost_source: str | None = None
    decision_id: str | None = None


def _heard(outcome: Outcome, first_s: float | None, ended_s: float) -> _Heard:
    failed = next((attempt.error for attempt in outcome.attempts if attempt.error is not None), None)
    error = failed or outcome.error
    sent = bool(outcome.attempts)
    return _Heard(
        status="ok" if outcome.result is not None else "error" if sent else "refused",
        ended_s=ended_s,
        first_s=first_s,
        error=None if error is None else type(error).__name__,
        result=outcome.result,
        cost_usd=outcome.cost.usd,
        cost_source=outcome.cost.source,
        decision_id=outcome.decision_id,
    )


def _trial(slot: Slot, heard: _Heard, due_s: float, sent_s: float) -> Trial:
    result = heard.result
    usage, timings = (Usage(), Timings()) if result is None else (result.usage, result.timings)
    output = None if result is None else result.output
    return Trial(
        number=slot.number,
        load=slot.load,
        block=slot.block,
        repeat=slot.repeat,
        input=slot.input,
        candidate=slot.candidate,
        warm_up=slot.warm_up,
        due_s=due_s,
        sent_s=sent_s,
        first_token_s=None if heard.first_s is None else heard.first_s - due_s,
        total_s=heard.ended_s - due_s,
        queue_s=timings.queue_s,
        service_s=timings.service_s,
        status=heard.status,
        error=heard.error,
        truncated=isinstance(output, GenerationOutput) and output.finish_reason == "length",
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cost_usd=heard.cost_usd,
        cost_source=heard.cost_source,
        decision_id=heard.decision_id,
    )


def _begun(job: Job) -> Run:
    suite = job.suite
    return Run(
        run_id=str(uuid_utils.uuid7()),
        suite=suite.name,
        task=suite.task,
        metric=suite.metric,
        reference=suite.reference if suite.metric and all(one.expected is None for one in job.inputs) else None,
        seed=suite.seed,
        loads=suite.loads,
        repeats=suite.repeats,
        warm_up=suite.warm_up,
        inputs=len(job.inputs),
        candidates=tuple(one.served for one in job.contenders),
        budget_usd=suite.budget_usd,
        planned=job.shape.trials,
        started_at=datetime.now(UTC),
        machine=job.machine,
    )


def _expected(contender: Contender, number: int) -> float:
    """What a trial may cost far; 0 where nobody counts."""
    return contender.expected_usd[number] if contender.expected_usd else 0.0
