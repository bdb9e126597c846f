"""Exploration in a whole house: what is logged reproduces each choice, and chance never crosses what is hard."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from policies.exploration import Explorer, chosen_at
from router.http.inference import slate_of
from router.outcome import Outcome
from router.planning import Planner
from router.sections import AliasEntry, BudgetEntry, CandidateEntry, ModelEntry, Price
from tests.unit.router.house import House, chat, chat_model, embed, fake, opened, vector_model

ALWAYS = {"exploration": 1.0}


def run(go):
    return asyncio.run(go())


def first(outcome: Outcome) -> str:
    return outcome.attempts[0].candidate_id.partition(":")[0]


async def asked(house: House, count: int, call=chat, **wishes) -> list[Outcome]:
    return [await house.dispatcher.infer(call(**{"order": ()} | wishes)) for _ in range(count)]


async def decided(house: House) -> list[tuple]:
    """Each decision with its draw, and the propensities of its candidates by id."""
    rows = await house.select(
        "SELECT d.decision_id::VARCHAR, d.chosen, d.explore_rate, d.draw, d.explored, d.propensity, d.policy_version,"
        " c.candidate_id, c.propensity FROM decisions d JOIN candidates c USING (decision_id) ORDER BY ALL"
    )
    found: dict[str, tuple[tuple, dict[str, float]]] = {}
    for decision_id, *facts, candidate_id, propensity in rows:
        found.setdefault(decision_id, (tuple(facts), {}))[1][candidate_id] = propensity
    return list(found.values())


def test_the_draw_in_the_log_reproduces_every_choice() -> None:
    """By the propensities beside it, which sum to 1; the version of the policy says how much was explored."""

    async def go() -> list[tuple]:
        async with opened(chat_model(fake("a"), fake("b"), fake("c")), exploration=0.5) as house:
            await asked(house, 40)
            return await decided(house)

    rows = run(go)
    chosen = Counter(facts[0] for facts, _ in rows)

    assert (40, 3) == (len(rows), len(chosen))
    for (choice, rate, draw, explored, propensity, version), odds in rows:
        assert choice == chosen_at(draw, odds)
        assert sum(odds.values()) == pytest.approx(1.0)
        assert (0.5, odds[choice]) == (rate, propensity)
        assert explored == (propensity < 0.5)
        assert version.startswith("fastest@1+explored-1-")


def test_without_exploration_every_choice_is_certain() -> None:
    """Off by default: 1 for the chosen, 0 for the others, and no draw."""

    async def go() -> list[tuple]:
        async with opened(chat_model(fake("a"), fake("b"))) as house:
            await asked(house, 3)
            return await decided(house)

    for (choice, rate, draw, explored, propensity, version), odds in run(go):
        assert (0.0, None, False, 1.0, "fastest@1") == (rate, draw, explored, propensity, version)
        assert (1.0, {0.0, 1.0}) == (odds[choice], set(odds.values()))


def test_a_request_may_ask_not_to_be_explored() -> None:
    """`explore: false`: its version is that of the policy alone."""

    async def go() -> list[tuple]:
        async with opened(chat_model(fake("a"), fake("b")), **ALWAYS) as house:
            await asked(house, 3, explore=False)
            return await decided(house)

    assert {("fastest@1", None)} == {(facts[5], facts[2]) for facts, _ in run(go)}


def test_a_dry_run_leaves_nothing_to_chance_and_shows_the_odds() -> None:
    """The policy's own choice each time."""

    async def go() -> list[dict[str, Any]]:
        async with opened(chat_model(fake("a"), fake("b", latency_ms=1)), **ALWAYS) as house:
            return [slate_of(await house.dispatcher.plan(chat(order=()))) for _ in range(10)]

    slates = run(go)

    assert 1 == len({slate["chosen"] for slate in slates})
    assert [0.5, 0.5] == [candidate["propensity"] for candidate in slates[0]["candidates"]]
    assert 1.0 == slates[0]["explore_rate"]


@pytest.mark.parametrize(
    ("wishes", "allowed"),
    [
        ({"private": True}, {"n"}),
        ({"max_cost_usd": 0.5}, {"n", "b"}),
        ({"only": ("b",)}, {"b"}),
        ({"ignore": ("b",)}, {"n", "a"}),
        ({"order": ("b",)}, {"b"}),
        ({}, {"a", "b", "n"}),
    ],
)
def test_chance_never_crosses_what_the_sender_forbids(wishes, allowed) -> None:
    """Even where every decision is left to it."""

    async def go() -> set[str]:
        dear, cheap, free = (Price(per_request_usd=usd) for usd in (1.0, 0.1, 0.0))
        entry = chat_model(fake("a", price=dear), fake("b", price=cheap), fake("n", near=True, price=free))
        async with opened(entry, **ALWAYS) as house:
            return {first(outcome) for outcome in await asked(house, 30, **wishes)}

    found = run(go)

    assert allowed == found if not wishes else allowed >= found


def test_chance_never_overspends_a_budget() -> None:
    """What the budget rules out is no arm."""

    async def go() -> list[str]:
        entry = chat_model(fake("a", price=Price(per_request_usd=1.0)), fake("n", near=True))
        async with opened(entry, budgets=[BudgetEntry(limit_usd=2.0)], **ALWAYS) as house:
            return [first(outcome) for outcome in await asked(house, 40)]

    assert 2 == run(go).count("a")


def test_chance_never_asks_a_fallback_first() -> None:
    """They are for when all others failed; the reason still says where they are."""

    async def go() -> list[Outcome]:
        models = [chat_model(fake(name), model=f"test/{name}") for name in "abc"]
        alias = AliasEntry(name="chat", models=("test/a", "test/b"), fallbacks=("test/c",))
        async with opened(*models, aliases=[alias], **ALWAYS) as house:
            return await asked(house, 30, model="chat")

    outcomes = run(go)

    assert {"a", "b"} == {first(outcome) for outcome in outcomes}
    assert {"c:test/c"} == {outcome.plan.decision.ranked[-1] for outcome in outcomes}
    assert {0.0} == {outcome.plan.decision.propensities["c:test/c"] for outcome in outcomes}


def test_the_propensity_is_that_of_the_choice_that_was_made() -> None:
    """A fallback would be the policy's favourite; put last, it leaves one that is certain."""

    async def go() -> list[tuple]:
        models = [chat_model(fake(name, **script), model=f"test/{name}") for name, script in
                  (("a", {"latency_ms": 20}), ("c", {}))]  # fmt: skip
        alias = AliasEntry(name="chat", models=("test/a",), fallbacks=("test/c",))
        async with opened(*models, aliases=[alias], exploration=0.5) as house:
            await house.dispatcher.infer(chat(model="test/a"))
            await house.dispatcher.infer(chat(model="test/c"))
            await asked(house, 1, model="chat")
            return await decided(house)

    [((choice, rate, draw, explored, propensity, _), odds)] = [row for row in run(go) if len(row[1]) == 2]

    assert ("a:test/a", 0.5, None, False, 1.0) == (choice, rate, draw, explored, propensity)
    assert {"a:test/a": 1.0, "c:test/c": 0.0} == odds


def test_chance_never_changes_the_vector_space() -> None:
    """Vectors of two models cannot be compared with each other."""

    async def go() -> set[str]:
        other = ModelEntry(
            id="test/other",
            task="feature-extraction",
            candidates=(CandidateEntry(backend="fake", provider="o", script={"latency_ms": 30}),),
        )
        models = [vector_model(fake("a"), fake("b")), other]
        alias = AliasEntry(name="vectors", models=("test/vectors", "test/other"))
        async with opened(*models, aliases=[alias], **ALWAYS) as house:
            await house.dispatcher.infer(embed(model="test/other"))
            calls = [embed("x", model="vectors", order=()) for _ in range(20)]
            return {first(await house.dispatcher.infer(call)) for call in calls}

    assert {"a", "b"} == run(go)


def test_an_explored_request_falls_back_to_the_policys_own_choice() -> None:
    """Who chance put first and who failed costs nobody the answer."""

    async def go() -> list[Outcome]:
        async with opened(chat_model(fake("a"), fake("b", fail="Overloaded")), **ALWAYS) as house:
            return await asked(house, 12)

    outcomes = run(go)

    assert {"ok"} == {outcome.status for outcome in outcomes}
    assert any(outcome.attempts[0].candidate_id.startswith("b") for outcome in outcomes)


def test_a_soft_budget_is_told_of_whom_chance_put_first() -> None:
    """Not of the favourite that is not asked: nobody pays for that."""

    async def go() -> list[tuple[bool, bool]]:
        entry = chat_model(fake("a", price=Price(per_request_usd=1.0)), fake("n", near=True))
        soft = BudgetEntry(limit_usd=0.5, on_exceeded="warn")
        async with opened(entry, budgets=[soft], **ALWAYS) as house:
            outcomes = await asked(house, 30)
            return [(first(outcome) == "a", "Over budget" in outcome.reason) for outcome in outcomes]

    assert {(True, True), (False, False)} == set(run(go))


def test_a_decision_is_explored_once(monkeypatch) -> None:
    """And its policy is looked up once: what is logged is what decided."""
    explore, policy = Explorer.explore, Planner.policy
    called: Counter[str] = Counter()

    def counted(name: str, method):
        def call(*given):
            called[name] += 1
            return method(*given)

        return call

    monkeypatch.setattr(Explorer, "explore", counted("explore", explore))
    monkeypatch.setattr(Planner, "policy", counted("policy", policy))

    async def go() -> list[Outcome]:
        async with opened(chat_model(fake("a"), fake("b")), **ALWAYS) as house:
            return await asked(house, 3)

    run(go)

    assert {"explore": 3, "policy": 3} == called


@pytest.mark.parametrize("budgets", [(), (BudgetEntry(limit_usd=0.0001, on_exceeded="refuse"),)])
def test_a_refused_decision_has_the_version_of_its_policy_too(budgets) -> None:
    """Else the log would know its version and nothing of that."""

    async def go() -> list[tuple]:
        async with opened(chat_model(fake("a")), budgets=budgets, exploration=0.5) as house:
            await asked(house, 1, **({} if budgets else {"private": True}))
            return await house.select("SELECT status, policy_version, explore_rate FROM decisions")

    [(status, version, rate)] = run(go)

    assert ("refused", 0.5) == (status, rate)
    assert version.startswith("fastest@1+explored-1-")
