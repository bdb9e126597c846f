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
        (alias(models=("chat",)), "chat: it leads back to itself or another: chat -> chat"),
        (alias(fallbacks=("test/vectors",)), "its models do different tasks: feature-extraction, text-generation"),
        (alias(name=FIRST), "the name 'test/first' is taken"),
    ],
)
def test_a_broken_alias_refuses_the_start(entry, said) -> None:
    """Naming the alias and what is wrong with it."""
    with pytest.raises(CatalogError, match=said):
        Catalog([*models(), vector_model()], (), [entry])


def test_an_alias_of_aliases_stands_for_their_models() -> None:
    """In order, each once, whichever is defined first; the inner fallbacks come behind the outer ones."""
    entries = [
        alias(name="outer", models=("inner", LAST, FIRST), fallbacks=("spare",)),
        alias(name="inner", models=(SECOND, FIRST), fallbacks=("test/third", LAST)),
        alias(name="spare", models=("test/fourth", SECOND), fallbacks=()),
    ]
    spares = [chat_model(fake("c"), model="test/third"), chat_model(fake("d"), model="test/fourth")]
    outer = Catalog([*models(), *spares], (), entries).alias("outer")

    assert (SECOND, FIRST, LAST) == outer.models
    assert ("test/fourth", "test/third") == outer.fallbacks


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ({"a": "b", "b": "c", "c": "a"}, "aliases: a: it leads back to itself or another: a -> b -> c -> a"),
        ({"a": "b", "b": "c", "c": "b"}, "aliases: a: it leads back to itself or another: b -> c -> b"),
    ],
)
def test_aliases_that_run_in_circles_refuse_the_start(links, said) -> None:
    """The whole circle is named, whether a model or a fallback leads into it."""
    for kind in ("models", "fallbacks"):
        entries = [AliasEntry(**{"name": name, "models": (FIRST,)} | {kind: (to,)}) for name, to in links.items()]
        with pytest.raises(CatalogError, match=said):
            Catalog(models(), (), entries)


def test_many_ways_through_the_same_aliases_are_walked_once() -> None:
    """Sixty floors with two stairs each have more ways up than there are seconds left."""
    floors = [alias(name=f"floor-{i}", models=(f"floor-{i + 1}",) * 2, fallbacks=()) for i in range(60)]
    entries = [*floors, alias(name="floor-60", models=(FIRST,), fallbacks=())]

    assert (FIRST,) == Catalog(models(), (), entries).alias("floor-0").models


def test_chat_and_embed_are_there_where_nobody_configured_them() -> None:
    """`chat` is every model that really generates text, `embed` one embedding model alone."""
    built_in = Catalog()

    assert {built_in.find(name).task for name in built_in.alias("chat").models} == {"text-generation"}
    assert "fake/chat" not in built_in.alias("chat").models
    assert 1 == len(built_in.alias("embed").models)
    assert (FIRST, SECOND) == Catalog(models(), (), [alias()]).alias("chat").models
    assert Catalog([chat_model(fake("a"), model="chat")]).alias("chat") is None


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
