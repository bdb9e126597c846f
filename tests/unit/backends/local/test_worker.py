"""One thread, one model, one bounded queue: batches, shares, refusal, cancellation, failure and the end."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import nullcontext

import pytest

from backends.errors import OutOfMemory, Overloaded, Timeout, Unavailable
from backends.local.worker import Worker
from backends.types import Delta
from tests.unit.backends.local.machinery import HANG_S, Parrot, ask, family, happened


def within(check, max_queue=8, make_room=lambda: False, load=None, **kind):
    """Run `check(worker, parrot)` on a loop with a worker that is closed afterwards."""
    parrot = Parrot()

    async def main():
        worker = Worker("test-worker", family(**kind), max_queue)
        loading = worker.start(load or (lambda: parrot), nullcontext(), make_room)
        try:
            return await check(worker, parrot)
        finally:
            await asyncio.to_thread(worker.close)
            await asyncio.gather(loading, return_exceptions=True)

    return asyncio.run(main())


async def busy(worker, parrot):
    """Let a first request occupy the thread; the next ones queue behind it."""
    await worker.submit(ask("hello"))
    parrot.begun.clear()
    parrot.may_go_on.clear()
    running = asyncio.create_task(worker.submit(ask("first")))
    await happened(parrot.begun)
    return running


async def queue(worker, *asks):
    tasks = [asyncio.create_task(worker.submit(each)) for each in asks]
    await asyncio.sleep(0)
    return tasks


def test_what_queued_while_the_thread_was_busy_is_one_batch():
    """No timer, no wait: the batch is what is there when the thread is free; each gets its own answer."""

    async def check(worker, parrot):
        running = await busy(worker, parrot)
        waiting = await queue(worker, ask("a b"), ask("c"), ask("d e f"))
        parrot.may_go_on.set()
        answers = await asyncio.gather(running, *waiting)

        assert ["FIRST", "A B", "C", "D E F"] == [done.answer.output.text for done in answers]
        assert [["hello"], ["first"], ["a", "b", "c", "d", "e", "f"]] == parrot.batches
        assert [1, 3, 3, 3] == [done.batch_size for done in answers]

    within(check)


def test_the_device_time_of_a_batch_is_shared_out_by_size():
    """Everybody waited for the whole batch; together they pay for it once."""

    async def check(worker, parrot):
        running = await busy(worker, parrot)
        waiting = await queue(worker, ask("aaaa"), ask("bb"), ask("c c"))
        parrot.may_go_on.set()
        _, *mates = await asyncio.gather(running, *waiting)
        timings = [done.timings for done in mates]

        assert 1 == len({each.service_s for each in timings})
        assert pytest.approx(timings[0].service_s) == sum(each.device_s for each in timings)
        assert pytest.approx(2 * timings[1].device_s) == timings[0].device_s

    within(check)


def test_a_request_that_breaks_its_batch_fails_alone():
    """Its mates run again without it."""

    async def check(worker, parrot):
        running = await busy(worker, parrot)
        waiting = await queue(worker, ask("good"), ask("poison"), ask("fine"))
        parrot.may_go_on.set()
        await running
        answers = await asyncio.gather(*waiting, return_exceptions=True)

        assert ["GOOD", "FINE"] == [answers[0].answer.output.text, answers[2].answer.output.text]
        assert "'parrot' failed on this machine: KeyError" == str(answers[1])

    within(check)


def test_an_input_that_cannot_be_prepared_fails_its_sender_only():
    """The error names no content, and the next request is served."""

    async def check(worker, parrot):
        with pytest.raises(Unavailable, match="'parrot' failed on this machine: ValueError"):
            await worker.submit(ask("cannot be read"))

        assert "FINE" == (await worker.submit(ask("fine"))).answer.output.text

    within(check)


def test_a_full_queue_refuses_with_the_expected_wait():
    """One runs, two wait, the fourth is refused and told when to come back."""

    async def check(worker, parrot):
        running = await busy(worker, parrot)
        waiting = await queue(worker, ask("a"), ask("b"))
        with pytest.raises(Overloaded) as caught:
            await worker.submit(ask("c"))

        assert 3 == worker.queued
        assert worker.expected_wait_s == caught.value.retry_after_s > 0
        parrot.may_go_on.set()
        await asyncio.gather(running, *waiting)
        assert 0 == worker.queued

    within(check, max_queue=2)


def test_the_expected_wait_grows_with_the_work_that_is_queued():
    """It is known once something was measured, and weighs requests by their size."""

    async def check(worker, parrot):
        assert None is worker.expected_wait_s
        running = await busy(worker, parrot)
        small = worker.expected_wait_s
        waiting = await queue(worker, ask("x" * 500))

        assert small * 50 < worker.expected_wait_s
        parrot.may_go_on.set()
        await asyncio.gather(running, *waiting)
        assert 0 == worker.expected_wait_s

    within(check, budget=1000)


def test_the_expected_wait_goes_by_all_work_and_not_by_the_ratios_of_small_requests():
    """A request of one letter takes far longer a letter than a large one: the mean of both would be a wrong wait."""

    async def check(worker, parrot):
        asked = [ask("x" * 10_000), ask("y"), ask("z")]
        done = [await worker.submit(each) for each in asked]
        parrot.begun.clear()
        parrot.may_go_on.clear()
        running = asyncio.create_task(worker.submit(ask("x" * 10_000)))
        await happened(parrot.begun)
        waited_s = worker.expected_wait_s
        parrot.may_go_on.set()
        await running

        spent_s = sum(each.timings.pre_s + each.timings.device_s + each.timings.post_s for each in done)
        assert waited_s < 1.5 * spent_s  # by the mean of the ratios it would be thousands of times as much

    within(check, budget=10_000)


def test_cancelling_a_queued_request_takes_it_out():
    """Its sender left while it waited: it never runs."""

    async def check(worker, parrot):
        running = await busy(worker, parrot)
        (waiting,) = await queue(worker, ask("unwanted"))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert 1 == worker.queued
        parrot.may_go_on.set()
        await running
        await worker.submit(ask("next"))

        assert ["unwanted"] not in parrot.batches

    within(check)


def test_cancelling_a_running_request_is_seen_by_a_core_that_runs_alone():
    """The thread is free for the next request at once."""

    async def check(worker, parrot):
        running = await busy(worker, parrot)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        parrot.begun.clear()
        (following,) = await queue(worker, ask("next"))
        await happened(parrot.begun)  # the first one was left off: the gate is still shut
        parrot.may_go_on.set()

        assert "NEXT" == (await following).answer.output.text
        assert ["first"] not in parrot.batches

    within(check, budget=0)


def test_a_request_past_its_deadline_is_dropped_before_it_is_computed():
    """Nobody waits for it, so the device does not work for it."""

    async def check(worker, parrot):
        running = await busy(worker, parrot)
        (late,) = await queue(worker, ask("late", deadline=time.monotonic()))
        parrot.may_go_on.set()
        await running
        with pytest.raises(Timeout):
            await late

        assert ["late"] not in parrot.batches

    within(check)


def test_pieces_carry_the_device_time_so_far():
    """A core that runs alone may tell pieces; the worker stamps them."""

    def telling(parrot, contents, control):
        control.emit(Delta("one"))
        control.emit(Delta("two"))
        return ["both"]

    async def check(worker, _parrot):
        pieces = []
        done = await worker.submit(ask("x", emit=pieces.append))

        assert ["one", "two"] == [piece.text for piece in pieces]
        assert 0 < pieces[0].service_s <= pieces[1].service_s <= done.timings.service_s
        assert pieces[0].service_s == done.timings.first_token_s

    within(check, budget=0, core=telling)


def test_a_batch_without_memory_is_tried_in_halves():
    """The largest batch that fits is found; every answer is right."""
    sizes = []

    def small_only(parrot, contents, control):
        sizes.append(len(contents))
        if len(contents) > 2:
            raise MemoryError
        return [word.upper() for word in contents]

    async def check(worker, _parrot):
        done = await worker.submit(ask("a b c d e f g"))

        assert "A B C D E F G" == done.answer.output.text
        assert [7, 3, 1, 2, 4, 2, 2] == sizes

    within(check, core=small_only)


def test_one_unit_without_memory_makes_room_and_is_tried_once_more():
    """When idle models went, it fits; when there were none, it fails and the worker lives."""
    room = [True, False]
    calls = []

    def hungry(parrot, contents, control):
        calls.append(contents)
        if len(calls) != 2:
            raise MemoryError
        return ["fed"]

    async def check(worker, _parrot):
        assert "fed" == (await worker.submit(ask("x"))).answer.output.text
        with pytest.raises(OutOfMemory):
            await worker.submit(ask("y"))
        assert 3 == len(calls)

    within(check, core=hungry, make_room=lambda: room.pop(0))


def test_a_load_without_memory_makes_room_and_is_tried_again():
    """The first attempt fails, idle models go, the second succeeds."""
    attempts = []

    def load():
        attempts.append(1)
        if len(attempts) == 1:
            raise OutOfMemory("no memory left")
        return Parrot()

    async def check(worker, _parrot):
        assert "HI" == (await worker.submit(ask("hi"))).answer.output.text

    within(check, load=load, make_room=lambda: True)
    assert [1, 1] == attempts


def test_the_request_that_waited_for_the_load_says_so():
    """The next one paid nothing for it."""
    asked = threading.Event()

    async def check(worker, _parrot):
        (waiting,) = await queue(worker, ask("one"))
        asked.set()
        first, second = await waiting, await worker.submit(ask("two"))

        assert first.timings.load_s == worker.load_s > 0
        assert None is second.timings.load_s

    within(check, load=lambda: asked.wait(HANG_S) and Parrot())


def test_closing_fails_what_waits_and_stops_what_runs():
    """Nobody is left waiting, and the thread has ended."""

    async def check(worker, parrot):
        running = await busy(worker, parrot)
        waiting = await queue(worker, ask("a"), ask("b"))
        await asyncio.to_thread(worker.close)
        outcomes = await asyncio.gather(running, *waiting, return_exceptions=True)

        assert [Unavailable] * 3 == [type(outcome) for outcome in outcomes]
        assert "test-worker" not in {thread.name for thread in threading.enumerate()}
        with pytest.raises(Unavailable):
            await worker.submit(ask("late"))

    within(check, budget=0)
