"""A model that computes several batches side by side: its worker's threads, their shares, and who counts as alone."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import Unavailable
from backends.local.device_clock import DeviceClock
from backends.local.encoders.company import REMEMBERED_S, Company
from backends.local.job import Job
from backends.local.types import LocalFamily, LocalTask
from backends.local.worker import Worker
from backends.types import Task
from tests.unit.backends.local.machinery import HANG_S, LETTERS, Parrot, ask, happened, post, pre
from tests.unit.backends.local.test_worker import nullcontext, queue

LANES = 2


class Flock(Parrot):
    """Says words again in as many threads as there are lanes."""

    lanes = LANES


def within(check, core, budget=1, lane_budget=100, max_queue=64):
    """Run `check(worker)` on a loop with a worker that is closed afterwards."""

    async def main():
        most = max(budget, lane_budget)
        family = LocalFamily(load=lambda _: Flock(), core=core, budget=most, lane_budget=lane_budget)
        worker = Worker("test-lanes", family, max_queue)
        await worker.start(Flock, nullcontext(), lambda: False)
        try:
            return await check(worker)
        finally:
            await asyncio.to_thread(worker.close)

    return asyncio.run(main())


def said(contents):
    return [word.upper() for word in contents]


def resting(seconds):
    """A core that takes so long."""

    def core(_model, contents, _control):
        time.sleep(seconds)
        return said(contents)

    return core


def held():
    """A core that waits to be let go; what says that somebody is in it, and what lets them go."""
    inside, let_go = threading.Event(), threading.Event()

    def core(_model, contents, _control):
        inside.set()
        let_go.wait(HANG_S)
        return said(contents)

    return core, inside, let_go


def task(pre=pre):
    return LocalTask(task=Task.TEXT_GENERATION, family="causal-lm", pre=pre, post=post, warm_ups=(LETTERS,))


def meeting():
    """A core that goes on when as many are in it as there are lanes; it breaks where they never meet."""
    barrier = threading.Barrier(LANES)

    def core(_model, contents, _control):
        barrier.wait(HANG_S)
        return said(contents)

    return core


def test_two_requests_are_computed_side_by_side():
    """Each in a thread of its own, though one batch had room for both."""

    async def check(worker):
        answers = await asyncio.gather(*await queue(worker, ask("one"), ask("two")))

        assert ["ONE", "TWO"] == [done.answer.output.text for done in answers]
        assert [1, 1] == [done.batch_size for done in answers]

    within(check, meeting())


def test_a_request_of_many_units_is_computed_by_all_threads_and_answered_in_order():
    """Whichever of its batches ends first."""
    words = [f"word{number}" for number in range(60)]
    first, met = ["one", "other"], meeting()

    def core(model, contents, control):
        if first:
            first.pop()
            return met(model, contents, control)
        return said(contents)

    async def check(worker):
        done = await worker.submit(ask(" ".join(words)))

        assert [word.upper() for word in words] == done.answer.output.text.split()

    within(check, core, budget=20, lane_budget=20)


def test_a_request_that_is_alone_is_one_batch_for_all_lanes():
    """The model knows best how to part it."""
    batches = []

    def core(_model, contents, _control):
        batches.append(len(contents))
        return said(contents)

    async def check(worker):
        await worker.submit(ask("word " * 30))

        assert [30] == batches

    within(check, core, budget=1000, lane_budget=20)


@pytest.mark.parametrize(
    ("queued", "alone", "budget"),
    [(1, True, 4096), (1, False, 256), (2, False, 256), (15, False, 256), (16, False, 512), (500, False, 4096)],
)
def test_a_longer_queue_makes_larger_batches(queued, alone, budget):
    """Up to what one may hold; and who is alone has all of it."""
    family = LocalFamily(load=Flock, core=resting(0.0), budget=4096, lane_budget=256)

    assert budget == family.budget_of(Flock(), queued, alone=alone)
    assert family.budget_of(Parrot(), queued, alone=alone) == 4096


def test_a_batch_beside_another_holds_half_of_the_device():
    """By the clock both waited for the whole; together they held no more seconds than passed."""

    async def check(worker):
        began = time.perf_counter()
        answers = await asyncio.gather(*await queue(worker, ask("aaaa"), ask("bbbb")))
        passed_s = time.perf_counter() - began
        timings = [done.timings for done in answers]

        assert sum(each.device_s for each in timings) <= passed_s
        assert all(each.device_s <= each.service_s for each in timings)

    within(check, resting(0.02))


def test_seconds_in_which_two_batches_of_a_request_were_computed_count_once():
    """It waited for both at once; between two that follow each other it waited for its turn."""

    async def check():
        job = Job(ask("aaaa bbbb cccc"))
        assert job.ready(Flock)
        job.begin(10.0)
        job.begin(11.0)
        job.end(13.0)
        job.end(12.0)  # which read its clock first, and came second
        job.begin(20.0)
        job.end(21.0)
        for place in range(3):
            job.advance(place, ["X"], 0.5, 1)
        timings = job.finish(Flock).timings

        assert (4.0, 1.5) == (timings.service_s, timings.device_s)

    asyncio.run(check())


def test_waiting_for_another_thread_at_the_jobs_is_no_computing(monkeypatch):
    """A recording is decoded, or intents are fitted, while another batch is done and cannot go out yet."""
    late_s = [0.0]
    real = time.perf_counter
    monkeypatch.setattr("backends.local.worker.time.perf_counter", lambda: real() + late_s[0])
    core, inside, let_go = held()

    async def check(worker):
        asked = asyncio.create_task(worker.submit(ask("word")))
        await happened(inside)
        with worker._at_jobs:
            let_go.set()
            while worker._device.batches:  # noqa: ASYNC110 -- nobody tells that a batch is done before it is at the jobs
                await asyncio.sleep(0)
            late_s[0] = 1000.0
        timings = (await asked).timings

        assert max(timings.device_s, timings.service_s) < 1000

    within(check, core)


def test_requests_begin_in_the_order_in_which_they_came():
    """However many threads there are to take them."""
    begun = []

    def remembered(model, payload):
        begun.append(payload.prompt)
        return pre(model, payload)

    words = [f"word{number}" for number in range(200)]

    async def check(worker):
        tasks = []
        for word in words:
            tasks += await queue(worker, ask(word, task=task(pre=remembered)))
        await asyncio.gather(*tasks)

        assert words == begun

    within(check, resting(0.0), lane_budget=8, max_queue=len(words))


def test_a_machine_that_gives_no_more_threads_is_served_by_those_there_are(monkeypatch, caplog):
    """Aloud."""
    start = threading.Thread.start

    def refused(thread):
        if thread.name == "test-lanes" and any(each.name == "test-lanes" for each in threading.enumerate()):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)

    async def check(worker):
        answers = await asyncio.gather(*await queue(worker, ask("one"), ask("two")))

        assert ["ONE", "TWO"] == [done.answer.output.text for done in answers]

    within(check, resting(0.0))
    assert "test-lanes is served by 1 threads of 2: can't start new thread" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_breaks_ends_the_others_and_nobody_waits(monkeypatch):
    """Whichever it is: what it had taken is told, and whoever comes then is refused."""
    advance = Job.advance

    def broken(job, *args):
        if job.ask.payload.prompt == "cursed":
            raise ZeroDivisionError("a fault of ours")
        return advance(job, *args)

    monkeypatch.setattr(Job, "advance", broken)

    async def check(worker):
        cursed = await asyncio.gather(worker.submit(ask("cursed")), return_exceptions=True)

        assert [Unavailable] == [type(each) for each in cursed]
        with pytest.raises(Unavailable):
            await worker.submit(ask("fine"))

    for _ in range(5):  # whoever is the first to wake
        within(check, resting(0.0))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_worker_that_broke(monkeypatch):
    """A fault of ours, wherever it lies: whoever was queued is told, and what runs beside it ends with its model."""
    monkeypatch.setattr("backends.local.turns.Turns.take", lambda *_: 1 / 0)

    async def check(worker):
        answers = await asyncio.gather(*await queue(worker, ask("one"), ask("two")), return_exceptions=True)

        assert [Unavailable, Unavailable] == [type(each) for each in answers]
        assert worker.model is None

    within(check, resting(0.0))


moments = st.lists(st.tuples(st.booleans(), st.floats(0, 5)), min_size=1, max_size=40)


@given(moments)
def test_batches_together_hold_a_device_for_as_long_as_any_was_computed(steps):
    """Each its share: none is lost, and none counted twice."""
    clock, now, busy_s, held_s, marks = DeviceClock(), 100.0, 0.0, 0.0, []
    for begins, passed_s in steps:
        now += passed_s
        busy_s += passed_s if marks else 0.0
        if begins:
            marks.append(clock.begin(now))
        elif marks:
            held_s += clock.end(now, marks.pop())
    held_s += sum(clock.end(now, mark) for mark in marks)

    assert held_s == pytest.approx(busy_s)
    assert clock.batches == 0


def test_a_device_s_clock_never_runs_backwards():
    """Of two threads the one that read the time first may come second."""
    clock = DeviceClock()
    first = clock.begin(10.0)
    second = clock.begin(13.0)

    assert clock.end(12.0, first) == pytest.approx(3.0)
    assert clock.end(14.0, second) == pytest.approx(1.0)


def test_what_breaks_in_one_thread_fails_its_sender_only():
    """The other thread's answers go out."""

    def core(_model, contents, _control):
        if "poison" in contents:
            raise KeyError("a batch mate")
        return said(contents)

    async def check(worker):
        asks = [ask(f"fine{number}") for number in range(20)]
        asks.insert(7, ask("good poison good"))
        answers = await asyncio.gather(*await queue(worker, *asks), return_exceptions=True)

        assert "'parrot' failed on this machine: KeyError" == str(answers.pop(7))
        assert [f"FINE{number}" for number in range(20)] == [done.answer.output.text for done in answers]

    within(check, core, lane_budget=8)


def test_closing_ends_every_thread_and_fails_what_waits():
    """None is left that waits for work."""
    core, inside, let_go = held()

    async def check(worker):
        tasks = await queue(worker, *(ask(f"word{number}") for number in range(9)))
        await happened(inside)
        threads = [thread for thread in threading.enumerate() if thread.name == "test-lanes"]
        closing = asyncio.create_task(asyncio.to_thread(worker.close))
        while worker._open:  # noqa: ASYNC110 -- closing tells nobody when it has begun
            await asyncio.sleep(0)
        let_go.set()
        await closing
        answers = await asyncio.gather(*tasks, return_exceptions=True)

        assert LANES == len(threads)
        assert not any(thread.is_alive() for thread in threads)
        assert 7 <= sum(isinstance(each, Unavailable) for each in answers)
        assert worker.model is None

    within(check, core, lane_budget=5)


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


def test_who_is_alone_is_told_so():
    clock = Clock()
    company = Company(clock)

    for _ in range(3):
        with company as met:
            assert met.alone
            assert met.undisturbed
            clock.now += 0.001


def test_who_met_somebody_will_meet_them_again():
    """The other one is just not there: it comes back."""
    clock = Clock()
    company = Company(clock)
    with company as first:
        with company as second:
            clock.now += 1
        clock.now += 0.001
        with company as third:
            pass
    clock.now += REMEMBERED_S / 2
    with company as soon:
        clock.now += REMEMBERED_S
    with company as later:
        pass

    assert [True, False, False, True, True] == [met.alone for met in (first, second, third, soon, later)]
    assert [True, False, False, False, True] == [met.undisturbed for met in (first, second, third, soon, later)]
