"""Nobody is there who may serve a request: where that passes by itself it is refused for now, and else as it is."""

from typing import Any

import pytest
from msgspec.structs import replace

from backends.fake import FakeBackend
from router.availability import FIRST_PAUSE_S, THRESHOLD
from router.cluster.leases import Leases
from router.errors import NoCandidate, NotNow
from router.http.errors import body_of, told
from router.outcome import Outcome
from router.sections import BudgetEntry
from tests.unit.router import virtual
from tests.unit.router.house import chat, chat_model, fake, opened

DOWN_S = {"down": 7.0, "longer": 70.0, "gone": None}


class Down(FakeBackend):
    """Who has such a name is away, and is looked at again after so long; None is never."""

    def status(self, target):
        status = super().status(target)
        if target.provider not in DOWN_S:
            return status
        return replace(status, unavailable="nobody answers", back_in_s=DOWN_S[target.provider])


def asked(*candidates: Any, before: int = 0, **wishes: Any) -> Outcome:
    """The end of a request, after as many others."""

    async def go() -> Outcome:
        async with opened(chat_model(*candidates), backend=Down()) as house:
            for _ in range(before):
                await house.dispatcher.infer(chat(order=()))
            return await house.dispatcher.infer(chat(**{"order": ()} | wishes))

    return virtual.run(go())


def test_while_an_engine_is_down_its_senders_are_told_when_to_come_back() -> None:
    """503, which clients try again; with why of each."""
    error = asked(fake("down"), fake("longer")).error

    assert NotNow is type(error)
    assert (503, "unavailable", 7.0) == (told(error).status, told(error).code, told(error).retry_after_s)
    assert ["unavailable"] * 2 == [each["code"] for each in body_of(error)["error"]["candidates"]]
    assert "nobody answers" in str(error)


@pytest.mark.parametrize("kind", ["RemoteError", "Unavailable", "PaymentRequired"])
def test_behind_an_open_breaker_one_may_ask_again_when_it_is_probed(kind) -> None:
    """The longest of those that stand against it: a candidate's own, and its account's."""
    error = asked(fake("a", fail=kind), before=THRESHOLD).error

    assert isinstance(error, NotNow)
    assert "circuit breaker open" in str(error)
    assert 0 < told(error).retry_after_s <= FIRST_PAUSE_S


@pytest.mark.parametrize(
    ("candidate", "wishes"),
    [
        (fake("gone"), {}),
        (fake("down"), {"private": True}),
        (fake("down"), {"max_cost_usd": 0.0}),
        (fake("down"), {"min_quality": 0.9}),
        (fake("down", price=None), {"policy": "cheapest"}),
        (fake("down"), {"only": ("others",)}),
    ],
    ids=["for good", "private", "dear", "poor", "unpriced", "excluded"],
)
def test_who_could_not_serve_it_then_either_is_not_waited_for(candidate, wishes) -> None:
    """422: asking again would not help."""
    error = asked(candidate, **wishes).error

    assert (NoCandidate, 422, None) == (type(error), told(error).status, told(error).retry_after_s)


def test_a_budget_that_is_spent_is_not_waited_for() -> None:
    """It begins anew in hours or days; what only other routers hold of it is theirs for seconds."""

    async def silent(_: object) -> None:
        """An owner that does not answer."""

    async def go(limit_usd: float, *, shared: bool) -> Outcome:
        async with opened(chat_model(), budgets=(BudgetEntry(limit_usd=limit_usd),)) as house:
            budgets = house.services.budgets
            if shared:
                budgets.share(Leases(budgets, 30.0, {}).opened, silent)
            return await house.dispatcher.infer(chat())

    cases = ((0.0, False), (0.0, True), (1.0, True))
    spent, shared, held = (virtual.run(go(limit_usd, shared=shared)).error for limit_usd, shared in cases)

    assert (NoCandidate, 422) == (type(spent), told(spent).status)
    assert (NoCandidate, 422) == (type(shared), told(shared).status)
    assert (NotNow, 503, 0.0) == (type(held), told(held).status, told(held).retry_after_s)


def test_a_model_that_is_switched_off_is_not_waited_for() -> None:
    """Whenever its engine may come back."""

    async def go() -> Outcome:
        models = replace(chat_model(fake("down")), enabled=False)
        async with opened(models, backend=Down()) as house:
            return await house.dispatcher.infer(chat(order=()))

    assert NoCandidate is type(virtual.run(go()).error)


def test_one_who_comes_back_is_enough() -> None:
    """Whatever stands against the others."""
    assert NotNow is type(asked(fake("gone"), fake("down")).error)


def test_who_is_there_serves() -> None:
    assert "ok" == asked(fake("down"), fake("a")).status
