"""What must not happen among models: waits without end, threads that stay, two models where one has room."""

from __future__ import annotations

import asyncio
import threading

import pytest

from backends.errors import Overloaded, Unavailable
from backends.local import residency
from backends.local.residency import Resident, make_room
from tests.unit.backends.local.machinery import HANG_S, Parrot, ask, happened
from tests.unit.backends.local.test_model_cache import held, key, threads, use, wanted, within


@pytest.fixture
def quick(monkeypatch):
    """Turns and graces that a test can wait for: what is decided is the same."""
    monkeypatch.setattr(residency, "LEAST_TURN_S", 0.05)
    monkeypatch.setattr(residency, "MOST_GRACE_S", 0.01)


class Heavy(Parrot):
    """A model of which there may be only one."""

    alive = 0

    def __init__(self):
        super().__init__()
        assert 0 == Heavy.alive
        Heavy.alive += 1

    def __del__(self):
        Heavy.alive -= 1


async def until(condition):
    async with asyncio.timeout(HANG_S):
        while not condition():  # noqa: ASYNC110 -- a thread or a clock makes it true, which tells nobody
            await asyncio.sleep(0.001)


def test_whoever_gives_up_in_front_lets_the_next_go():
    """The small model fits: it waited only for its turn in the line."""

    async def check(cache):
        running, parrot = await held(cache, "a", size=80)
        large = asyncio.create_task(use(cache, "b", size=80))
        small = asyncio.create_task(use(cache, "c", size=10))
        await asyncio.sleep(0)
        assert None is cache.peek(key("c"))
        large.cancel()

        assert await asyncio.wait_for(small, HANG_S)
        parrot.may_go_on.set()
        await asyncio.gather(running, large, return_exceptions=True)

    within(check)


def test_whoever_gave_up_takes_no_place_in_the_line():
    """The line is as long as those who wait."""

    async def check(cache):
        running, parrot = await held(cache, "a", size=80)
        first, second = (asyncio.create_task(use(cache, "b", size=80)) for _ in range(2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        third = asyncio.create_task(use(cache, "b", size=80))
        await asyncio.sleep(0)
        assert not third.done()
        parrot.may_go_on.set()
        await asyncio.gather(running, first, third)

    within(check, max_queue=2)


def test_whose_model_is_there_waits_for_no_stranger(quick):
    """B is loaded for the first in the line; the third wants b, too, and needs not wait for the second's turn."""

    async def check(cache):
        running, parrot = await held(cache, "a", size=80)
        gate = Parrot()
        gate.may_go_on.clear()
        tasks = [asyncio.create_task(use(cache, name, size=80, load=lambda: gate)) for name in ("b", "c", "b")]
        await asyncio.sleep(0)
        parrot.may_go_on.set()
        await running
        await until(lambda: cache.peek(key("b")) is not None)

        await until(lambda: 2 == cache.peek(key("b")).worker.queued)
        gate.may_go_on.set()
        await asyncio.gather(*tasks)
        assert 1 == cache.loads[key("b")]

    within(check)


def test_two_idle_workers_without_memory_do_not_wait_for_each_other():
    """Both still compute for nobody, both ask for room at once, and each would drop the other."""
    gate = threading.Event()
    begun = [threading.Event(), threading.Event()]

    def hungry(number):
        def core(_parrot, contents, _control):
            begun[number].set()
            gate.wait(HANG_S)
            raise MemoryError

        return core

    async def check(cache):
        users = [asyncio.create_task(use(cache, "ab"[number], core=hungry(number))) for number in range(2)]
        for event in begun:
            await happened(event)
        for user in users:
            user.cancel()
        await asyncio.gather(*users, return_exceptions=True)
        gate.set()
        await until(lambda: len(threads()) < 2)
        await asyncio.wait_for(cache.aclose(), HANG_S)
        assert [] == threads()

    within(check)


def test_a_drop_waits_for_whoever_holds_the_model():
    """A holder that asks several times, as a measurement does, is served to its end."""

    async def check(cache):
        async with cache.using(wanted("a")) as slot:
            await slot.worker.submit(ask("one"))
            dropping = asyncio.create_task(cache.drop(key("a")))
            await asyncio.sleep(0.01)
            assert "TWO" == (await slot.worker.submit(ask("two"))).answer.output.text
            assert not dropping.done()
        await dropping

        assert [] == threads()

    within(check)


def test_a_dropped_model_holds_its_memory_until_it_is_gone():
    """Whoever wants its place waits until then, and no longer."""

    async def check(cache):
        gate = threading.Event()

        def heavy():
            parrot = Heavy()
            parrot.may_go_on = gate
            return parrot

        running = asyncio.create_task(use(cache, "a", size=80, load=heavy))
        await until(lambda: cache.peek(key("a")) and cache.peek(key("a")).model is not None)
        dropping = asyncio.create_task(cache.drop(key("a")))
        await asyncio.sleep(0)
        other = asyncio.create_task(use(cache, "b", size=80, load=Heavy))
        await asyncio.sleep(0.02)
        gate.set()

        await asyncio.wait_for(asyncio.gather(running, dropping, other), HANG_S)

    within(check)


def test_closing_waits_for_models_that_are_being_dropped():
    """Their requests are told, and their threads have ended."""

    async def check(cache):
        running, _ = await held(cache, "a")
        dropping = asyncio.create_task(cache.drop(key("a")))
        await asyncio.sleep(0)
        await cache.aclose()

        assert [] == threads()
        outcomes = await asyncio.wait_for(asyncio.gather(running, dropping, return_exceptions=True), HANG_S)
        assert isinstance(outcomes[0], Unavailable)

    within(check)


def test_closing_loads_nothing_more():
    """One load is under way, three wait for it: they are given up."""
    release, begun, loads = threading.Event(), threading.Event(), []

    def load():
        loads.append(1)
        begun.set()
        release.wait(HANG_S)
        return Parrot()

    async def check(cache):
        users = [asyncio.create_task(use(cache, name, size=10, load=load)) for name in "abcd"]
        await happened(begun)
        slots = [cache.peek(key(name)) for name in "abcd"]
        closing = asyncio.create_task(cache.aclose())
        await until(lambda: not any(slot.worker._open for slot in slots))
        release.set()
        await closing

        assert ([1], []) == (loads, threads())
        await asyncio.gather(*users, return_exceptions=True)

    within(check)


def test_what_was_evicted_is_gone_before_anything_else_is_loaded(quick):
    """Two loads wait for the third: whichever comes first, the evicted model's memory is free by then."""
    release, begun = threading.Event(), threading.Event()

    def slow():
        begun.set()
        release.wait(HANG_S)
        return Parrot()

    async def check(cache):
        await use(cache, "x", size=80, load=Heavy)
        await until(lambda: make_room(60, 100, cache._residents("cpu"), asyncio.get_running_loop().time()).evict)
        loading = asyncio.create_task(use(cache, "l", size=10, load=slow))
        await happened(begun)
        alive = []
        others = [
            asyncio.create_task(use(cache, name, size=30, load=lambda: alive.append(Heavy.alive) or Parrot()))
            for name in "ab"
        ]
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(loading, *others)

        assert [0, 0] == alive

    within(check)


def test_a_failed_load_leaves_no_thread():
    """It ends by itself, before anybody closes the cache."""

    def broken():
        raise Unavailable("the weights of 'a' are damaged")

    async def check(cache):
        with pytest.raises(Unavailable):
            await use(cache, "a", load=broken)
        await until(lambda: not threads())

    within(check)


def test_nobody_is_stopped_for_a_place_that_cannot_be_had_yet():
    """A's turn is over, b's is not, and c needs both places: a goes on working until b's turn is over, too."""
    over = Resident(name="a", memory_bytes=40, users=1, load_s=0.1, since=0.0, last_use=0.0)
    fresh = Resident(name="b", memory_bytes=60, users=1, load_s=60.0, since=900.0, last_use=900.0)

    assert () == make_room(80, 100, [over, fresh], 1000.0).drain
    assert {"a", "b"} == set(make_room(80, 100, [over, fresh], 1500.0).drain)


def test_a_model_that_takes_no_requests_tells_a_longer_wait(quick):
    """Its place is promised to another one: whoever comes now waits for that one's turn."""

    async def check(cache):
        running, parrot = await held(cache, "a", size=80)
        other = asyncio.create_task(use(cache, "b", size=80))
        await until(lambda: cache.peek(key("a")).draining)

        assert cache.wait_s(key("a"), "cpu", 80) >= residency.LEAST_TURN_S
        assert 1 == cache.waiting(key("b"), "cpu")
        parrot.may_go_on.set()
        await asyncio.gather(running, other)
        assert 0 == cache.waiting(key("b"), "cpu")

    within(check)


def test_the_line_refuses_and_lets_go_under_cancellation():
    """Whoever is refused is told at once; cancelling everybody frees the line for the next."""

    async def check(cache):
        running, parrot = await held(cache, "a", size=80)
        waiting = [asyncio.create_task(use(cache, "b", size=80)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await use(cache, "c", size=80)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert 0 == cache.waiting(key("b"), "cpu")
        parrot.may_go_on.set()
        await running

    within(check, max_queue=2)
