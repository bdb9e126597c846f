"""One thread, one bounded queue: order, refusal, cancellation, failure and the end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from backends.errors import Overloaded, Unavailable
from backends.local.worker import Cancelled, Worker


def within(check, max_queue=8):
    """Run `check(worker)` on a loop with a worker that is closed afterwards."""

    async def main():
        worker = Worker("test-worker", max_queue)
        try:
            return await check(worker)
        finally:
            await asyncio.to_thread(worker.close)

    return asyncio.run(main())


class Gate:
    """A job that says when it has begun and ends when it is let go or cancelled."""

    def __init__(self):
        self.begun = threading.Event()
        self.released = threading.Event()
        self.saw_cancel = threading.Event()

    def __call__(self, cancelled):
        self.begun.set()
        while not self.released.wait(0.001):
            if cancelled.is_set():
                self.saw_cancel.set()
                raise Cancelled
        return "done"


async def begun(gate):
    assert await asyncio.to_thread(gate.begun.wait, 10)


def test_jobs_run_in_order_on_one_thread_of_their_own():
    """Every job sees the same thread, which is not the caller's, in the order of submission."""

    async def check(worker):
        seen = []
        done = await asyncio.gather(
            *(worker.submit(lambda _, n=n: seen.append(n) or threading.get_ident()) for n in range(5))
        )

        assert list(range(5)) == seen
        assert 1 == len({one.value for one in done} - {threading.get_ident()})

    within(check)


def test_a_failing_job_fails_its_caller_only():
    """An exception goes to whoever asked, and the next job is served."""

    async def check(worker):
        with pytest.raises(ZeroDivisionError):
            await worker.submit(lambda _: 1 / 0)

        assert "fine" == (await worker.submit(lambda _: "fine")).value

    within(check)


def test_a_full_queue_refuses_with_the_expected_wait():
    """One runs, two wait, the fourth is refused and told when to come back."""

    async def check(worker):
        gate = Gate()
        running = asyncio.create_task(worker.submit(gate))
        await begun(gate)
        waiting = [asyncio.create_task(worker.submit(lambda _: None)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await worker.submit(lambda _: None)

        assert 3 == worker.queued
        assert worker.expected_wait_s == caught.value.retry_after_s > 0
        gate.released.set()
        await asyncio.gather(running, *waiting)

    within(check, max_queue=2)


def test_work_that_is_no_request_has_room_always():
    """A load is queued though no request may wait."""

    async def check(worker):
        gate = Gate()
        running = asyncio.create_task(worker.submit(gate))
        await begun(gate)
        waiting = asyncio.create_task(worker.submit(lambda _: None))
        await asyncio.sleep(0)
        loading = worker.start(lambda _: "loaded")
        gate.released.set()
        await asyncio.gather(running, waiting)

        assert "loaded" == (await loading).value

    within(check, max_queue=1)


def test_cancelling_a_queued_job_takes_it_out():
    """A job whose caller left while it waited never runs."""

    async def check(worker):
        gate, ran = Gate(), []
        running = asyncio.create_task(worker.submit(gate))
        await begun(gate)
        waiting = asyncio.create_task(worker.submit(lambda _: ran.append("it ran")))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

        assert 1 == worker.queued
        gate.released.set()
        await running
        assert [] == ran

    within(check)


def test_cancelling_a_running_job_signals_it():
    """The job sees the event; the caller does not wait for it to end."""

    async def check(worker):
        gate = Gate()
        running = asyncio.create_task(worker.submit(gate))
        await begun(gate)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        assert await asyncio.to_thread(gate.saw_cancel.wait, 10)
        assert "next" == (await worker.submit(lambda _: "next")).value

    within(check)


def test_waiting_and_running_are_told_apart():
    """The job behind another one waited at least as long as that one ran."""

    async def check(worker):
        gate = Gate()
        first = asyncio.create_task(worker.submit(gate))
        second = asyncio.create_task(worker.submit(lambda _: None))
        await begun(gate)
        gate.released.set()
        one, two = await asyncio.gather(first, second)

        assert one.queue_s >= 0
        assert two.queue_s >= one.service_s

    within(check)


def test_closing_fails_what_waits_and_cuts_off_what_runs():
    """Both callers are told that the backend is going away, and the thread has ended."""

    async def check(worker):
        gate = Gate()
        running = asyncio.create_task(worker.submit(gate))
        await begun(gate)
        waiting = asyncio.create_task(worker.submit(lambda _: None))
        await asyncio.sleep(0)
        await asyncio.to_thread(worker.close)
        outcomes = await asyncio.gather(running, waiting, return_exceptions=True)

        assert [Unavailable, Unavailable] == [type(outcome) for outcome in outcomes]
        assert "test-worker" not in {thread.name for thread in threading.enumerate()}

    within(check)


def test_a_finished_worker_does_what_is_queued_and_no_more():
    """`finish` lets the queue run out; new work is refused."""

    async def check(worker):
        gate = Gate()
        running = asyncio.create_task(worker.submit(gate))
        await begun(gate)
        waiting = asyncio.create_task(worker.submit(lambda _: "served"))
        await asyncio.sleep(0)
        worker.finish()
        with pytest.raises(Unavailable):
            await worker.submit(lambda _: None)
        gate.released.set()

        assert ["done", "served"] == [one.value for one in await asyncio.gather(running, waiting)]

    within(check)


def test_a_result_for_a_closed_loop_is_dropped():
    """A job that outlives its event loop ends quietly, and the worker lives on."""
    gate = Gate()
    workers = []

    async def leave():
        workers.append(Worker("test-worker", 8))
        task = asyncio.create_task(workers[0].submit(gate))
        await begun(gate)
        task.cancel()

    asyncio.run(leave())
    gate.released.set()
    workers[0].close()

    assert 0 == workers[0].queued
