"""Sessions and hysteresis in a real house."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from policies.steady import held
from policies.types import Decision
from router.errors import InvalidRequest
from router.request import Routing
from router.section_of_routing import WeightSettings
from router.sections import AliasEntry, Price
from router.steadiness import MAX_SESSIONS, Incumbents, Kind, Sessions
from tests.unit.router.house import CHAT, House, chat, chat_model, fake, opened

OTHER = "test/other"
DEAR = Price(per_request_usd=1.0)  # of b's, but where a test says otherwise
BOTH = AliasEntry(name="both", models=(CHAT, OTHER))


def in_house(go: Callable[[House], Coroutine], first=None, other=None, alias=BOTH, **options):
    """What comes of it in a house of two models behind one alias."""
    models = (
        chat_model(first or fake("a", latency_ms=1)),
        chat_model(other or fake("b", latency_ms=1, price=DEAR), model=OTHER),
    )

    async def run():
        async with opened(*models, aliases=[alias], **options) as house:
            return await go(house)

    return asyncio.run(run())


def said(session: str = "s", **options):
    return chat(model="both", session=session, **({"order": ()} | options))


def test_a_session_keeps_the_model_it_began_with() -> None:
    """Whatever the policy prefers meanwhile; another session, and who has none, go where the policy says."""

    async def go(house: House):
        first = await house.dispatcher.infer(said(only=("b",)))
        again, other, none = [await house.dispatcher.infer(said(name)) for name in ("s", "t", "")]
        return first, again, other, none

    first, again, other, none = in_house(go, policy="cheapest")

    assert [OTHER, OTHER, CHAT, CHAT] == [outcome.result.model for outcome in (first, again, other, none)]
    assert "The session keeps its model, test/other." in again.plan.decision.reason


def test_a_session_moves_only_when_its_model_may_not_serve() -> None:
    """And stays where it moved to."""

    async def go(house: House):
        first = await house.dispatcher.infer(said())
        moved = await house.dispatcher.infer(said(ignore=("b",)))
        return first, moved, await house.dispatcher.infer(said()), await house.dispatcher.infer(said(""))

    outcomes = in_house(go, first=fake("a", price=DEAR), other=fake("b"), policy="cheapest")

    assert [OTHER, CHAT, CHAT, OTHER] == [outcome.result.model for outcome in outcomes]


def test_a_requests_own_order_goes_before_its_session() -> None:
    """It said whom it wants first; what its session began with comes second."""

    async def go(house: House):
        await house.dispatcher.infer(said(only=("b",)))
        return await house.dispatcher.infer(said(order=("a",)))

    outcome = in_house(go)

    assert ("a:test/chat", "b:test/other") == outcome.plan.decision.ranked
    assert "session" not in outcome.reason


def test_an_alias_fallback_that_helped_out_once_is_not_whom_a_session_is_with() -> None:
    """After one outage it is asked last again; whom the session was with stays so."""

    async def go(house: House):
        return [await house.dispatcher.infer(said()) for _ in range(2)]

    helped = AliasEntry(name="both", models=(CHAT,), fallbacks=(OTHER,))
    outcomes = in_house(go, first=fake("a", fail="Overloaded", fail_times=1), alias=helped)

    assert [OTHER, CHAT] == [outcome.result.model for outcome in outcomes]
    assert ("a:test/chat", "b:test/other") == outcomes[1].plan.decision.ranked


@pytest.mark.parametrize(
    "wish",
    [{"order": ("b",)}, {"only": ("b",)}, {"ignore": ("a",)}, {"private": True}, {"session": "s", "only": ("b",)}],
)
def test_what_one_sender_wishes_makes_nobody_the_incumbent(wish) -> None:
    """Who comes after it goes where the policy says, not where that sender wanted to go."""
    slightly = Price(per_request_usd=0.00101)

    async def go(house: House):
        await house.dispatcher.infer(said("", **wish) if "session" not in wish else said(**wish))
        return await house.dispatcher.infer(said(""))

    cheap, other = Price(per_request_usd=0.001), fake("b", near=True, price=slightly)
    outcome = in_house(go, first=fake("a", price=cheap), other=other, policy="cheapest", hysteresis=0.2)

    assert "a:test/chat" == outcome.plan.decision.ranked[0]


def test_a_policy_that_cannot_be_made_of_the_settings_is_no_fault_of_the_house() -> None:
    """Weights that are all 0 are nobody's until a request asks for `balanced`: then it is told so."""

    async def go(house: House):
        await house.dispatcher.infer(said(policy="balanced"))

    with pytest.raises(InvalidRequest, match="not all 0"):
        in_house(go, policy="slo", weights=WeightSettings(latency=0.0, cost=0.0, quality=0.0, lateness=0.0))


def test_a_session_is_with_whoever_answered() -> None:
    """Not with whom was asked first and failed."""

    async def go(house: House):
        return [await house.dispatcher.infer(said()) for _ in range(2)]

    first, again = in_house(go, first=fake("a", fail="Overloaded", latency_ms=1), policy="cheapest")

    assert [OTHER, OTHER] == [first.result.model, again.result.model]
    assert "b:test/other" == again.plan.decision.ranked[0]


def test_two_requests_of_a_new_session_at_once_meet_at_one_model() -> None:
    """The second does not wait for the first one's answer to learn where the session is."""

    async def go(house: House):
        calls = [said(only=("b",)), said()]
        return await asyncio.gather(*(house.dispatcher.infer(call) for call in calls))

    assert [OTHER, OTHER] == [outcome.result.model for outcome in in_house(go, policy="cheapest")]


def test_a_sessions_name_is_logged_as_a_keyed_hash() -> None:
    """Rows of one session can be told together, and nobody can tell whose it is."""

    async def go(house: House):
        ids = [(await house.dispatcher.infer(said(name))).decision_id for name in ("secret", "secret", "other", "")]
        return [await house.row(decision_id) for decision_id in ids]

    one, same, other, none = (row["session"] for row in in_house(go))

    assert one == same != other
    assert none is None
    assert "secret" not in one


def test_a_dry_run_begins_no_session_and_unseats_nobody() -> None:
    """It is only a question."""

    async def go(house: House):
        await house.dispatcher.plan(said())
        return len(house.dispatcher._planner._sessions), len(house.dispatcher._planner._incumbents._recent)

    assert (0, 0) == in_house(go)


def test_hysteresis_holds_the_choice_against_a_blip() -> None:
    """Who was first stays first while the other is better by less than the margin; without one, every blip moves it."""

    async def go(house: House):
        first = (await house.dispatcher.infer(said(""))).plan.decision
        challenger = first.ranked[1]
        estimator = house.services.lessons.estimator
        usual = estimator.estimate

        def blip(*given):
            found = usual(*given)
            slow = {e.candidate_id: 1.0 if e.candidate_id == challenger else 1.03 for e in found}
            return [e._replace(latency_s=slow[e.candidate_id]) for e in found]

        estimator.estimate = blip
        return first, (await house.dispatcher.infer(said(""))).plan.decision

    first, held_ = in_house(go, hysteresis=0.05)
    before, moved = in_house(go, hysteresis=0.0)

    assert first.ranked == held_.ranked
    assert "was first before and stays so" in held_.reason
    assert before.ranked[::-1] == moved.ranked


def test_sessions_are_forgotten_after_their_time_and_bounded() -> None:
    """The one that was silent longest goes first."""
    sessions = Sessions(ttl_s=60.0)
    candidate = type("C", (), {"listed_as": CHAT, "fallback": 0})()
    sessions.served(said("old"), candidate, 0.0)

    assert (CHAT, CHAT, None) == tuple(sessions.model(said("old"), now) for now in (0.0, 60.0, 61.0))
    for i in range(MAX_SESSIONS):
        sessions.served(said(f"s{i}"), candidate, 1.0)
    assert MAX_SESSIONS == len(sessions)
    assert sessions.model(said("old"), 1.0) is None
    assert CHAT == sessions.model(said(f"s{MAX_SESSIONS - 1}"), 1.0)


def test_a_choice_of_chance_makes_nobody_the_incumbent() -> None:
    """Else exploring would move what it only meant to look at."""
    incumbents, kind = Incumbents(), Kind(None, "t", "m", "p")
    incumbents.chose(kind, Routing(), Decision(ranked=("a",), reason="", policy="p", version="1", explored=True))

    assert None is incumbents._recent.of(kind)
    assert held(decision := Decision(("a",), "", "p", "1"), None, 0.5, ()) is decision
