"""The order of trials: whole, the same for the same seed, and fair to every candidate."""

from collections import Counter
from itertools import groupby, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from router.compare.plan import DEEP, Shape, planned
from router.compare.run import Closed, Open

LOADS = st.one_of(
    st.builds(Closed, concurrency=st.integers(1, 12)),
    st.builds(Open, rate_per_s=st.floats(0.1, 1000), process=st.sampled_from(["poisson", "constant"])),
)
SHAPES = st.builds(
    Shape,
    seed=st.integers(0, 2**63 - 1),
    loads=st.lists(LOADS, min_size=1, max_size=3).map(tuple),
    repeats=st.integers(1, 4),
    warm_up=st.integers(0, 3),
    inputs=st.integers(1, 6),
    candidates=st.integers(2, 4).map(lambda count: tuple("abcd"[:count])),
)
few = settings(max_examples=60)


@few
@given(SHAPES)
def test_every_input_is_asked_of_everybody_as_often_as_is_said(shape: Shape) -> None:
    """Once a repeat under each load; warm-up comes first and is as long for each; numbers are places."""
    slots = planned(shape)
    counted = [slot for slot in slots if not slot.warm_up]
    warm_up = [slot for slot in slots if slot.warm_up]

    assert shape.trials == len(slots)
    assert list(range(len(slots))) == [slot.number for slot in slots]
    assert warm_up == list(slots[: len(warm_up)])
    assert dict.fromkeys(shape.candidates, shape.warm_up) == Counter(slot.candidate for slot in warm_up) or not warm_up
    assert {
        (load, repeat, number, name): 1
        for load in range(len(shape.loads))
        for repeat in range(shape.repeats)
        for number in range(shape.inputs)
        for name in shape.candidates
    } == Counter((slot.load, slot.repeat, slot.input, slot.candidate) for slot in counted)


@few
@given(SHAPES)
def test_the_same_seed_has_the_same_order(shape: Shape) -> None:
    assert planned(shape) == planned(shape)


@few
@given(SHAPES)
def test_drift_hits_everybody_alike(shape: Shape) -> None:
    """At any moment nobody is ahead of anybody else by more than a block of its own."""
    for load, slots in groupby((s for s in planned(shape) if not s.warm_up), key=lambda slot: slot.load):
        how, all_of_them = shape.loads[load], list(slots)
        callers = how.concurrency if isinstance(how, Closed) else 1
        most = 1 if callers == 1 else max(shape.inputs, DEEP * callers + shape.inputs)
        done = Counter(dict.fromkeys(shape.candidates, 0))
        for slot in all_of_them:
            done[slot.candidate] += 1
            assert max(done.values()) - min(done.values()) <= most


@few
@given(SHAPES)
def test_a_block_is_one_inputs_or_one_candidates(shape: Shape) -> None:
    """One input of all candidates where they take turns; one candidate where several callers ask it at once."""
    counted = [slot for slot in planned(shape) if not slot.warm_up]
    for (load, _), slots in groupby(counted, key=lambda slot: (slot.load, slot.block)):
        how, block = shape.loads[load], list(slots)
        if isinstance(how, Closed) and how.concurrency > 1:
            assert 1 == len({slot.candidate for slot in block})
        else:
            assert sorted(shape.candidates) == sorted(slot.candidate for slot in block)
            assert 1 == len({(slot.repeat, slot.input) for slot in block})


@few
@given(SHAPES)
def test_arrivals_follow_one_another_and_callers_have_none(shape: Shape) -> None:
    counted = [slot for slot in planned(shape) if not slot.warm_up]
    for load, slots in groupby(counted, key=lambda slot: slot.load):
        how, due = shape.loads[load], [slot.at_s for slot in slots]
        if isinstance(how, Closed):
            assert {None} == set(due)
        else:
            gaps = [later - earlier for earlier, later in pairwise(due)]
            assert 0.0 == due[0]
            assert all(gap >= 0 for gap in gaps)
            if how.process == "constant":
                assert all(abs(gap * how.rate_per_s - 1) < 1e-6 for gap in gaps)


def test_poisson_arrivals_come_at_their_rate_and_unevenly() -> None:
    """10,000 of them: the mean gap within five standard errors, and as many short ones as chance has."""
    shape = Shape(seed=3, loads=(Open(rate_per_s=50),), repeats=100, warm_up=0, inputs=50, candidates=("a", "b"))
    due = [slot.at_s for slot in planned(shape)]
    gaps = [later - earlier for earlier, later in pairwise(due)]

    mean = sum(gaps) / len(gaps)
    assert abs(mean * 50 - 1) < 5 / len(gaps) ** 0.5
    assert abs(sum(gap < 1 / 50 for gap in gaps) / len(gaps) - 0.632) < 0.03


def test_another_seed_has_another_order() -> None:
    """Of so many orders two alike would be a wonder."""
    orders = {
        tuple(slot.candidate for slot in planned(Shape(
            seed=seed, loads=(Closed(),), repeats=5, warm_up=0, inputs=20, candidates=("a", "b", "c")
        )))
        for seed in range(20)
    }  # fmt: skip

    assert 20 == len(orders)


def test_nobody_always_goes_first() -> None:
    """In 300 blocks of three each goes first about 100 times: within six standard deviations."""
    shape = Shape(seed=1, loads=(Closed(),), repeats=30, warm_up=0, inputs=10, candidates=("a", "b", "c"))
    firsts = Counter(slot.candidate for slot in planned(shape)[::3])

    assert all(abs(count - 100) < 50 for count in firsts.values())
