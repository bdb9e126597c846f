"""Who stays in memory: what is in use, what was just loaded, what is dear; and when room can be had."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.local.residency import LEAST_TURN_S, TURN, Resident, expected_wait_s, make_room

NOW = 1000.0


def resident(name="a", size=40, users=0, load_s=1.0, since=0.0, last_use=900.0):
    return Resident(name=name, memory_bytes=size, users=users, load_s=load_s, since=since, last_use=last_use)


def test_room_that_is_there_costs_nobody_a_place():
    """Nothing is evicted for what fits."""
    assert () == make_room(60, 100, [resident()], NOW).evict


def test_what_was_idle_for_longest_goes_first():
    """Two of equal cost: recency decides."""
    old, new = resident("old", last_use=100), resident("new", last_use=900)

    assert ("old",) == make_room(60, 100, [new, old], NOW).evict


def test_what_is_dear_to_reload_stays_longer():
    """Idle for the same time: the one that loads in a second goes, not the one that takes a minute."""
    dear, cheap = resident("dear", load_s=60), resident("cheap", load_s=1)

    assert ("cheap",) == make_room(60, 100, [dear, cheap], NOW).evict


def test_no_more_goes_than_is_needed():
    """A large idle model makes the small ones' sacrifice needless."""
    small, large = resident("small", size=10, last_use=0), resident("large", size=80, last_use=500)

    assert ("large",) == make_room(90, 100, [small, large], NOW).evict


def test_a_model_in_use_stays_and_is_drained_when_its_turn_is_over():
    """Long loaded, always busy: it takes no new requests, so that the other's turn comes."""
    busy = resident(users=3, size=80)
    room = make_room(60, 100, [busy], NOW)

    assert (None, ("a",)) == (room.evict, room.drain)


def test_a_busy_model_whose_turn_is_not_over_is_left_alone():
    """It is looked at again exactly when its turn ends."""
    busy = resident(users=3, size=80, load_s=2.0, since=NOW - 5)
    room = make_room(60, 100, [busy], NOW)

    assert (None, (), NOW - 5 + TURN * 2.0) == (room.evict, room.drain, room.look_again)


def test_an_idle_model_keeps_its_place_for_as_long_as_its_loading_took():
    """So strictly alternating requests at most double the work, and a pause between two requests costs no reload."""
    just_used = resident(size=80, load_s=1.0, since=NOW - 3, last_use=NOW - 0.25)
    room = make_room(60, 100, [just_used], NOW)

    assert (None, NOW + 0.75) == (room.evict, room.look_again)
    assert ("a",) == make_room(60, 100, [just_used], NOW + 0.75).evict


def test_the_wait_for_a_place_is_told():
    """A busy model's turn, an idle one's grace, nothing where there is room."""
    busy = resident(users=1, size=80, load_s=0.1, since=NOW)

    assert LEAST_TURN_S == expected_wait_s(60, 100, [busy], NOW)
    assert 0 == expected_wait_s(20, 100, [busy], NOW)
    assert 0 == expected_wait_s(60, 100, [resident()], NOW)


residents = st.lists(
    st.builds(
        Resident,
        name=st.uuids(),
        memory_bytes=st.integers(1, 60),
        users=st.integers(0, 2),
        load_s=st.floats(0, 100),
        since=st.floats(0, NOW),
        last_use=st.floats(0, NOW),
    ),
    max_size=6,
)


@given(residents, st.integers(1, 100))
def test_whoever_is_evicted_was_free_and_is_enough(models, needed):
    """Never a model in use, never one in its grace, never too few, never one too many."""
    by_name = {model.name: model for model in models}
    free = 100 - sum(model.memory_bytes for model in models)
    room = make_room(needed, 100, models, NOW)
    if room.evict is None:
        assert all(by_name[name].users and by_name[name].turn_over <= NOW for name in room.drain)
        assert room.look_again is None or room.look_again > NOW
        return
    gone = [by_name[name] for name in room.evict]

    assert all(not model.users and model.free_from <= NOW for model in gone)
    assert free + sum(model.memory_bytes for model in gone) >= needed
    assert all(free + sum(m.memory_bytes for m in gone if m is not model) < needed for model in gone)


@given(residents, st.integers(1, 100))
def test_somebody_waiting_is_always_looked_at_again(models, needed):
    """No deadlock: when nothing can go, either a request must end, or there is an instant to look again."""
    room = make_room(needed, 100, models, NOW)

    assert room.evict is not None or room.look_again is not None or any(model.users for model in models)
