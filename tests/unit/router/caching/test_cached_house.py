"""The exact cache in a whole house: what it keeps, whom it answers, and what the log says of it."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from msgspec.structs import replace

from backends.types import Delta, DrawingInput, GenerationInput, InferenceRequest, Message, Task
from router.caching.answers import AnswerCache
from router.course import _order
from router.decision_log.windows import Window
from router.editing.changes import ModelPatch, delete_model, patch_model
from router.explanation.told import explained
from router.outcome import Begun, Outcome
from router.patience import LEAST
from router.request import Call
from router.section import CacheSettings
from router.section_of_routing import HedgingSettings
from router.sections import AliasEntry, ModelEntry, Price
from tests.unit.router.house import CHAT, VECTORS, House, chat, chat_model, drained, embed, fake, opened, vector_model

ON = CacheSettings(enabled=True)


def text(*, stream: bool = False, tenant: str = "", routing: dict[str, Any] | None = None, **payload: Any) -> Call:
    """A call for a text that is the same every time, unless the payload says otherwise."""
    call = chat(stream=stream, **{"order": ()} | (routing or {}))
    given = {"temperature": 0.0, "prompt": "hello there", "max_tokens": 8} | payload
    return replace(call, request=replace(call.request, tenant=tenant, payload=GenerationInput(**given)))


def vectors(*texts: str, tenant: str = "", **routing: Any) -> Call:
    call = embed(*texts, **{"order": ()} | routing)
    return replace(call, request=replace(call.request, tenant=tenant))


async def backends_of(house: House, *calls: Call) -> list[str]:
    """Which backend answered each, asked one after the other."""
    outcomes = [await house.dispatcher.infer(call) for call in calls]
    return [outcome.winner.backend if outcome.winner else outcome.status for outcome in outcomes]


def run(test):
    return asyncio.run(test())


def test_the_same_request_is_answered_from_the_cache_as_a_candidate_of_its_own() -> None:
    """Nobody is asked again; the answer and its usage are the same, and slate, attempt and outcome say whose it is."""

    async def test() -> None:
        async with opened(vector_model(fake(near=True)), cache=ON) as house:
            first = await house.dispatcher.infer(vectors("a", "b"))
            second = await house.dispatcher.infer(vectors("a", "b"))
            row = await house.row(second.decision_id)

            assert 1 == house.fake.calls["infer"]
            assert first.result.output == second.result.output
            assert first.result.usage == second.result.usage
            assert ("cache", "cache", VECTORS) == (row["backend"], row["provider"], row["model_served"])
            assert (0.0, "cached") == (row["cost_usd"], row["cost_source"])
            assert ["a:test/vectors", "cache:test/vectors"] == [c["candidate_id"] for c in row["candidates"]]
            assert "cache:test/vectors" == row["chosen"]
            [attempt] = row["attempts"]
            assert ("primary", "ok", "cache", "memory", True) == tuple(
                attempt[name] for name in ("role", "status", "backend", "device", "won")
            )
            assert row["reason"].startswith("cache:test/vectors is fast")
            assert row["prompt_tokens"] == first.result.usage.prompt_tokens

    run(test)


def test_without_being_asked_for_nothing_is_kept() -> None:
    """The cache is off unless the configuration turns it on."""

    async def test() -> None:
        async with opened(vector_model(fake(near=True))) as house:
            assert ["fake", "fake"] == await backends_of(house, vectors("a"), vectors("a"))

    run(test)


@pytest.mark.parametrize(
    ("payload", "candidate", "kept"),
    [
        ({"temperature": 0.0}, fake(near=True), True),
        ({"temperature": None, "seed": 7}, fake(near=True), True),
        ({"temperature": 0.7, "seed": 7}, fake(near=True), True),
        ({"temperature": None}, fake(near=True), False),
        ({"temperature": 0.7}, fake(near=True), False),
        ({"temperature": 0.0}, fake(), False),
        ({"temperature": 0.7, "seed": 7}, fake(), False),
        ({"temperature": 0.0}, replace(fake(), deterministic=True), True),
        ({"temperature": 0.7}, replace(fake(), deterministic=True), False),
    ],
)
def test_a_text_is_kept_where_it_would_come_again(payload, candidate, kept) -> None:
    """Greedy or with a seed, and near, or far where the catalogue says that it repeats itself."""

    async def test() -> None:
        async with opened(chat_model(candidate), cache=ON) as house:
            assert ["fake", "cache" if kept else "fake"] == await backends_of(house, text(**payload), text(**payload))

    run(test)


@pytest.mark.parametrize("seed", [3, None])
def test_a_drawing_is_kept_with_a_seed_alone(seed) -> None:
    """Without one, the next drawing is another one."""
    drawing = ModelEntry(id="test/drawing", task="text-to-image", candidates=(fake(near=True),))
    request = InferenceRequest(
        task=Task.TEXT_TO_IMAGE, model="test/drawing", payload=DrawingInput(prompt="a cat", seed=seed)
    )
    call = replace(vectors("x"), request=request)

    async def test() -> None:
        async with opened(drawing, cache=ON) as house:
            assert ["fake", "fake" if seed is None else "cache"] == await backends_of(house, call, call)

    run(test)


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "hello there!"},
        {"max_tokens": 9},
        {"seed": 1},
        {"stop": ("x",)},
        {"prompt": None, "messages": (Message("user", "hello there"),)},
    ],
)
def test_another_payload_is_another_request(other) -> None:
    """One letter, one parameter, or a chat in place of a prompt: the model is asked."""

    async def test() -> None:
        async with opened(chat_model(fake(near=True)), cache=ON) as house:
            assert ["fake", "fake"] == await backends_of(house, text(), text(**other))

    run(test)


def test_streamed_and_whole_answers_stand_in_for_each_other() -> None:
    """A kept text streams in one piece after saying who speaks, and the other way round."""

    async def test() -> None:
        async with opened(chat_model(fake(near=True)), cache=ON) as house:
            told = await drained(house.dispatcher.stream(text(stream=True)))
            whole = await house.dispatcher.infer(text())
            begun, delta, outcome = await drained(house.dispatcher.stream(text(stream=True)))

            assert isinstance(begun, Begun)
            assert ("cache", CHAT) == (begun.backend, begun.model)
            assert Delta(whole.result.output.text) == delta
            assert "".join(piece.text for piece in told if isinstance(piece, Delta)) == delta.text
            assert isinstance(outcome, Outcome)
            assert outcome.first_token_s is not None
            assert whole.result.output == outcome.result.output

    run(test)


def test_each_tenant_has_answers_of_its_own() -> None:
    """What one asked is never at hand for another, and its keys do not even show that it is there."""

    async def test() -> None:
        async with opened(vector_model(fake(near=True)), cache=ON) as house:
            calls = [vectors("a", tenant=tenant) for tenant in ("one", "two", "one", "")]
            assert ["fake", "fake", "cache", "fake"] == await backends_of(house, *calls)

    run(test)


def test_shared_answers_are_shared_but_for_what_is_private() -> None:
    """With `shared` all tenants have the same answers; a private request neither takes from them nor gives to them."""

    async def test() -> None:
        async with opened(vector_model(fake(near=True)), cache=replace(ON, shared=True)) as house:
            calls = [
                vectors("a", tenant="one"),
                vectors("a", tenant="two"),
                vectors("a", tenant="two", private=True),
                vectors("a", tenant="one", private=True),
                vectors("a", tenant="one", private=True),
                vectors("b", tenant="one", private=True),
                vectors("b", tenant="two"),
            ]
            assert ["fake", "cache", "fake", "fake", "cache", "fake", "fake"] == await backends_of(house, *calls)

    run(test)


def test_a_private_request_is_never_answered_with_what_was_made_far() -> None:
    """Its answer comes from this machine, though the same text was asked far before, openly."""

    async def test() -> None:
        model = vector_model(fake("a"), fake("b", near=True))
        async with opened(model, cache=ON) as house:
            await house.dispatcher.infer(vectors("x", only=("a",)))
            private = await house.dispatcher.infer(vectors("x", private=True))
            assert "b:test/vectors" == private.winner.candidate_id

    run(test)


@pytest.mark.parametrize(
    ("routing", "backend"),
    [
        ({"backend": "fake"}, "fake"),
        ({"only": ("a",)}, "fake"),
        ({"ignore": ("cache",)}, "fake"),
        ({"order": ("a", "cache")}, "fake"),
        ({"cache": False}, "fake"),
        ({"only": ("cache",)}, "cache"),
        ({"private": False}, "cache"),
        ({"min_quality": 0.6}, "cache"),
        ({"min_quality": 0.8}, "refused"),
        ({"max_cost_usd": 0.0}, "cache"),
        ({"policy": "cheapest"}, "cache"),
        ({"policy": "balanced"}, "cache"),
        ({"policy": "slo"}, "cache"),
        ({"policy": "cascade"}, "cache"),
        ({"policy": "local-only"}, "cache"),
        ({"policy": "remote-first"}, "fake"),
    ],
)
def test_a_kept_answer_is_under_the_same_limits_and_the_same_policy(routing, backend) -> None:
    """Where another place is asked for it does not answer, its quality is its model's, and the policy ranks it."""
    model = replace(vector_model(fake("a")), quality=0.7)

    async def test() -> None:
        async with opened(model, cache=ON) as house:
            await house.dispatcher.infer(vectors("x"))
            assert [backend] == await backends_of(house, vectors("x", **routing))

    run(test)


def test_who_switches_it_off_leaves_nothing_behind_either() -> None:
    """`routing.cache: false` keeps an answer from being kept, too."""

    async def test() -> None:
        async with opened(vector_model(fake()), cache=ON) as house:
            assert ["fake", "fake"] == await backends_of(house, vectors("x", cache=False), vectors("x"))

    run(test)


def test_vectors_of_another_space_never_answer() -> None:
    """Under an alias of two embedders the kept vector is a candidate only for the model that made it."""
    one, two = (replace(vector_model(fake("a")), id=name) for name in ("test/one", "test/two"))
    alias = AliasEntry(name="both", models=("test/one", "test/two"))

    async def test() -> None:
        async with opened(one, two, aliases=[alias], cache=ON) as house:
            made = await house.dispatcher.infer(embed("x", model="test/one", order=()))
            other = await house.dispatcher.infer(embed("x", model="test/two", order=()))
            both = await house.dispatcher.plan(embed("x", model="both", order=()))

            assert ("fake", "fake") == (made.winner.backend, other.winner.backend)
            spaces = {c.id: c.vector_space for c in both.candidates}
            assert spaces["cache:test/one"] == spaces["a:test/one"] != spaces["cache:test/two"]
            chain = [candidate.id for candidate in _order(both)]
            assert chain in (["cache:test/one", "a:test/one"], ["cache:test/two", "a:test/two"])

    run(test)


def test_what_an_alias_was_answered_is_at_hand_for_its_model() -> None:
    """The key is the model behind the name, not the name."""
    alias = AliasEntry(name="assistant", models=(CHAT,))

    async def test() -> None:
        async with opened(chat_model(fake(near=True)), aliases=[alias], cache=ON) as house:
            call = text()
            named = replace(call, request=replace(call.request, model="assistant"))
            assert ["fake", "cache"] == await backends_of(house, named, text())

    run(test)


@pytest.mark.parametrize(
    "script", [{"fail": "RemoteError"}, {"truncate_after_tokens": 2}, {"fail_after_tokens": 2}, {"fail": "Overloaded"}]
)
def test_nothing_but_a_whole_answer_is_kept(script) -> None:
    """A failure, or a text that broke off, leaves nothing in the cache."""

    async def test() -> None:
        async with opened(chat_model(fake(near=True, **script)), cache=ON) as house:
            await drained(house.dispatcher.stream(text(stream=True)))
            assert 0 == house.services.finder.cache.state().entries

    run(test)


def test_a_text_put_together_from_two_is_not_kept() -> None:
    """Where another candidate went on with a broken text, the whole is nobody's answer."""
    model = chat_model(fake("a", near=True, fail_after_tokens=3), fake("b", near=True))

    async def test() -> None:
        async with opened(model, cache=ON, on_stream_failure="continue") as house:
            *_, outcome = await drained(house.dispatcher.stream(text(stream=True, routing={"order": ("a", "b")})))
            assert outcome.splices
            assert 0 == house.services.finder.cache.state().entries

    run(test)


def test_of_a_hedge_the_winners_answer_is_kept_alone() -> None:
    """One entry, under the candidate that answered; whoever was stopped left nothing."""

    async def test() -> None:
        model = vector_model(fake("a", latency_ms=3_600_000), fake("b", near=True))
        async with opened(model, cache=ON, hedging=HedgingSettings(share=1.0)) as house:
            call = vectors("x", order=("a", "b"))
            plan = await house.dispatcher.plan(call)
            slow, fast = plan.candidates
            for _ in range(LEAST):
                house.patience.observe(slow, plan.size, 0.01)
            outcome = await house.dispatcher.infer(call)
            cache = house.services.finder.cache
            name = await cache.name(call)

            assert ("hedge", 2) == (outcome.winner.role, len(outcome.attempts))
            assert (1, 0, 1) == (cache.state().entries, *(len(cache.offers(name, [each])) for each in (slow, fast)))

    run(test)


def test_a_kept_text_never_goes_on_with_a_broken_one() -> None:
    """It is an answer of its own: after something was said it cannot follow, and a fresh start may."""
    model = chat_model(fake("a", near=True), fake("b", near=True, fail_after_tokens=3))

    async def test() -> None:
        async with opened(model, cache=ON, on_stream_failure="continue") as house:
            await house.dispatcher.infer(text(routing={"only": ("a",)}))
            call = text(stream=True, routing={"order": ("b", "cache"), "ignore": ("a",)})
            *_, outcome = await drained(house.dispatcher.stream(call))
            assert ("error", ["b"]) == (outcome.status, [attempt.provider for attempt in outcome.attempts])

    run(test)


def test_where_the_first_choice_fails_a_kept_answer_is_a_fallback() -> None:
    """A far side that is asked first by an order, and is down, is stood in for by what it said before."""
    model = vector_model(fake("a", fail="RemoteError"), fake("b"))

    async def test() -> None:
        async with opened(model, cache=ON) as house:
            await house.dispatcher.infer(vectors("x", only=("b",)))
            outcome = await house.dispatcher.infer(vectors("x", order=("a", "cache")))
            assert ("cache", "fallback") == (outcome.winner.backend, outcome.winner.role)

    run(test)


def test_what_a_cascade_gave_for_want_of_better_is_not_kept() -> None:
    """The near model was not sure and nobody far answered: next time a far one is asked again."""
    near, far = chat_model(fake("n", near=True, confidence=0.1)), chat_model(fake("f", fail="RemoteError"))
    alias = AliasEntry(name="both", models=("test/near", "test/far"))
    models = replace(near, id="test/near", quality=0.5), replace(far, id="test/far", quality=0.9)

    async def test() -> None:
        async with opened(*models, aliases=[alias], cache=ON, policy="cascade") as house:
            call = text()
            outcome = await house.dispatcher.infer(replace(call, request=replace(call.request, model="both")))
            assert "given after all" in outcome.note
            assert 0 == house.services.finder.cache.state().entries

    run(test)


def test_a_models_answers_are_forgotten_when_it_changes() -> None:
    """Clearing a model drops its answers, and those that were under way; others' stay."""

    async def test() -> None:
        models = vector_model(fake(near=True)), chat_model(fake(near=True))
        async with opened(*models, cache=ON) as house:
            cache = house.services.finder.cache
            await backends_of(house, vectors("x"), text())
            cache.clear(VECTORS)
            assert ["fake", "cache"] == await backends_of(house, vectors("x"), text())
            late = await house.dispatcher.infer(vectors("y"))
            cache.clear(VECTORS)
            cache.keep(late)
            assert ["fake"] == await backends_of(house, vectors("y"))

    run(test)


def test_another_revision_is_another_model() -> None:
    """An entry whose candidate changes in anything is not found any more, even where nobody cleared it."""

    async def test() -> None:
        cache = AnswerCache(ON)
        async with opened(vector_model(fake(near=True))) as house:
            plan = await house.dispatcher.plan(vectors("x"))
            name = await cache.name(plan.call)
            outcome = await house.dispatcher.infer(plan.call)
            cache.keep(replace(outcome, plan=replace(outcome.plan, kept_as=name)))
            [candidate] = plan.candidates
            other = replace(candidate, target=replace(candidate.target, revision="other"))

            assert ["cache:test/vectors"] == [found.id for found, _ in cache.offers(name, [candidate])]
            assert [] == cache.offers(name, [other])
            assert [] == cache.offers(name, [replace(candidate, vector_space="other")])
            assert [] == cache.offers(await AnswerCache(ON).name(plan.call), [candidate])

    run(test)


def test_an_entry_that_goes_after_the_decision_is_missed_by_nobody() -> None:
    """The answer travels with its candidate, so a cache that is cleared meanwhile makes no error."""

    async def test() -> None:
        async with opened(vector_model(fake(near=True)), cache=ON) as house:
            first = await house.dispatcher.infer(vectors("x"))
            plan = await house.dispatcher.plan(vectors("x"))
            house.services.finder.cache.clear()
            async with aclosing(house.dispatcher._attempts.stream(plan)) as pieces:
                *_, outcome = [piece async for piece in pieces]
            assert ("cache", first.result.output) == (outcome.winner.backend, outcome.result.output)

    run(test)


def test_nothing_is_learnt_from_an_answer_at_hand() -> None:
    """Neither latency, nor breakers, nor admission, nor the next choice know anything of it."""

    async def test() -> None:
        async with opened(vector_model(fake(near=True)), cache=ON, policy="balanced") as house:
            await house.dispatcher.infer(vectors("x"))
            lessons = house.services.lessons
            before = dict(lessons.estimator.unsaved()), lessons.estimator.coverage()
            await backends_of(house, *[vectors("x")] * 3)

            assert {} == dict(lessons.estimator.unsaved())
            assert before[1] == lessons.estimator.coverage()
            assert all("cache" not in state.candidate for state in lessons.admission.states())
            assert {"a:test/vectors"} == set(house.dispatcher._planner._incumbents._recent._values.values())

    run(test)


def test_chance_neither_puts_a_kept_answer_first_nor_another_before_it() -> None:
    """Where everything is left to chance, an answer that is at hand is given all the same."""

    async def test() -> None:
        model = vector_model(fake("a"), fake("b"))
        async with opened(model, cache=ON, exploration=1.0) as house:
            assert ["fake", *["cache"] * 8] == await backends_of(house, *[vectors("x")] * 9)
            rows = await house.select("SELECT DISTINCT explored, propensity FROM decisions WHERE backend = 'cache'")
            assert [(False, 1.0)] == rows

    run(test)


def test_hits_misses_and_bytes_are_counted() -> None:
    """A request that could never repeat is no miss; a dry run is neither."""

    async def test() -> None:
        async with opened(vector_model(fake()), chat_model(), cache=ON) as house:
            await backends_of(house, vectors("x"), vectors("x"), vectors("y"), text(temperature=1.0))
            await house.dispatcher.plan(vectors("z"))
            state = house.services.finder.cache.state()

            assert (1, 2, 2) == state[:3]
            assert state.bytes > 2 * 384 * 4

    run(test)


def test_savings_and_estimate_error_know_what_was_cached() -> None:
    """What an answer at hand saved is what simple ways to decide would have paid; and it is no prediction's error."""

    async def test() -> None:
        async with opened(vector_model(fake(price=Price(per_request_usd=0.002))), cache=ON) as house:
            await backends_of(house, *[vectors("x")] * 4)
            await asyncio.to_thread(house.services.log.flush)
            reader = house.services.log.reader()
            paid = (await house.select("SELECT sum(cost_usd) FROM decisions"))[0][0]
            saved = {row["baseline"]: row["saved_usd"] for row in reader.ask("savings")["rows"]}
            off = [row["candidate"] for row in reader.ask("estimate-error")["rows"]]

            assert pytest.approx(0.002) == paid
            for baseline in ("all-far", "cheapest", "fastest", "random"):
                assert pytest.approx(3 * paid) == saved[baseline]
            assert ["a:test/vectors"] == off

    run(test)


def test_a_kept_answer_is_explained_and_replayed_like_any_other() -> None:
    """Its decision has an explanation that names it, and its window of the log can be read for a replay."""

    async def test() -> None:
        async with opened(vector_model(fake()), cache=ON) as house:
            await house.dispatcher.infer(vectors("x"))
            second = await house.dispatcher.infer(vectors("x"))
            told = explained(await house.row(second.decision_id))
            assert "cache:test/vectors" in repr(told)
            reader = house.services.log.reader()
            with reader.window(Window()) as (found, lines):
                assert 2 == found.read == len(list(lines))

    run(test)


def test_a_changed_entry_of_the_catalogue_forgets_its_models_answers_and_no_others() -> None:
    """Nothing of before answers in its name, not even when the change is taken back."""

    async def test() -> None:
        async with opened(chat_model(fake(near=True)), vector_model(fake(near=True)), cache=ON) as house:
            for _ in range(2):
                await house.dispatcher.infer(text(routing={"cache": True}))
                await house.dispatcher.infer(vectors("a"))
            cache = house.services.finder.cache
            held = cache.state().entries
            await house.services.in_force.change(patch_model(VECTORS, ModelPatch(quality=0.5)))
            left = cache.state().entries
            await house.services.in_force.change(delete_model(VECTORS))

            assert (2, 1) == (held, left)
            assert ["fake", "cache"] == await backends_of(house, vectors("a"), text(routing={"cache": True}))

    run(test)
