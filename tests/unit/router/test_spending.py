"""Budgets under way: what is reserved before a far attempt and settled after it, in every way it may end."""

import asyncio

import pytest

from router.errors import BudgetExceeded
from router.sections import BudgetEntry, Price
from tests.unit.router.house import House, chat, chat_model, drained, fake, opened
from tests.unit.router.test_attempts import tried

DOLLAR = Price(per_request_usd=1.0)


def run(go):
    return asyncio.run(go())


def far(name: str = "a", **script):
    return fake(name, price=DOLLAR, **script)


def budget(limit_usd: float, **options) -> BudgetEntry:
    return BudgetEntry(limit_usd=limit_usd, **options)


def left(house: House) -> tuple[float, float]:
    [state] = house.services.budgets.states()
    return state.spent_usd, state.reserved_usd


@pytest.mark.parametrize("stream", [False, True])
def test_of_two_hundred_at_once_exactly_those_are_admitted_that_fit(stream) -> None:
    """Fifty dollars, a dollar each: fifty go far, the others are served near, and each says why."""

    async def go() -> None:
        entry = chat_model(far(latency_ms=5), fake("b", near=True))
        async with opened(entry, budgets=[budget(50.0)]) as house:
            requests = (house.dispatcher.stream(chat(prompt=f"{n}", stream=stream)) for n in range(200))
            outcomes = [pieces[-1] for pieces in await asyncio.gather(*map(drained, requests))]
            spent = left(house)
            rows = await house.select("SELECT reason FROM decisions WHERE chosen LIKE 'b:%'")

        assert (50, 150) == tuple(sum(tried(outcome) == [name] for outcome in outcomes) for name in "ab")
        assert {"ok"} == {outcome.status for outcome in outcomes}
        assert (50.0, 0.0) == spent
        assert 150 == sum("Over budget: of $50 a day (global)" in reason for (reason,) in rows)

    run(go)


@pytest.mark.parametrize(
    ("script", "spent"),
    [
        ({}, 1.0),
        ({"fail": "Overloaded"}, 0.0),  # surely nothing was charged
        ({"fail": "Timeout"}, 1.0),  # nobody knows: what was set aside stays spent
        ({"fail_after_tokens": 2}, 1.0),
    ],
)
def test_what_is_set_aside_is_settled_however_the_attempt_ends(script, spent) -> None:
    """Never lost and never invented."""

    async def go() -> None:
        async with opened(chat_model(far(**script)), budgets=[budget(10.0)]) as house:
            await drained(house.dispatcher.stream(chat(stream=True)))

            assert (spent, 0.0) == left(house)

    run(go)


def test_a_sender_that_leaves_keeps_nothing_reserved() -> None:
    """Cancelled in the middle: spent is what may have been, and no more is held."""

    async def go() -> None:
        async with opened(chat_model(far()), budgets=[budget(10.0)]) as house:
            pieces = house.dispatcher.stream(chat(stream=True))
            await anext(pieces)
            assert (0.0, 1.0) == left(house)
            await pieces.aclose()

            assert (1.0, 0.0) == left(house)

    run(go)


def test_a_fallback_that_would_overspend_is_passed_over() -> None:
    """The first one took what was left; the next that costs nothing far answers."""

    async def go() -> None:
        entry = chat_model(far("a", fail="Timeout"), far("b"), fake("c", near=True))
        async with opened(entry, budgets=[budget(1.5)]) as house:
            outcome = await house.dispatcher.infer(chat())

            assert (["a", "c"], "ok") == (tried(outcome), outcome.status)
            assert (1.0, 0.0) == left(house)

    run(go)


def test_a_budget_that_refuses_refuses() -> None:
    """The request ends with a sentence on the budget, and nobody was asked."""

    async def go() -> None:
        entry = chat_model(far(), fake("b", near=True))
        async with opened(entry, budgets=[budget(1.0, on_exceeded="refuse")]) as house:
            first, second = [await house.dispatcher.infer(chat()) for _ in range(2)]

        assert ("ok", "refused") == (first.status, second.status)
        assert isinstance(second.error, BudgetExceeded)
        assert [] == tried(second)

    run(go)
