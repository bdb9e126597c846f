"""Models in memory: one load for all, failure, places, draining, eviction, memory given back and the bound."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from backends.errors import OutOfMemory, Overloaded, Unavailable
from backends.local import residency
from backends.local.model_cache import Key, ModelCache, Wanted
from tests.unit.backends.local.machinery import HANG_S, Parrot, ask, family, happened


@pytest.fixture
def quick(monkeypatch):
    """Turns and graces that a test can wait for: what is decided is the same."""
    monkeypatch.setattr(residency, "LEAST_TURN_S", 0.05)
    monkeypatch.setattr(residency, "MOST_GRACE_S", 0.01)


def key(name):
    return Key(Path("/models") / name, "causal-lm")


def wanted(name, size=40, load=Parrot, core=None):
    kind = family(budget=0) if core is None else family(core=core)
    return Wanted(key=key(name), family=kind, device="cpu", memory_bytes=size, load=load)


def within(check, budget=100, max_queue=8):
    """Run `check(cache)` on a loop with a cache that is closed afterwards."""

    async def main():
        cache = ModelCache({"cpu": budget}, max_queue)
        try:
            return await check(cache)
        finally:
            await cache.aclose()

    return asyncio.run(main())


async def use(cache, name, **how):
    asked = ask("hi")
    async with cache.using(wanted(name, **how)) as slot:
        return (await slot.worker.submit(asked)).timings.load_s is not None


def threads():
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("nearfar-"))


async def held(cache, name, **how):
    """A request that holds a model until it is let go."""
    parrot = Parrot()
    parrot.may_go_on.clear()
    task = asyncio.create_task(use(cache, name, load=lambda: parrot, **how))
    await happened(parrot.begun)
    return task, parrot


def test_a_model_is_loaded_once_for_all_who_wait():
    """Eight requests at once: one load, and one of them pays for it."""

    async def check(cache):
        loads = []

        def load():
            loads.append(threading.get_ident())
            return Parrot()

        paid = await asyncio.gather(*(use(cache, "a", load=load) for _ in range(8)))

        assert 1 == len(loads) == cache.loads[key("a")]
        assert threading.get_ident() not in loads
        assert [True] + [False] * 7 == sorted(paid, reverse=True)

    within(check)


def test_a_failed_load_fails_all_who_wait_and_is_tried_again():
    """Everyone is told the same, then the place is free for another try."""

    async def check(cache):
        def broken():
            raise Unavailable("the weights of 'a' are damaged")

        outcomes = await asyncio.gather(*(use(cache, "a", load=broken) for _ in range(3)), return_exceptions=True)

        assert ["the weights of 'a' are damaged"] * 3 == [str(outcome) for outcome in outcomes]
        assert None is cache.peek(key("a"))
        assert await use(cache, "a")

    within(check)


def test_the_idle_model_unused_for_longest_makes_room(quick):
    """Three do not fit where two do; the one not used again goes."""

    async def check(cache):
        for name in "abac":
            await use(cache, name)
            cache.peek(key(name)).worker.load_s = 0.001  # equally dear, however busy this machine is

        assert [True, False, True] == [cache.peek(key(name)) is not None for name in "abc"]
        assert ["nearfar-a", "nearfar-c"] == threads()

    within(check)


def test_a_request_waits_for_a_place_until_the_one_in_use_is_done(quick):
    """The model in use is never evicted; whoever waits is served as soon as it is idle."""

    async def check(cache):
        running, parrot = await held(cache, "a", size=80)
        waiting = asyncio.create_task(use(cache, "b", size=80))
        await asyncio.sleep(0.1)  # longer than a's turn: still in use, so still there

        assert cache.peek(key("a")) is not None
        assert not waiting.done()
        parrot.may_go_on.set()
        await running
        assert await waiting
        assert None is cache.peek(key("a"))

    within(check)


def test_a_model_whose_turn_is_over_takes_no_new_requests_while_others_wait(quick):
    """Else a busy model would keep its place for ever; the newcomer is served after the other's turn."""

    async def check(cache):
        running, parrot = await held(cache, "a", size=80)
        other = asyncio.create_task(use(cache, "b", size=80))
        slot = cache.peek(key("a"))
        while not slot.draining:  # noqa: ASYNC110 -- its turn ends by the clock, which tells nobody
            await asyncio.sleep(0.01)
        newcomer = asyncio.create_task(use(cache, "a", size=80))
        await asyncio.sleep(0)
        assert 1 == slot.worker.queued
        parrot.may_go_on.set()

        await asyncio.gather(running, other, newcomer)
        assert (2, 1) == (cache.loads[key("a")], cache.loads[key("b")])

    within(check)


def test_whoever_gives_up_waiting_leaves_no_trace(quick):
    """The busy model takes requests again, and its place is not given away."""

    async def check(cache):
        running, parrot = await held(cache, "a", size=80)
        waiting = asyncio.create_task(use(cache, "b", size=80))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        parrot.may_go_on.set()
        await running

        assert not await use(cache, "a", size=80)
        assert 1 == cache.loads[key("a")]
        assert 0 == cache.peek(key("a")).users

    within(check)


def test_two_models_that_do_not_fit_alternate_without_thrash(quick):
    """Thirty callers want one model, then the other; loads are a small part of the requests, and nothing fails."""

    async def check(cache):
        async def caller(number):
            for turn in range(10):
                await use(cache, "ab"[(number + turn) % 2], size=80)

        await asyncio.gather(*(caller(number) for number in range(30)))

        assert sum(cache.loads.values()) * 10 <= 30 * 10

    within(check, max_queue=64)


def test_the_evicted_model_is_gone_before_the_next_is_loaded(quick):
    """Two models never overlap where only one has room."""

    class Heavy(Parrot):
        alive = 0

        def __init__(self):
            super().__init__()
            Heavy.alive += 1
            assert 1 == Heavy.alive

        def __del__(self):
            Heavy.alive -= 1

    async def check(cache):
        for name in "abcab":
            await use(cache, name, size=80, load=Heavy)

    within(check)


def test_one_load_at_a_time_on_a_device():
    """Two models loaded at once do not fight for the same cores and disk."""
    loading = []

    def load():
        loading.append(1)
        assert 1 == len(loading)
        threading.Event().wait(0.02)
        loading.pop()
        return Parrot()

    async def check(cache):
        await asyncio.gather(use(cache, "a", load=load), use(cache, "b", load=load))

    within(check)


def test_a_model_larger_than_the_budget_is_refused():
    """No eviction can help, and nothing is evicted for it."""

    async def check(cache):
        await use(cache, "a")
        with pytest.raises(OutOfMemory, match="models may occupy"):
            await use(cache, "b", size=101)

        assert cache.peek(key("a")) is not None

    within(check)


def test_the_line_for_places_is_bounded():
    """Beyond it a request is refused, typed, so that it can be routed elsewhere."""

    async def check(cache):
        running, parrot = await held(cache, "a", size=80)
        waiting = [asyncio.create_task(use(cache, "b", size=80)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await use(cache, "b", size=80)
        for task in waiting:
            task.cancel()
        parrot.may_go_on.set()
        await asyncio.gather(running, *waiting, return_exceptions=True)

    within(check, max_queue=2)


def test_the_wait_for_a_place_can_be_asked_for():
    """Nothing where there is room or a place already; a busy model's turn otherwise."""

    async def check(cache):
        running, parrot = await held(cache, "a", size=80)

        assert 0 == cache.wait_s(key("a"), "cpu", 80) == cache.wait_s(key("b"), "cpu", 20)
        assert 0 < cache.wait_s(key("b"), "cpu", 80) <= residency.LEAST_TURN_S
        parrot.may_go_on.set()
        await running

    within(check)


def test_a_worker_without_memory_drops_the_idle_models():
    """The idle one goes, the one in use stays, and the request is answered."""
    calls = []

    def hungry(_parrot, contents, _control):
        calls.append(contents)
        if len(calls) == 1:
            raise MemoryError
        return ["FED"]

    async def check(cache):
        await use(cache, "idle", size=10)
        running, parrot = await held(cache, "busy", size=10)
        await use(cache, "hungry", size=10, core=hungry)

        assert [None, True, True] == [cache.peek(key(name)) and True for name in ("idle", "busy", "hungry")]
        parrot.may_go_on.set()
        await running

    within(check)


def test_a_dropped_model_is_loaded_anew():
    """Its requests are done first."""

    async def check(cache):
        await use(cache, "a")
        await cache.drop(key("a"))

        assert None is cache.peek(key("a"))
        assert [] == threads()
        assert await use(cache, "a")

    within(check)


def test_closing_leaves_no_thread_and_refuses():
    """Every worker has ended, whoever waits is told, and the cache opens nothing more."""

    async def check(cache):
        running, _ = await held(cache, "a", size=80)
        waiting = asyncio.create_task(use(cache, "b", size=80))
        await asyncio.sleep(0)
        await cache.aclose()
        outcomes = await asyncio.gather(running, waiting, return_exceptions=True)

        assert [] == threads()
        assert [Unavailable] * 2 == [type(outcome) for outcome in outcomes]
        with pytest.raises(Unavailable):
            await use(cache, "a")

    within(check)


def test_a_caller_that_leaves_does_not_stop_the_load():
    """The one who came first goes away; the model is loaded all the same."""

    async def check(cache):
        release = threading.Event()

        def load():
            release.wait(HANG_S)
            return Parrot()

        first = asyncio.create_task(use(cache, "a", load=load))
        await asyncio.sleep(0)
        first.cancel()
        second = asyncio.create_task(use(cache, "a"))
        await asyncio.sleep(0)
        release.set()
        await second

        assert 1 == cache.loads[key("a")]

    within(check)
