"""One name for several models: the policy ranks some, the others are there when those fail."""

import asyncio

import pytest

from router.catalog import Catalog
from router.checks import checked
from router.errors import CatalogError, SettingsError
from router.http.openai import alias_answer
from router.outcome import Outcome
from router.sections import AliasEntry, Settings
from tests.unit.router.house import chat, chat_model, drained, fake, opened, vector_model

FIRST, SECOND, LAST = "test/first", "test/second", "test/last"


def models(**scripts):
    return [
        chat_model(fake(name[-1], **scripts.get(name, {})), model=f"test/{name}")
        for name in ("first", "second", "last")
    ]


def alias(**options) -> AliasEntry:
    return AliasEntry(**{"name": "chat", "models": (FIRST, SECOND), "fallbacks": (LAST,)} | options)


def asked(*, entries=None, entry: AliasEntry | None = None, **options) -> Outcome:
    """What comes of one request to the alias."""

    async def go() -> Outcome:
        async with opened(*(entries or models()), aliases=[entry or alias()]) as house:
            return (await drained(house.dispatcher.stream(chat(model="chat", order=(), **options))))[-1]

    return asyncio.run(go())


def tried(outcome: Outcome) -> list[str]:
    return [attempt.model for attempt in outcome.attempts]


def test_the_policy_ranks_the_models_and_the_fallbacks_come_last() -> None:
    """Even a fallback that would be faster, and the reason says so."""
    entries = models(first={"latency_ms": 5}, second={"latency_ms": 5})
    outcome = asked(entries=entries)

    assert outcome.attempts[0].model in {FIRST, SECOND}
    assert LAST == outcome.plan.ranked()[-1].target.model
    assert [0, 0, 1] == [candidate.fallback for candidate in outcome.plan.ranked()]


def test_fallbacks_answer_when_all_models_fail() -> None:
    """In their order; the answer names the model that gave it."""
    outcome = asked(entries=models(first={"fail": "Overloaded"}, second={"fail": "Overloaded"}))

    assert ("ok", LAST) == (outcome.status, outcome.result.model)
    assert ({FIRST, SECOND}, LAST) == (set(tried(outcome)[:2]), tried(outcome)[2])


def test_the_policy_is_the_requests_own_else_the_aliass_else_the_configured_one() -> None:
    """Most specific first."""
    assert "cheapest" == asked(entry=alias(policy="cheapest")).plan.decision.policy
    assert "remote-first" == asked(entry=alias(policy="cheapest"), policy="remote-first").plan.decision.policy
    assert "fastest" == asked().plan.decision.policy


def test_a_place_that_two_models_name_is_a_candidate_once() -> None:
    """It would be asked twice, and its id would not be unique."""
    entries = [chat_model(fake("a", model="same"), model=FIRST), chat_model(fake("a", model="same"), model=SECOND)]
    outcome = asked(entries=entries, entry=alias(fallbacks=()))

    assert ["a:same"] == [candidate.id for candidate in outcome.plan.candidates]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (alias(models=("test/frist",)), "chat: unknown model 'test/frist'; near ones: test/first"),
        (alias(models=("chat",)), "an alias names models, not aliases"),
        (alias(fallbacks=("test/vectors",)), "its models do different tasks: feature-extraction, text-generation"),
        (alias(name=FIRST), "the name 'test/first' is taken"),
    ],
)
def test_a_broken_alias_refuses_the_start(entry, said) -> None:
    """Naming the alias and what is wrong with it; an alias of an alias could run in circles."""
    with pytest.raises(CatalogError, match=said):
        Catalog([*models(), vector_model()], (), [entry])


def test_an_alias_with_an_unknown_policy_refuses_the_start() -> None:
    """Before the first request meets it."""
    with pytest.raises(SettingsError, match="aliases: chat: unknown policy 'fast'"):
        checked(Settings(models=tuple(models()), aliases=(alias(policy="fast"),)))


def test_a_near_miss_of_an_aliass_name_is_offered() -> None:
    """It is a name like a model's."""
    assert "chat" in Catalog(models(), (), [alias()]).alternatives("chta")


def test_an_alias_is_listed_like_a_model() -> None:
    """Clients that list models find its name, and what it stands for."""
    entries = Catalog(models(), (), [alias()])
    answer = alias_answer(entries, alias())

    assert ("chat", "model", "text-generation") == (answer["id"], answer["object"], answer["nearfar"]["task"])
    assert ((FIRST, SECOND), (LAST,)) == (answer["nearfar"]["models"], answer["nearfar"]["fallbacks"])
