"""Budgets: never more is spent and reserved than they allow, exactly what fits is admitted, and periods do not mix."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.types import GenerationInput, InferenceRequest, Status, Target, Task
from router.budgets import Budgets, Exceeded, Reservation
from router.charges import Charge, charge_of
from router.checks import check_scopes
from router.errors import SettingsError
from router.sections import BudgetEntry
from router.slate import Candidate

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400.0
ALICE = Charge("alice", ("chat", "chat-large", "org/chat"), ("groq",))


class Clock:
    """A wall clock that stands until it is set."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def budgets(*entries: BudgetEntry, clock: Clock | None = None) -> Budgets:
    return Budgets(entries, clock or Clock())


def entry(limit_usd: float, scope: str = "global", **more) -> BudgetEntry:
    return BudgetEntry(limit_usd=limit_usd, scope=scope, **more)


def figures(of: Budgets) -> list[tuple[float, float]]:
    return [(state.spent_usd, state.reserved_usd) for state in of.states()]


# --- what fits -------------------------------------------------------------------------------------

eighths = st.integers(0, 40).map(lambda n: n / 8)  # exact in binary: sums can be compared to the last digit
scopes = st.sampled_from(["global", "key:alice", "key:bob", "model:chat", "provider:groq"])
entries = st.lists(
    st.builds(
        BudgetEntry,
        limit_usd=eighths,
        scope=scopes,
        period=st.sampled_from(["day", "month"]),
        on_exceeded=st.sampled_from(["near", "refuse", "warn"]),
    ),
    max_size=5,
)
charges = st.builds(
    Charge,
    st.sampled_from(["alice", "bob", ""]),
    st.sampled_from([("chat",), ("other", "chat"), ("other",)]),
    st.sampled_from([("groq",), ("together",), ("together", "groq")]),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), charges, st.none() | eighths),
        st.tuples(st.just("settle"), st.integers(0, 9), st.none() | st.floats(0, 1)),
        st.tuples(st.just("release"), st.integers(0, 9), st.none()),
        st.tuples(st.just("wait"), st.just(0), st.sampled_from([1.0, DAY_S, 40 * DAY_S])),
    ),
    max_size=40,
)


def take(of: Budgets, clock: Clock, open_: list[tuple[Reservation, float]], step: tuple) -> None:
    """One step of a history; settles at most what was reserved, in eighths."""
    what, whom, value = step
    if what == "reserve":
        admitted = of.reserve(whom, value)
        if isinstance(admitted, Reservation):
            open_.append((admitted, value or 0.0))
    elif what == "wait":
        clock.now += value
    elif open_:
        reservation, reserved = open_.pop(whom % len(open_))
        if what == "release":
            reservation.release()
        else:
            reservation.settle(None if value is None else int(value * reserved * 8) / 8)


@given(entries, steps)
def test_never_more_is_spent_and_reserved_than_a_hard_budget_allows(entries, steps) -> None:
    """Under any interleaving, over any number of periods; a soft budget may be overspent, nothing is ever negative."""
    clock, open_ = Clock(), []
    of = budgets(*entries, clock=clock)
    for step in steps:
        take(of, clock, open_, step)

        for state in of.states():
            assert min(state.spent_usd, state.reserved_usd) >= 0
            assert state.on_exceeded == "warn" or state.spent_usd + state.reserved_usd <= state.limit_usd


@given(entries, steps)
def test_released_money_is_as_if_it_had_never_been_reserved(entries, steps) -> None:
    """Whatever was reserved and not settled, when all of it is released nothing is left reserved and nothing spent."""
    clock, open_ = Clock(), []
    of = budgets(*entries, clock=clock)
    before = figures(of)
    for step in steps:
        if step[0] != "settle":
            take(of, clock, open_, step)
    for reservation, _ in open_:
        reservation.release()

    assert before == figures(of)


@given(entries, charges, st.none() | eighths)
def test_looking_changes_nothing_and_tells_what_reserving_would(entries, charge, usd) -> None:
    """A refusal looked up is the refusal met."""
    of = budgets(*entries)
    before = figures(of)
    looked, warned = of.refusal(charge, usd), of.warnings(charge, usd)

    assert before == figures(of)
    met = of.reserve(charge, usd)
    assert looked == (met if isinstance(met, Exceeded) else None)
    assert (before == figures(of)) or isinstance(met, Reservation)
    assert len(warned) <= sum(entry.on_exceeded == "warn" for entry in entries)


@given(cents=st.integers(1, 999), fit=st.integers(0, 60), more=st.integers(0, 60))
def test_of_many_at_once_exactly_those_that_fit_are_admitted(cents, fit, more) -> None:
    """Amounts add up in decimals: ten times ten cents is a dollar, and the eleventh is too much."""

    async def one(of: Budgets) -> bool:
        admitted = of.reserve(ALICE, cents / 100)
        await asyncio.sleep(0)
        if isinstance(admitted, Exceeded):
            return False
        admitted.settle(cents / 100)
        return True

    async def go() -> list[bool]:
        of = budgets(entry(fit * cents / 100))
        return await asyncio.gather(*(one(of) for _ in range(fit + more)))

    assert fit == sum(asyncio.run(go()))


def test_what_a_settled_attempt_left_over_can_be_reserved_again() -> None:
    """The most was set aside, less was spent."""
    of = budgets(entry(1.0))
    first = of.reserve(ALICE, 0.9)

    assert isinstance(of.reserve(ALICE, 0.2), Exceeded)
    first.settle(0.1)
    assert [(0.1, 0.0)] == figures(of)
    assert isinstance(of.reserve(ALICE, 0.9), Reservation)
    assert [(0.1, 0.9)] == figures(of)


@pytest.mark.parametrize("unknown", [None, float("nan"), float("inf"), -1.0])
def test_an_unknown_cost_leaves_spent_what_was_reserved(unknown) -> None:
    """Unknown is not zero: the most it can be stays spent."""
    of = budgets(entry(1.0))
    of.reserve(ALICE, 0.25).settle(unknown)

    assert [(0.25, 0.0)] == figures(of)


def test_more_than_was_reserved_is_booked_as_it_is() -> None:
    """The money is gone; nothing but what is free fits any more."""
    of = budgets(entry(1.0))
    of.reserve(ALICE, 0.5).settle(3.0)

    assert [(3.0, 0.0)] == figures(of)
    assert isinstance(of.refusal(ALICE, 0.000001), Exceeded)
    assert of.refusal(ALICE, 0.0) is None


def test_what_is_set_aside_may_come_free_and_what_is_spent_does_not() -> None:
    """Who is refused for the one may ask again before the day is over."""
    clock = Clock()
    of = budgets(entry(10.0), clock=clock)
    period = of.each[0].at(clock())
    made = of.reserve(ALICE, 8.0)

    assert [(False, True), (False, False)] == [(period.holds(usd), period.may_hold(usd)) for usd in (5.0, 11.0)]
    made.settle(8.0)
    assert (False, False) == (period.holds(5.0), period.may_hold(5.0))


@pytest.mark.parametrize("ends", ["settle", "release"])
@pytest.mark.parametrize("again", ["settle", "release"])
def test_a_reservation_ends_once(ends, again) -> None:
    """A second end would book money twice, or give back what was spent."""
    of = budgets(entry(1.0))
    reservation = of.reserve(ALICE, 0.25)
    calls = {"settle": lambda: reservation.settle(0.125), "release": reservation.release}
    calls[ends]()
    after = figures(of)

    with pytest.raises(RuntimeError):
        calls[again]()
    assert after == figures(of)


@pytest.mark.parametrize("unknown", [None, float("nan"), float("inf"), -1.0])
def test_an_unknown_price_fits_no_budget_that_could_refuse_it(unknown) -> None:
    """However much is left; a soft budget only says so, and without a budget nobody asks."""
    refused = budgets(entry(1e9)).refusal(ALICE, unknown)

    assert "price unknown" in refused.reason
    soft = budgets(entry(1e9, on_exceeded="warn"))
    assert soft.refusal(ALICE, unknown) is None
    assert ["price unknown" in text for text in soft.warnings(ALICE, unknown)] == [True]
    soft.reserve(ALICE, unknown).settle(None)
    assert [(0.0, 0.0)] == figures(soft)
    assert isinstance(budgets().reserve(ALICE, unknown), Reservation)


# --- whom it concerns ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "concerned"),
    [
        ("global", True),
        ("key:alice", True),
        ("key:bob", False),
        ("model:chat", True),
        ("model:org/chat", True),
        ("model:chat-large", True),
        ("model:org", False),
        ("provider:groq", True),
        ("provider:alice", False),
    ],
)
def test_a_scope_concerns_its_own(scope, concerned) -> None:
    """A model by any of its names; a key's budget is nobody else's."""
    of = budgets(entry(0.0, scope))

    assert concerned == isinstance(of.reserve(ALICE, 0.5), Exceeded)
    of.spend(ALICE, 0.25, NOON)
    assert [(0.25 if concerned else 0.0, 0.0)] == figures(of)


def test_a_charge_names_the_model_as_asked_as_listed_and_as_the_provider_has_it() -> None:
    """And the tenant, and whom the request would go to."""
    payload = GenerationInput(prompt="x")
    request = InferenceRequest(task=Task.TEXT_GENERATION, model="chat", payload=payload, tenant="alice")
    target = Target(backend="remote", provider="groq", model="org/chat", task=Task.TEXT_GENERATION)
    candidate = Candidate(id="groq:org/chat", listed_as="chat-large", target=target, near=False, status=Status())

    assert ALICE == charge_of(request, candidate)
    assert ("groq", "router") == charge_of(request, replace(candidate, through="router")).providers


def test_one_budget_that_refuses_keeps_the_others_untouched() -> None:
    """Money is set aside everywhere or nowhere."""
    of = budgets(entry(9.0), entry(0.5, "key:alice"))

    assert "key:alice" == of.reserve(ALICE, 1.0).scope
    assert [(0.0, 0.0)] * 2 == figures(of)


def test_of_several_the_strictest_is_told() -> None:
    """To refuse goes before to stay near, whatever their order."""
    near, refuse = entry(0.0), entry(0.0, "provider:groq", on_exceeded="refuse")

    for both in ((near, refuse), (refuse, near)):
        assert ("refuse", "provider:groq") == (
            (exceeded := budgets(*both).refusal(ALICE, 1.0)).on_exceeded,
            exceeded.scope,
        )


def test_a_refusal_says_the_figures_and_when_it_ends() -> None:
    """So that nobody has to look them up."""
    of = budgets(entry(5.0, period="month"))
    of.reserve(ALICE, 4.0).settle(3.5)
    of.reserve(ALICE, 1.25)
    expected = Exceeded(
        scope="global",
        period="month",
        limit_usd=5.0,
        on_exceeded="near",
        reason="over budget: of $5 a month (global), $4.75 is spent or reserved and this may cost $0.3; "
        "the next month begins at 2025-11-01 00:00 UTC",
    )

    assert expected == of.refusal(ALICE, 0.3)


def test_a_soft_budget_says_so_and_admits() -> None:
    """Before its limit it is silent."""
    of = budgets(entry(1.0, on_exceeded="warn"))

    assert [] == of.warnings(ALICE, 1.0)
    of.reserve(ALICE, 1.0).settle(1.0)
    [warning] = of.warnings(ALICE, 0.5)
    assert warning.startswith("over budget: of $1 a day (global), $1 is spent")
    assert isinstance(of.reserve(ALICE, 0.5), Reservation)


# --- periods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "now", "resets_at"),
    [
        ("day", datetime(2025, 10, 9, 0, tzinfo=UTC), "2025-10-10T00:00:00Z"),
        ("day", datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        ("month", datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        ("month", datetime(2024, 2, 29, 12, tzinfo=UTC), "2024-03-01T00:00:00Z"),
        ("month", datetime(2025, 1, 31, tzinfo=UTC), "2025-02-01T00:00:00Z"),
    ],
)
def test_periods_are_days_and_months_of_utc(period, now, resets_at) -> None:
    """The first instant of the next one ends it: until then it is spent, from then on it is whole again."""
    clock = Clock(now.timestamp())
    of = budgets(entry(1.0, period=period), clock=clock)
    of.reserve(ALICE, 1.0).settle(1.0)
    [state] = of.states()
    ends_at = datetime.fromisoformat(resets_at).timestamp()

    assert resets_at == state.resets_at
    clock.now = ends_at - 0.001
    assert isinstance(of.refusal(ALICE, 1.0), Exceeded)
    clock.now = ends_at
    assert of.refusal(ALICE, 1.0) is None
    assert [(0.0, 0.0)] == figures(of)


@pytest.mark.parametrize("ends", [lambda r: r.settle(0.5), lambda r: r.settle(None), lambda r: r.release()])
def test_a_reservation_of_yesterday_is_settled_yesterday(ends) -> None:
    """It takes nothing from today's budget, and gives nothing to it."""
    clock = Clock()
    of = budgets(entry(1.0), entry(9.0, period="month", on_exceeded="warn"), clock=clock)
    late = of.reserve(ALICE, 1.0)
    clock.now += DAY_S
    of.reserve(ALICE, 0.75)
    ends(late)

    assert (0.0, 0.75) == figures(of)[0]
    assert 0.75 == figures(of)[1][1]


def test_a_clock_that_was_set_back_brings_no_old_budget_back() -> None:
    """What was spent today is spent."""
    clock = Clock()
    of = budgets(entry(1.0), clock=clock)
    of.reserve(ALICE, 1.0).settle(1.0)
    clock.now -= 2 * DAY_S

    assert isinstance(of.refusal(ALICE, 1.0), Exceeded)


def test_only_what_was_spent_in_the_present_periods_is_remembered() -> None:
    """Yesterday counts for the month; last month for nothing."""
    of = budgets(entry(1.0), entry(9.0, period="month"))
    for usd, ago_days in ((0.25, 0), (0.5, 1), (4.0, 9)):
        of.spend(ALICE, usd, NOON - ago_days * DAY_S)

    assert [(0.25, 0.0), (0.75, 0.0)] == figures(of)
    assert datetime(2025, 10, 1, tzinfo=UTC).timestamp() == of.since()
    assert datetime(2025, 10, 9, tzinfo=UTC).timestamp() == budgets(entry(1.0)).since()
    assert budgets().since() is None


# --- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("everything", "'everything' is no scope; one of global, key:NAME"),
        ("", "is no scope"),
        ("global:x", "is no scope"),
        ("key", "is no scope"),
        ("key:", "is no scope"),
        ("key:anybody", "auth.mode is 'none'"),
        ("team:x", "is no scope"),
        ("model:chatt", "unknown model 'chatt'; there are: chat, org/chat"),
        ("provider:grok", "unknown provider 'grok'; there are: groq"),
    ],
)
def test_a_budget_that_could_never_bind_is_refused(scope, said) -> None:
    """A typo would be a budget of infinity."""
    with pytest.raises(SettingsError, match=said):
        check_scopes([entry(1.0, scope)], {"org/chat", "chat"}, {"groq"})


def test_each_known_scope_is_taken_once() -> None:
    """A soft one beside a hard one, and a day's beside a month's, are different budgets."""
    fine = [entry(1.0, scope) for scope in ("global", "model:chat", "provider:groq")]
    fine += [entry(0.5, on_exceeded="warn"), entry(9.0, period="month")]
    check_scopes(fine, {"chat"}, {"groq"})

    with pytest.raises(SettingsError, match="'global' has two budgets a day that near"):
        check_scopes([*fine, entry(2.0)], {"chat"}, {"groq"})
