"""Budgets in the whole house: what they decide, what the log says of it, and what they remember after a restart."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.remote.provider import ROUTER
from router.catalog import BUILTIN_PROVIDERS
from router.checks import checked
from router.decision_log.log import DecisionLog
from router.errors import BudgetExceeded, NoCandidate, SettingsError
from router.house import open_house
from router.listings import Listings
from router.section_of_routing import RoutingSettings
from router.sections import AliasEntry, BudgetEntry, CandidateEntry, Price, Settings
from router.settings import Secrets
from tests.unit.router.house import CHAT, House, chat, chat_model, drained, fake, opened
from tests.unit.router.test_listings import listing, model, serves

HUB = BUILTIN_PROVIDERS[0]
SPENT = BudgetEntry(limit_usd=0.0, scope=f"model:{CHAT}")


def run(go):
    return asyncio.run(go())


def refusing(limit_usd: float = 0.0) -> BudgetEntry:
    return BudgetEntry(limit_usd=limit_usd, on_exceeded="refuse")


@pytest.mark.parametrize("stream", [False, True])
def test_a_spent_budget_leaves_the_request_near_with_its_reason_in_the_log(stream) -> None:
    """The answer is complete; the slate says why the far candidate was none."""

    async def go() -> None:
        async with opened(chat_model(fake("a"), fake("b", near=True)), budgets=(SPENT,)) as house:
            outcome = (await drained(house.dispatcher.stream(chat(stream=stream))))[-1]
            row = await house.row(outcome.decision_id)

        assert ("ok", [f"b:{CHAT}"]) == (outcome.status, [a.candidate_id for a in outcome.attempts])
        assert f"Over budget: of $0 a day (model:{CHAT})" in row["reason"]
        assert ["over budget" in (c["reason"] or "") for c in row["candidates"]] == [True, False]

    run(go)


@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_that_refuses_leaves_a_whole_row(stream) -> None:
    """Nothing is tried, nothing is spent, and the slate is there to be looked at."""

    async def go() -> None:
        async with opened(chat_model(fake("a"), fake("b", near=True)), budgets=(refusing(),)) as house:
            [outcome] = await drained(house.dispatcher.stream(chat(stream=stream)))
            row = await house.row(outcome.decision_id)

        assert ("refused", ()) == (outcome.status, outcome.attempts)
        assert isinstance(outcome.error, BudgetExceeded)
        assert ("refused", "BudgetExceeded", None, 0.0) == (
            row["status"],
            row["error_class"],
            row["chosen"],
            row["cost_usd"],
        )
        assert str(outcome.error) == row["error"] == row["reason"]
        assert [False, False] == [candidate["eligible"] for candidate in row["candidates"]]

    run(go)


def test_with_nothing_near_the_refusal_names_the_budget() -> None:
    """Nobody may serve, and why is not a riddle."""

    async def go() -> None:
        async with opened(chat_model(fake("a")), budgets=(SPENT,)) as house:
            outcome = await house.dispatcher.infer(chat())

        assert isinstance(outcome.error, NoCandidate)
        assert ["budget"] == [refusal.code for refusal in outcome.error.rejections]
        assert "over budget" in str(outcome.error)

    run(go)


def test_a_budget_is_asked_for_all_the_output_a_request_allows() -> None:
    """Not for what is expected: a thousand tokens may come where a hundred usually do."""

    async def go() -> None:
        price = Price(output_per_1m_usd=1000.0)
        async with opened(chat_model(fake(price=price)), budgets=(BudgetEntry(limit_usd=0.5),)) as house:
            ranked = [
                (await house.dispatcher.plan(chat(max_tokens=tokens))).decision.ranked for tokens in (500, 501, 1000)
            ]

        assert [(f"a:{CHAT}",), (), ()] == ranked

    run(go)


def test_a_restart_forgets_nothing_that_was_spent(tmp_path) -> None:
    """What failed and was billed counts, also where its cost is unknown: then as what was expected."""
    path = tmp_path / "nearfar.duckdb"
    settings = Settings(
        models=(chat_model(fake("a", model="there", fail="Timeout", fail_times=1), fake("b"), fake("c", near=True)),),
        aliases=(AliasEntry(name="the-alias", models=(CHAT,)),),
        routing=RoutingSettings(policy="fastest"),
        budgets=(
            BudgetEntry(limit_usd=1.0),
            BudgetEntry(limit_usd=1.0, period="month", scope="provider:a"),
            BudgetEntry(limit_usd=1.0, scope="model:there"),
            BudgetEntry(limit_usd=1.0, scope=f"model:{CHAT}"),
            BudgetEntry(limit_usd=1.0, scope="model:the-alias"),
            BudgetEntry(limit_usd=1.0, scope="provider:c"),
        ),
    )

    async def boot(*calls) -> tuple[list[float], list]:
        async with open_house(settings, Secrets(), DecisionLog.open(path)) as services:
            begun = [state.spent_usd for state in services.budgets.states()]
            return begun, [await House(services).dispatcher.infer(call) for call in calls]

    async def go() -> None:
        begun, [outcome] = await boot(chat(model="the-alias", order=("a", "b")))
        failed, answered = outcome.attempts
        expected = next(e.cost_usd for e in outcome.plan.estimates if e.candidate_id == "a:there")
        again, _ = await boot()

        assert [0.0] * 6 == begun
        assert (None, "priced") == (failed.cost.usd, answered.cost.source)
        both, first = answered.cost.usd + expected, expected
        assert pytest.approx([both, first, first, both, both, 0.0]) == again

    run(go)


@pytest.mark.parametrize("scope", ["model:the-alias", f"model:{CHAT}", "model:there", "provider:a", "global"])
def test_a_model_asked_by_an_alias_is_charged_under_all_its_names(scope) -> None:
    """A budget for a model cannot be walked around by another name; its fallback is another model."""

    async def go() -> None:
        spare = chat_model(fake("b", near=True), model="test/spare")
        alias = AliasEntry(name="the-alias", models=(CHAT,), fallbacks=("test/spare",))
        models = (chat_model(fake("a", model="there")), spare)
        async with opened(*models, aliases=(alias,), budgets=(BudgetEntry(limit_usd=0.0, scope=scope),)) as house:
            plan = await house.dispatcher.plan(chat(model="the-alias"))

        assert ("b:test/spare",) == plan.decision.ranked
        assert f"({scope})" in plan.decision.reason

    run(go)


@pytest.mark.parametrize(
    ("scope", "fine"),
    [
        (f"model:{CHAT}", True),
        ("model:there", True),
        ("model:the-alias", True),
        ("model:elsewhere", False),
        ("provider:a", True),
        ("provider:together", True),
        ("provider:local", False),
        ("key:anybody", False),
        ("team:x", False),
    ],
)
def test_a_budget_must_name_what_there_is(scope, fine) -> None:
    """At the start, not when the bill comes."""
    settings = Settings(
        models=(chat_model(fake("a", model="there")),),
        aliases=(AliasEntry(name="the-alias", models=(CHAT,)),),
        budgets=(BudgetEntry(limit_usd=1.0, scope=scope),),
    )
    if fine:
        checked(settings)
    else:
        with pytest.raises(SettingsError, match=scope):
            checked(settings)


@asynccontextmanager
async def routed(folder: Path, *budgets: BudgetEntry):
    """A house behind whose router (a fake) `together` serves the model at a dollar the request's million tokens."""
    far = CandidateEntry(backend="fake", provider=ROUTER, model="org/m")
    settings = Settings(
        models=(chat_model(far),),
        aliases=(AliasEntry(name="the-alias", models=(CHAT,)),),
        routing=RoutingSettings(policy="fastest", listings_dir=str(folder)),
        budgets=budgets,
    )
    listings = Listings({HUB.name: HUB}, folder)
    listings.replace(HUB.name, listing(model("org/m", serves("together", 1000.0)), of=HUB))
    async with open_house(settings, Secrets(hf_token="hf_x"), DecisionLog.open(folder / "nearfar.duckdb")) as services:
        yield House(services)


def test_a_routers_budget_holds_whoever_serves_behind_it(tmp_path) -> None:
    """It is billed for them: naming one in a request, or ranking one, is no way around."""

    async def go() -> None:
        async with routed(tmp_path, BudgetEntry(limit_usd=0.0, scope=f"provider:{ROUTER}")) as house:
            plan = await house.dispatcher.plan(chat(only=("together",)))

        assert () == plan.decision.ranked
        assert ["over budget" in (estimate.over_budget or "") for estimate in plan.estimates if not estimate.near] == [
            True, True,
        ]  # fmt: skip

    run(go)


def test_a_restart_books_who_serves_behind_a_router_as_before_it(tmp_path) -> None:
    """Under the router's name and its own, and under the catalogue's name of the model."""
    scopes = (f"provider:{ROUTER}", "provider:together", f"model:{CHAT}", "global")
    limits = [BudgetEntry(limit_usd=9.0, scope=scope) for scope in scopes]

    async def go() -> None:
        async with routed(tmp_path, *limits) as house:
            outcome = await house.dispatcher.infer(chat(model="the-alias", only=("together",)))
            spent = [state.spent_usd for state in house.services.budgets.states()]
        async with routed(tmp_path, *limits) as house:
            again = [state.spent_usd for state in house.services.budgets.states()]

        assert ("together:org/m", "ok") == (outcome.attempts[0].candidate_id, outcome.status)
        assert [pytest.approx(outcome.cost.usd)] * 4 == spent == again
        assert spent[0] > 0

    run(go)
