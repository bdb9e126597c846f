"""Shared money: under any history of routers, an owner and a bad network, no more is spent than a budget allows."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from router.charges import Charge
from router.sections import BudgetEntry
from tests.unit.router.cluster.world import ALICE, DAY_S, SURVIVE_S, Node, World

eighths = st.integers(0, 40).map(lambda n: n / 8)
charges = st.builds(Charge, st.sampled_from(["alice", "bob"]), st.just(("chat",)), st.sampled_from([("groq",), ("x",)]))
entries = st.lists(
    st.builds(
        BudgetEntry,
        limit_usd=eighths,
        scope=st.sampled_from(["global", "key:alice", "provider:groq"]),
        period=st.sampled_from(["day", "month"]),
        on_exceeded=st.sampled_from(["near", "refuse", "warn"]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda entry: (entry.scope, entry.period, entry.on_exceeded),
)
which = st.integers(0, 9)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), which, st.tuples(charges, eighths)),
        st.tuples(st.just("reserve"), which, st.tuples(st.just(ALICE), st.sampled_from([0.125, 0.5, 1.0]))),
        st.tuples(st.just("crowd"), which, st.tuples(charges, eighths, st.integers(1, 9))),
        st.tuples(st.just("talk"), which, st.none()),
        st.tuples(st.just("settle"), which, st.none() | st.floats(0, 1)),
        st.tuples(st.just("send"), which, st.booleans()),
        st.tuples(st.just("deliver"), which, st.booleans()),
        st.tuples(st.just("answer"), which, st.booleans()),
        st.tuples(st.sampled_from(["lose", "crash", "restart"]), which, st.none()),
        st.tuples(st.just("wait"), which, st.sampled_from([0.5, 4.0, 50.0, 2 * SURVIVE_S, DAY_S / 2, 2 * DAY_S])),
    ),
    max_size=60,
)


@given(entries, steps)
def test_no_more_is_spent_than_is_allowed_whatever_happens(entries, steps) -> None:
    """Messages are lost, doubled and late; routers and the owner die and come back; periods end in between."""
    world = World(entries)
    for step in steps:
        world.step(step)
        world.check()


@given(entries, steps)
def test_the_owner_knows_in_the_end_what_was_spent(entries, steps) -> None:
    """Once everybody was heard, what it counts as spent is what was, and what is not spent can be spent again."""
    world = World(entries)
    for step in steps:
        if step[0] != "crash":  # who dies takes with it what it held
            world.step(step)
    world.settle_all()
    for _ in range(3):
        for which in (0, 1):
            world.lose(0, None)
            world.talk(which, True)
    for account, of in world.owner._accounts.items():
        if world.owner._present(account):
            assert world.spent[account] == of.limit - of.room or of.limit < world.spent[account]


def test_what_only_others_hold_is_lent_until_it_is_spent() -> None:
    """Who is refused for it may ask again; not where it is gone, or was never enough."""
    world = World([BudgetEntry(limit_usd=10.0)])
    [lease] = world.nodes[1].leases.leases.values()

    assert [(False, True), (False, False)] == [(lease.holds(usd), lease.may_hold(usd)) for usd in (2.5, 11.0)]

    world.crowd(0, (ALICE, 2.5, 4))
    for _ in range(4):
        world.settle(0, None)
    world.talk(0, True)
    world.talk(1, True)

    assert (False, False) == (lease.holds(2.5), lease.may_hold(2.5))


@given(cents=st.integers(1, 400), fit=st.integers(1, 30), patience=st.integers(1, 3), both=st.booleans())
@settings(max_examples=25)
def test_nearly_all_of_it_can_be_spent_from_both_sides(cents, fit, patience, both) -> None:
    """Whatever one holds ahead is given back when the other lacks it: what is left at the end fits nobody's request."""
    world = World([BudgetEntry(limit_usd=fit * cents / 100)])
    tried_in_vain = 0
    while tried_in_vain < 40:
        admitted = False
        for which in (0, 1) if both else (0,):
            node = world.nodes[which]
            admitted |= True in [node.reserve(ALICE, cents / 100) for _ in range(patience)]
            world.settle_all()
        for which in (0, 1):
            world.talk(which, None)
        world.clock.now += 0.5
        tried_in_vain = 0 if admitted else tried_in_vain + 1

    [of] = world.owner._accounts.values()
    assert fit * Fraction(cents, 100) - of.room == sum(h.granted - h.returned for h in of.holdings.values())
    assert fit == sum(round(h.spent / Fraction(cents, 100)) for h in of.holdings.values())


def test_what_a_dead_router_held_is_spent_until_the_period_is_over() -> None:
    """Nobody knows what became of it; the next day has nothing of that."""
    world = World([BudgetEntry(limit_usd=8.0)])
    assert not world.nodes[0].reserve(ALICE, 2.0)
    world.talk(0, None)
    assert world.nodes[0].reserve(ALICE, 2.0)
    world.talk(0, None)
    [held] = [h for h in next(iter(world.owner._accounts.values())).holdings.values() if h.node == "a"]
    dead = held.granted
    world.crash(0, None)
    world.talk(1, None)
    world.clock.now += 3 * SURVIVE_S
    world.talk(1, None)
    lease = next(iter(world.nodes[1].leases.leases.values()))

    assert dead >= 2
    assert (dead, Fraction(0)) == lease.total
    world.clock.now += DAY_S
    for _ in range(2):
        world.talk(1, None)
    [lease] = world.nodes[1].leases.leases.values()
    assert (Fraction(0), Fraction(8)) == (lease.total[0], lease.room + lease.held)


def test_what_a_log_remembers_is_counted_once() -> None:
    """Of a router that was alone before it joined; its next start changes nothing, nor does a second exchange."""
    world = World([BudgetEntry(limit_usd=8.0)])
    budget = ("global", "day", "near")
    world.nodes[0] = Node("a", 7, world.entries, world.clock, {budget: 3.0})
    for _ in range(2):
        world.talk(0, None)
    world.nodes[0] = Node("a", 8, world.entries, world.clock, {budget: 3.0})
    for _ in range(2):
        world.talk(0, None)
    lease = next(iter(world.nodes[0].leases.leases.values()))

    assert (Fraction(3), Fraction(5)) == (lease.total[0], lease.room)
