"""A model that computes several batches side by side: its worker's threads, their shares, and who counts as alone."""

from __future__ import annotations

import asyncio
import threading

import pytest

from backends.errors import Unavailable
from backends.local.encoders.company import REMEMBERED_S, Company
from backends.local.types import LocalFamily
from backends.local.worker import Worker
from tests.unit.backends.local.machinery import HANG_S, Parrot, ask, happened
from tests.unit.backends.local.test_worker import nullcontext, queue

LANES = 2


class Flock(Parrot):
    """Says words again in as many threads as there are lanes."""

    lanes = LANES


def within(check, core, budget=1, lane_budget=100):
    """Run `check(worker)` on a loop with a worker that is closed afterwards."""

    async def main():
        family = LocalFamily(load=lambda _: Flock(), core=core, budget=budget, lane_budget=lane_budget)
        worker = Worker("test-lanes", family, 64)
        await worker.start(Flock, nullcontext(), lambda: False)
        try:
            return await check(worker)
        finally:
            await asyncio.to_thread(worker.close)

    return asyncio.run(main())


def said(contents):
    return [word.upper() for word in contents]


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


def test_seconds_that_several_batches_shared_are_paid_once():
    """By the device's time each has its half; by the clock both waited for the whole."""

    async def check(worker):
        answers = await asyncio.gather(*await queue(worker, ask("aaaa"), ask("bbbb")))
        timings = [done.timings for done in answers]

        longest_s = max(each.service_s for each in timings)
        assert sum(each.device_s for each in timings) <= longest_s + min(each.service_s for each in timings)
        assert min(each.device_s / each.service_s for each in timings) == pytest.approx(0.5)

    within(check, meeting())


def test_one_request_in_two_batches_waited_for_both_at_once():
    """Its time by the clock is that of the clock."""

    async def check(worker):
        done = await worker.submit(ask("aaaa bbbb"))
        timings = done.timings

        assert timings.device_s < 2 * timings.service_s  # each batch lasted as long as the service, and half counts
        assert timings.queue_s >= 0

    within(check, meeting(), budget=4, lane_budget=4)


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
    inside, let_go = threading.Event(), threading.Event()

    def core(_model, contents, _control):
        inside.set()
        let_go.wait(HANG_S)
        return said(contents)

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
            assert met.lately
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
    assert [True, False, False, False, True] == [met.lately for met in (first, second, third, soon, later)]
