"""Routes in a real house: what a rule gives a request, and what is logged and told of it."""

import asyncio

import msgspec
import pytest

from router.errors import InvalidRequest, NoCandidate
from router.http.inference import slate_of
from router.request import Call
from router.rules import AUTO
from router.section_of_routing import WorthSettings
from router.sections import AliasEntry, BudgetEntry, MatchEntry, RouteEntry, UseEntry
from tests.unit.router.house import CHAT, PRICE, House, chat, chat_model, embed, fake, opened, vector_model

OTHER = "test/other"
BOTH = AliasEntry(name="both", models=(CHAT, OTHER), policy="cheapest")


def route(name: str = "", use: UseEntry | None = None, **match) -> RouteEntry:
    return RouteEntry(name=name, match=MatchEntry(**match), use=use or UseEntry())


def models():
    return chat_model(fake("a")), chat_model(fake("b"), model=OTHER), vector_model()


def by(call: Call, tenant: str) -> Call:
    return msgspec.structs.replace(call, request=msgspec.structs.replace(call.request, tenant=tenant))


def planned(*calls: Call, routes=(), **options):
    """The plans of these calls, none of which is run."""

    async def go():
        async with opened(*models(), routes=routes, **options) as house:
            return [await house.dispatcher.plan(call) for call in calls]

    return asyncio.run(go())


def test_auto_goes_where_its_rule_says() -> None:
    """The candidates are those of the route's alias, as is the policy; reason and dry run name the route."""
    [plan] = planned(chat(model=AUTO), routes=[route("chatting", UseEntry(alias="both"))], aliases=[BOTH])

    assert {"a:test/chat", "b:test/other"} == {candidate.id for candidate in plan.candidates}
    assert ("both", "cheapest", "chatting") == (plan.call.request.model, plan.decision.policy, plan.route)
    assert plan.decision.reason.endswith("Routed by 'chatting'.")
    assert "chatting" == slate_of(plan)["route"]


def test_a_model_that_was_named_is_kept_unless_the_rule_names_it_too() -> None:
    """A rule of tasks must not swap models under whoever asked for one; one of names is there to do that."""
    of_task = [route(use=UseEntry(models=(OTHER,), policy="cheapest"), task="text-generation")]
    of_name = [route(use=UseEntry(models=(OTHER,)), model="test/ch*")]
    [kept], [swapped] = planned(chat(), routes=of_task), planned(chat(), routes=of_name)

    assert ("route 1", CHAT, "cheapest") == (kept.route, kept.candidates[0].listed_as, kept.decision.policy)
    assert ([OTHER], OTHER) == ([c.listed_as for c in swapped.candidates], swapped.call.request.model)


def test_several_models_of_a_route_are_one_slate() -> None:
    """An alias among them stands for its models."""
    [plan] = planned(chat(model=AUTO), routes=[route(use=UseEntry(models=("both", CHAT)))], aliases=[BOTH])

    assert [CHAT, OTHER] == [candidate.listed_as for candidate in plan.candidates]


def test_auto_without_a_rule_is_the_alias_auto_else_the_first_model_of_the_task() -> None:
    """An alias of another task is no answer."""
    plain, embedded = planned(chat(model=AUTO), embed(model=AUTO))
    [aliased, other] = planned(
        chat(model=AUTO), embed(model=AUTO), aliases=[AliasEntry(name=AUTO, models=(OTHER, CHAT))]
    )

    assert "HuggingFaceTB/SmolLM2-135M-Instruct" == plain.call.request.model
    assert embedded.call.request.model == other.call.request.model == "sentence-transformers/all-MiniLM-L6-v2"
    assert {CHAT, OTHER} == {candidate.listed_as for candidate in aliased.candidates}


def test_a_route_with_candidates_takes_only_their_task() -> None:
    """It would refuse every other one otherwise."""
    generated, embedded = planned(chat(model=AUTO), embed(model=AUTO), routes=[route(use=UseEntry(models=(OTHER,)))])

    assert ("route 1", None) == (generated.route, embedded.route)


def test_tenant_tag_and_size_choose_the_rule() -> None:
    """The first that matches; whoever matches none has no route."""
    routes = [
        route("large", max_input_tokens=1000, min_input_tokens=100),
        route("vip", tag=("vip", "gold"), tenant="ada"),
        route("ada", tenant="ada"),
    ]
    plans = planned(
        chat(prompt="x" * 1000),
        by(chat(tags=("gold",)), "ada"),
        by(chat(), "ada"),
        chat(tags=("gold",)),
        routes=routes,
    )

    assert ["large", "vip", "ada", None] == [plan.route for plan in plans]


def test_the_requests_own_policy_goes_before_the_rules_and_limits_only_tighten() -> None:
    """What holds in the end is what is logged."""

    async def go(house: House):
        outcome = await house.dispatcher.infer(chat(policy="cheapest", max_cost_usd=5.0, max_latency_ms=1.0))
        return await house.row(outcome.decision_id)

    use = UseEntry(policy="fastest", max_cost_usd=1.0, max_latency_ms=60_000.0, min_quality=0.0, private=True)

    async def run():
        async with opened(*models(), routes=[route("strict", use)]) as house:
            return await go(house)

    row = asyncio.run(run())

    assert ("cheapest", 1.0, 1.0, True) == (row["policy"], row["max_cost_usd"], row["max_latency_ms"], row["private"])
    assert ("refused", "strict") == (row["status"], row["route"])


def test_a_request_and_its_rule_that_want_different_places_meet_nowhere() -> None:
    """Neither may lead where the other forbids."""
    use = UseEntry(only=("b",), backend="fake")

    async def go() -> str:
        entry = chat_model(fake("a"), fake("b"))
        async with opened(entry, routes=[route("to b", use)]) as house:
            both = await house.dispatcher.infer(chat())
            assert "b:test/chat" == both.winner.candidate_id
            outcome = await house.dispatcher.infer(chat(only=("a",)))
            assert isinstance(outcome.error, NoCandidate)
            return str(outcome.error)

    assert "a (fake) is not among those the route allows (b)" in asyncio.run(go())


def test_an_alias_that_a_rule_leads_to_is_charged() -> None:
    """A budget of the alias binds whoever gets there, also without naming it."""
    budgets = [BudgetEntry(limit_usd=0.0, scope="model:both")]
    [direct, led] = planned(
        chat(model="both"),
        chat(model=AUTO),
        routes=[route(use=UseEntry(alias="both"))],
        aliases=[BOTH],
        budgets=budgets,
    )

    assert () == direct.decision.ranked == led.decision.ranked


def test_the_task_of_auto_must_be_said() -> None:
    """It does every one."""

    async def go() -> None:
        async with opened(*models()) as house:
            with pytest.raises(InvalidRequest, match="task: required where the model is 'auto'"):
                await house.dispatcher.task_of(AUTO)

    asyncio.run(go())


def test_slo_and_budget_are_policies_of_a_request() -> None:
    """`slo` looks at the deadline; `budget` at the day's money, and is refused where no budget is a day's."""
    [plan] = planned(chat(policy="slo", deadline_ms=30_000.0, order=()))

    assert "slo" == plan.decision.policy
    with pytest.raises(InvalidRequest, match="it needs a \\[\\[budgets\\]\\] whose period is 'day'"):
        planned(chat(policy="budget"))
    with pytest.raises(InvalidRequest, match="whose period is 'day'"):
        planned(chat(policy="budget"), budgets=[BudgetEntry(limit_usd=1.0, period="month")])


def test_budget_goes_near_when_the_days_money_runs_ahead() -> None:
    """The same request went far while there was plenty."""
    entry = chat_model(fake("far", price=PRICE, latency_ms=1.0), fake("near", price=PRICE, near=True, latency_ms=300.0))

    async def go():
        daily = BudgetEntry(limit_usd=1000.0, on_exceeded="near")
        async with opened(entry, budgets=[daily], worth=WorthSettings(second_usd=0.01)) as house:
            calls = [chat(policy="budget", order=()) for _ in range(3)]
            for call in calls[:2]:  # what it takes is learnt
                await house.dispatcher.infer(msgspec.structs.replace(call, routing=chat(only=("near",)).routing))
                await house.dispatcher.infer(msgspec.structs.replace(call, routing=chat(only=("far",)).routing))
            plenty = await house.dispatcher.plan(calls[2])
            budgets, charge = house.services.budgets, house.services.budgets.each[0]
            period = charge.at(budgets._clock())
            noon = period.starts_at + 43_200
            budgets._clock = lambda: noon  # what is ahead of the clock must not depend on when this runs
            period.book(spent=period.limit * 9999 / 10000 - period.spent)
            return plenty, await house.dispatcher.plan(calls[2])

    plenty, scarce = asyncio.run(go())

    far = next(e for e in scarce.estimates if not e.near)
    assert 0.9999 == pytest.approx(far.pacing.spent)
    assert ("far:test/chat", "near:test/chat") == (plenty.decision.ranked[0], scarce.decision.ranked[0])
    assert "of the day's money spent" in scarce.decision.reason
