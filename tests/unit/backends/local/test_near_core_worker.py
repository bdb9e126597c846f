"""What must not happen to a worker: a job that hangs, memory that stays, work told twice or refused in error."""

from __future__ import annotations

import asyncio
import threading
import weakref
from contextlib import nullcontext

import pytest

from backends.errors import OutOfMemory, Unavailable
from backends.local.types import LocalTask, Unit
from backends.local.worker import Worker
from backends.types import Delta, Task
from tests.unit.backends.local.machinery import HANG_S, LETTERS, Parrot, ask, core, family, happened, post, pre
from tests.unit.backends.local.test_worker import busy, queue, within


class Panic(BaseException):
    """What a library written in Rust raises when it panics: no `Exception`."""


class Thing:
    """Something whose end can be seen."""


async def gone(ref):
    """Wait until nothing holds what `ref` refers to; no collector runs here, so nothing may hold it in a circle."""
    async with asyncio.timeout(HANG_S):
        while ref() is not None:  # noqa: ASYNC110 -- a thread lets go of it, which tells nobody
            await asyncio.sleep(0.001)


def task(pre=pre, post=post):
    return LocalTask(task=Task.TEXT_GENERATION, family="causal-lm", pre=pre, post=post, warm_ups=(LETTERS,))


def panicking(*_):
    raise Panic("index out of range: the prompt")


@pytest.mark.parametrize("broken", [task(pre=panicking), task(post=panicking)])
def test_a_panic_fails_its_sender_only(broken):
    """The thread lives on, and the panic's message, which may hold a prompt, is not repeated."""

    async def check(worker, _parrot):
        with pytest.raises(Unavailable, match=r"^'parrot' failed on this machine: Panic$"):
            await asyncio.wait_for(worker.submit(ask("x", task=broken)), HANG_S)
        assert "FINE" == (await worker.submit(ask("fine"))).answer.output.text

    within(check)


def test_a_panicking_core_fails_its_sender_only():
    """As any other failure of the core."""

    def panics_once(parrot, contents, control):
        if contents == ["panic"]:
            panicking()
        return core(parrot, contents, control)

    async def check(worker, _parrot):
        with pytest.raises(Unavailable, match=r"^'parrot' failed on this machine: Panic$"):
            await asyncio.wait_for(worker.submit(ask("panic")), HANG_S)
        assert "FINE" == (await worker.submit(ask("fine"))).answer.output.text

    within(check, core=panics_once)


def test_a_panicking_load_is_a_failed_load():
    """Who waits is told, and the loading future fails."""

    async def check(worker, _parrot):
        with pytest.raises(Unavailable, match="Panic"):
            await asyncio.wait_for(worker.submit(ask("x")), HANG_S)

    within(check, load=panicking)


def test_a_core_that_loses_a_result_fails_its_batch():
    """Else whoever waits for the missing one would wait for ever."""

    async def check(worker, _parrot):
        with pytest.raises(Unavailable, match="1 results for 2 inputs"):
            await asyncio.wait_for(worker.submit(ask("a b")), HANG_S)

    within(check, core=lambda _parrot, _contents, _control: ["A"])


def test_an_idle_worker_keeps_nothing_of_the_last_request():
    """Neither its input nor what the core made of it: a recording or a picture would lie there for hours."""
    seen = []

    def remembered(_model, _payload):
        content, result = Thing(), Thing()
        content.result = result
        seen.extend([weakref.ref(content), weakref.ref(result)])
        return [Unit(content)]

    async def check(worker, _parrot):
        await worker.submit(ask("x", task=task(pre=remembered, post=lambda *_: post(None, None, [], ["done"]))))
        for ref in seen:
            await gone(ref)

    within(check, core=lambda _parrot, contents, _control: [content.result for content in contents])


def test_a_request_that_left_the_queue_leaves_no_trace_of_it():
    """Clients that come and go while the thread is busy for long fill no memory."""

    async def check(worker, parrot):
        running = await busy(worker, parrot)
        refs = []
        for number in range(20):

            def emit(_piece, number=number):
                return number

            refs.append(weakref.ref(emit))
            (waiting,) = await queue(worker, ask("unwanted", emit=emit))
            del emit
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            del waiting
        for ref in refs:
            await gone(ref)
        parrot.may_go_on.set()
        await running

    within(check)


def memory_error_after_a_delta(times):
    left = [times]

    def runs(_parrot, contents, control):
        control.emit(Delta("once upon"))
        if left[0]:
            left[0] -= 1
            raise MemoryError
        return [word.upper() for word in contents]

    return runs


def test_what_was_told_is_not_told_twice():
    """Memory runs out after a piece was streamed: trying again would stream it again, so the request fails."""

    async def check(worker, _parrot):
        pieces = []
        with pytest.raises(OutOfMemory):
            await worker.submit(ask("x", emit=pieces.append))

        assert ["once upon"] == [piece.text for piece in pieces]

    within(check, budget=0, core=memory_error_after_a_delta(1), make_room=lambda: True)


def test_what_nobody_listens_to_may_be_tried_again():
    """A request that is answered whole does not see the first try."""

    async def check(worker, _parrot):
        assert "X" == (await worker.submit(ask("x"))).answer.output.text

    within(check, budget=0, core=memory_error_after_a_delta(1), make_room=lambda: True)


def test_a_request_is_not_counted_as_waiting_once_the_thread_has_begun_it():
    """Tokenising a batch is work on it: the queue behind it has all its places."""
    begun, may_go_on = threading.Event(), threading.Event()

    def slow(parrot, payload):
        begun.set()
        may_go_on.wait(HANG_S)
        return pre(parrot, payload)

    async def check(worker, _parrot):
        first = asyncio.create_task(worker.submit(ask("a", task=task(pre=slow))))
        await happened(begun)
        behind = await queue(worker, ask("b"), ask("c"))
        may_go_on.set()

        assert ["A", "B", "C"] == [each.answer.output.text for each in await asyncio.gather(first, *behind)]

    within(check, max_queue=2)


def test_closing_does_not_wait_for_loads_that_have_not_begun():
    """Else a server with many cold models takes minutes to stop."""
    turn = threading.Lock()
    loads = []

    async def main():
        worker = Worker("test-worker", family(), 8)
        turn.acquire()
        loading = worker.start(lambda: loads.append(1) or Parrot(), turn, lambda: False)
        waiting = asyncio.create_task(worker.submit(ask("x")))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(worker.close))
        while worker._open:  # noqa: ASYNC110 -- the executor's thread closes it, which tells nobody
            await asyncio.sleep(0.001)
        turn.release()
        await closing
        return await asyncio.gather(waiting, loading, return_exceptions=True)

    assert [Unavailable] * 2 == [type(outcome) for outcome in asyncio.run(main())]
    assert [] == loads


def test_the_load_is_paid_by_whoever_is_left_to_pay():
    """The one who came first gave up: the second one reports the load."""
    release = threading.Event()

    async def check(worker, _parrot):
        first, second = await queue(worker, ask("a"), ask("b"))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        release.set()

        assert (await second).timings.load_s == worker.load_s > 0

    within(check, load=lambda: release.wait(HANG_S) and Parrot())


def test_the_expected_wait_counts_everything_the_thread_does():
    """Decoding a picture can take longer than looking at it."""

    def slow(parrot, payload):
        threading.Event().wait(0.05)
        return pre(parrot, payload)

    async def check(worker, parrot):
        await worker.submit(ask("abcd", task=task(pre=slow)))
        running = await queue(worker, ask("abcd", task=task(pre=slow)))

        assert worker.expected_wait_s >= 0.05
        await asyncio.gather(*running)

    within(check)


def test_a_failed_load_keeps_nothing_it_had_read():
    """Half a model's weights are gone as soon as the load has failed, though its error is still there."""
    read = []

    def load():
        weights = Thing()
        read.append(weakref.ref(weights))
        raise Unavailable("the weights are damaged")

    async def check(worker, _parrot):
        with pytest.raises(Unavailable) as caught:
            await worker.submit(ask("x"))
        await gone(read[0])
        assert "the weights are damaged" == str(caught.value)

    within(check, load=load)


def test_what_a_failed_attempt_held_is_gone_before_room_is_made():
    """Else the activations that did not fit are still there when the memory is counted again."""
    held, at_making_room = [], []

    def hungry(_parrot, contents, _control):
        activations = Thing()
        if not held:
            held.append(weakref.ref(activations))
            raise MemoryError
        return contents

    def make_room():
        at_making_room.append(held[0]())
        return True

    async def check(worker, _parrot):
        await worker.submit(ask("x"))
        assert [None] == at_making_room

    within(check, core=hungry, make_room=make_room)


def test_one_bad_request_among_many_costs_few_runs():
    """It is found by halving, not by running everybody alone."""
    runs = []

    def counted(parrot, contents, control):
        runs.append(len(contents))
        return core(parrot, contents, control)

    async def check(worker, parrot):
        running = await busy(worker, parrot)
        waiting = await queue(worker, *(ask("poison" if number == 11 else f"w{number}") for number in range(32)))
        parrot.may_go_on.set()
        await running
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)

        assert [11] == [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Unavailable)]
        assert len(runs) <= 2 + 1 + 2 * 5

    within(check, max_queue=64, budget=1000, core=counted)


def test_a_worker_that_was_never_started_can_be_closed():
    """Nothing to wait for."""
    Worker("test-worker", family(), 8).close()


def test_a_request_that_comes_while_the_worker_closes_is_told():
    """Whatever the order of the two: nobody hangs."""

    async def main():
        worker = Worker("test-worker", family(), 8)
        loading = worker.start(Parrot, nullcontext(), lambda: False)
        closing = asyncio.create_task(asyncio.to_thread(worker.close))
        outcomes = []
        while not closing.done():
            outcomes += await asyncio.gather(worker.submit(ask("x")), return_exceptions=True)
        await asyncio.gather(closing, loading, return_exceptions=True)
        return outcomes

    outcomes = asyncio.run(main())
    assert all(isinstance(each, Unavailable) or each.answer.output.text == "X" for each in outcomes)


async def kept_with(error_of, core=core):
    """The model of a closed worker, where something keeps it, and the error that `error_of(worker)` met."""
    refs = []

    def load():
        parrot = Parrot()
        refs.append(weakref.ref(parrot))
        return parrot

    worker = Worker("test-worker", family(core=core), 8)
    loading = worker.start(load, nullcontext(), lambda: False)
    error = await error_of(worker)
    await asyncio.to_thread(worker.close)
    await loading
    return refs[0](), error


def breaks(*_):
    raise KeyError("broken")


@pytest.mark.parametrize(
    ("broken", "core"),
    [
        (task(pre=lambda model, _: breaks(model)), core),
        (task(), lambda model, *_: breaks(model)),
        (task(post=lambda model, *_: breaks(model)), core),
    ],
)
def test_an_error_keeps_no_model(broken, core):
    """Whoever keeps the error of a request, for its row or its log, does not keep an evicted model in memory."""

    async def error_of(worker):
        with pytest.raises(Unavailable) as caught:
            await worker.submit(ask("x", task=broken))
        return caught.value

    model, error = asyncio.run(kept_with(error_of, core))
    assert (None, "'parrot' failed on this machine: KeyError") == (model, str(error))


def test_the_error_of_a_batch_keeps_no_model():
    """Neither does what failed before its halves did."""

    async def error_of(worker):
        words = ("good", "poison", "fine", "well")
        outcomes = await asyncio.gather(*(worker.submit(ask(word)) for word in words), return_exceptions=True)
        return outcomes[1]

    model, error = asyncio.run(kept_with(error_of))
    assert (None, "'parrot' failed on this machine: KeyError") == (model, str(error))


def test_a_failure_told_twice_stops_nobody_who_heard_it_before():
    """All who wait for a load are told the same error; letting go of what its frames hold touches no caller's."""

    def broken():
        raise Unavailable("the weights are damaged")

    async def check(worker, _parrot):
        told, go_on = asyncio.Event(), asyncio.Event()

        async def first():
            try:
                await worker.submit(ask("one"))
            except Unavailable:
                told.set()
                await go_on.wait()
            return "went on"

        going = asyncio.create_task(first())
        await told.wait()
        with pytest.raises(Unavailable):
            await worker.submit(ask("two"))
        go_on.set()

        assert "went on" == await asyncio.wait_for(going, HANG_S)

    within(check, load=broken)


def test_an_error_raised_again_and_again_stops_nobody():
    """A core may raise the same object every time: its traceback has grown by the frames of those who were told."""
    always = KeyError("one object")

    def broken(*_):
        raise Unavailable("no") from always

    async def check(worker, _parrot):
        go_on = asyncio.Event()

        async def told(word):
            try:
                await worker.submit(ask(word))
            except Unavailable as error:
                try:
                    raise error.__cause__
                except KeyError:
                    await go_on.wait()
            return word

        tasks = [asyncio.create_task(told(word)) for word in ("one", "two")]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await worker.submit(ask("three"))
        with pytest.raises(Unavailable):
            await worker.submit(ask("four"))
        go_on.set()

        assert ["one", "two"] == await asyncio.wait_for(asyncio.gather(*tasks), HANG_S)

    within(check, core=broken)


@pytest.mark.parametrize(("device", "batches"), [("cpu", 4), ("cuda:0", 1)])
def test_a_gpu_is_given_more_at_once(device, batches):
    """A batch that keeps a processor busy is over on a GPU before it has begun to work."""

    async def check(worker, parrot):
        parrot.device = device
        await worker.submit(ask("abcd abcd abcd abcd"))

        assert batches == len(parrot.batches)

    within(check, budget=4)
