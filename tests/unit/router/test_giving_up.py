"""When a policy counts on whoever takes over from a late candidate: only where the chain really gives up."""

import asyncio

import pytest

from policies.rescue import NOTE
from tests.unit.router.house import chat, chat_model, embed, fake, opened, vector_model


def reason(call, *models, **settings) -> str:
    """Of the decision."""

    async def go() -> str:
        async with opened(*models, policy="slo", **settings) as house:
            return (await house.dispatcher.plan(call)).decision.reason

    return asyncio.run(go())


TWO = chat_model(fake("a"), fake("b"))


@pytest.mark.parametrize("call", [chat(order=()), chat(order=(), talks=True), embed(order=())])
def test_a_whole_answer_is_given_up_in_time(call) -> None:
    """And the reason says so."""
    assert reason(call, TWO, vector_model(fake("a"), fake("b"))).endswith(NOTE)


@pytest.mark.parametrize(
    ("call", "settings"),
    [
        (chat(order=(), stream=True), {}),
        (chat(order=(), allow_fallbacks=False), {}),
        (chat(order=(), max_cost_usd=1.0), {}),
        (chat(order=()), {"max_attempts": 1}),
    ],
    ids=["a stream that has begun goes on", "no fallbacks", "another may not be paid", "one attempt"],
)
def test_where_nobody_takes_over_nobody_counts_on_it(call, settings) -> None:
    """Each candidate stands for itself."""
    assert not reason(call, TWO, **settings).endswith(NOTE)


@pytest.mark.parametrize(
    "entries", [[fake("a")], [fake("a", near=True), fake("b", near=True)]], ids=["one", "all near"]
)
def test_who_is_alone_or_near_is_never_given_up(entries) -> None:
    """Nobody says so, either."""
    assert not reason(chat(order=()), chat_model(*entries)).endswith(NOTE)
