"""The store stays within its bytes and its time, whatever is put into it."""

import tracemalloc
from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.types import (
    ClassificationOutput,
    EmbeddingOutput,
    GenerationOutput,
    InferenceResult,
    LabelScore,
    Timings,
    Usage,
)
from router.caching.store import Store
from router.caching.weighing import SLOT_BYTES, weight


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def store(max_bytes: int = 10_000, ttl_s: float = 10.0) -> tuple[Store[bytes], Clock]:
    clock = Clock()
    return Store(max_bytes, ttl_s, clock), clock


def held(key: bytes, value: bytes) -> int:
    return SLOT_BYTES + weight(key) + weight(value)


def test_what_was_used_last_stays_longest() -> None:
    """Where a third one has no room, the one goes that was not asked for."""
    kept, _ = store(2 * held(b"a", b"1"))
    kept.put(b"a", b"1", "m")
    kept.put(b"b", b"2", "m")
    kept.get(b"a")
    kept.put(b"c", b"3", "m")

    assert (b"1", None, b"3") == (kept.get(b"a"), kept.get(b"b"), kept.get(b"c"))


def test_nothing_is_given_after_its_time() -> None:
    """At its last instant a value is gone, with its bytes."""
    kept, clock = store(ttl_s=10)
    kept.put(b"a", b"1", "m")
    clock.now = 9.9
    assert b"1" == kept.get(b"a")
    clock.now = 10.0

    assert (None, 0, 0) == (kept.get(b"a"), len(kept), kept.held_bytes)


def test_what_nobody_asks_for_any_more_can_be_let_go() -> None:
    """Expiring drops all whose time is over, and nothing else."""
    kept, clock = store(ttl_s=10)
    kept.put(b"a", b"1", "m")
    clock.now = 5
    kept.put(b"b", b"2", "m")
    clock.now = 11
    kept.expire()

    assert (1, held(b"b", b"2")) == (len(kept), kept.held_bytes)


def test_one_label_is_cleared_alone() -> None:
    """Clearing a model leaves the others; clearing none clears all."""
    kept, _ = store()
    kept.put(b"a", b"1", "one")
    kept.put(b"b", b"2", "two")
    kept.clear("one")
    assert (None, b"2") == (kept.get(b"a"), kept.get(b"b"))
    kept.clear()

    assert (0, 0) == (len(kept), kept.held_bytes)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3000), st.integers(0, 4)), max_size=60))
def test_the_bytes_are_never_exceeded_and_always_right(steps: list[tuple[int, int, int]]) -> None:
    """After any puts, gets and passing of time the sum is that of what is there, and within the bound."""
    kept, clock = store(max_bytes=4000, ttl_s=10)
    last: dict[bytes, bytes] = {}
    for key, size, passes in steps:
        clock.now += passes
        name = bytes([key])
        last[name] = bytes(size)
        kept.put(name, last[name], "m")
        there = [one for one in last if kept.get(one) is not None]
        kept.expire()

        assert sum(held(one, last[one]) for one in there) == kept.held_bytes <= 4000
        assert all(kept.get(one) in {None, last[one]} for one in last)


def result(nth: int) -> InferenceResult:
    outputs = (
        EmbeddingOutput((array("f", [nth / 7] * 384),)),
        GenerationOutput(f"a text of its own, number {nth}", "stop", nth / 3),
        ClassificationOutput(tuple((LabelScore(f"label {nth} {n}", n / (nth + 1)),) for n in range(20))),
    )
    usage = Usage(prompt_tokens=1000 + nth)
    return InferenceResult(
        output=outputs[nth % 3], usage=usage, timings=Timings(), provider="cache", model="m", device="memory"
    )


def test_an_entry_weighs_what_it_takes() -> None:
    """What 3,000 answers are said to take is what they take, to a fifth; never less than that."""
    kept: Store[InferenceResult] = Store(100_000_000, 10, Clock())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for nth in range(3000):
            kept.put(b"%032d" % nth, result(nth), "m")
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert taken <= kept.held_bytes <= 1.2 * taken
