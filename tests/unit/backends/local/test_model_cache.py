"""Models in memory: single flight, failure, eviction and the bound."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from backends.errors import OutOfMemory, Unavailable
from backends.local.model_cache import Key, ModelCache


def key(name):
    return Key(Path("/models") / name, "embedder")


def within(check, budget=100):
    """Run `check(cache)` on a loop with a cache that is closed afterwards."""

    async def main():
        cache = ModelCache({"cpu": budget}, max_queue=8)
        try:
            return await check(cache)
        finally:
            await cache.aclose()

    return asyncio.run(main())


async def use(cache, name, size=40, load=None):
    slot, paid = cache.open(key(name), "cpu", size, load or (lambda: f"model {name}"))
    return (await slot.run(lambda model, _: model)).value, paid


def threads():
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("nearfar-"))


def test_a_model_is_loaded_once_for_all_who_wait():
    """Eight requests at once: one load, and one of them pays for it."""

    async def check(cache):
        loads = []
        answers = await asyncio.gather(
            *(use(cache, "a", load=lambda: loads.append(threading.get_ident()) or "model") for _ in range(8))
        )

        assert 1 == len(loads)
        assert threading.get_ident() not in loads
        assert [("model", True)] + [("model", False)] * 7 == answers

    within(check)


def test_a_failed_load_fails_all_who_wait_and_is_tried_again():
    """Everyone is told the same, then the slot is free for another try."""

    async def check(cache):
        def broken():
            raise Unavailable("the weights of 'a' are damaged")

        outcomes = await asyncio.gather(*(use(cache, "a", load=broken) for _ in range(3)), return_exceptions=True)

        assert ["the weights of 'a' are damaged"] * 3 == [str(outcome) for outcome in outcomes]
        assert None is cache.peek(key("a"))
        assert ("model a", True) == await use(cache, "a")

    within(check)


def test_the_idle_model_unused_for_longest_makes_room():
    """Three do not fit where two do; the one not used again goes."""

    async def check(cache):
        await use(cache, "a")
        await use(cache, "b")
        await use(cache, "a")
        await use(cache, "c")

        assert [True, False, True] == [cache.peek(key(name)) is not None for name in "abc"]
        assert ["nearfar-a", "nearfar-c"] == threads()

    within(check)


def test_a_model_in_use_is_never_evicted():
    """While its request runs there is no room for another, and the sentence says how much there is."""

    async def check(cache):
        release = threading.Event()
        slot, _ = cache.open(key("a"), "cpu", 80, lambda: "model")
        running = asyncio.create_task(slot.run(lambda _model, _cancelled: release.wait(10)))
        await asyncio.sleep(0)
        with pytest.raises(OutOfMemory, match="models in use leave"):
            await use(cache, "b")
        release.set()
        await running

        assert ("model b", True) == await use(cache, "b", size=100)
        assert None is cache.peek(key("a"))

    within(check)


def test_the_evicted_model_is_gone_before_the_next_is_loaded():
    """Two models never overlap where only one has room."""

    class Heavy:
        alive = 0

        def __init__(self):
            Heavy.alive += 1
            assert 1 == Heavy.alive

        def __del__(self):
            Heavy.alive -= 1

    async def check(cache):
        for name in "abcab":
            slot, _ = cache.open(key(name), "cpu", 80, Heavy)
            await slot.run(lambda _model, _cancelled: None)
            del slot

    within(check)


def test_a_model_larger_than_the_budget_is_refused():
    """No eviction can help, and nothing is evicted for it."""

    async def check(cache):
        await use(cache, "a")
        with pytest.raises(OutOfMemory):
            await use(cache, "b", size=101)

        assert cache.peek(key("a")) is not None

    within(check)


def test_closing_leaves_no_thread_and_refuses():
    """Every worker has ended; the cache opens nothing more."""

    async def check(cache):
        await use(cache, "a")
        await use(cache, "b")
        await cache.aclose()

        assert [] == threads()
        with pytest.raises(Unavailable):
            await use(cache, "a")

    within(check)


def test_a_caller_that_leaves_does_not_stop_the_load():
    """The one who pays goes away; the model is loaded all the same."""

    async def check(cache):
        release = threading.Event()
        first = asyncio.create_task(use(cache, "a", load=lambda: release.wait(10) and "model"))
        await asyncio.sleep(0)
        first.cancel()
        second = asyncio.create_task(use(cache, "a"))
        await asyncio.sleep(0)
        release.set()

        assert ("model", False) == await second

    within(check)
