"""Shadows in a whole house: pairs of what went far, never in the way of a request, and no part of its cost."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.errors import RemoteError
from backends.types import (
    ClassificationInput,
    DrawingInput,
    EmbeddingInput,
    GenerationOutput,
    InferenceRequest,
    SpeechInput,
    Task,
)
from router.decision_log.log import DecisionLog
from router.house import open_house
from router.http.system import report
from router.outcome import Outcome
from router.request import Call
from router.section_of_routing import RoutingSettings
from router.sections import AliasEntry, BudgetEntry, ModelEntry, Settings
from router.settings import Secrets
from router.shadowing import LONGEST_S, MOST_BYTES, MOST_WAITING, held_bytes
from tests.unit.router.house import House, chat, chat_model, embed, fake, opened, vector_model
from tests.unit.router.test_overload import until

FOREVER_MS = 3_600_000
FAR, NEAR = "a:test/chat", "n:test/chat"
SHADOWS = (
    "SELECT d.decision_id::VARCHAR, a.status, a.attempt, a.won, s.metric, s.agreement, s.reference, s.candidate_id"
    " FROM attempts a JOIN decisions d USING (decision_id) LEFT JOIN shadows s USING (decision_id)"
    " WHERE a.role = 'shadow' ORDER BY a.ts"
)


def run(go):
    return asyncio.run(go())


def both(**near_script):
    """A far candidate that is asked first, and a near one."""
    return chat_model(fake("a"), fake("n", near=True, **near_script))


async def ran(house: House, count: int = 1) -> list[tuple]:
    """The shadows, once so many have ended and were compared."""
    await until(lambda: house.dispatcher.shadows.state().run >= count)
    async with asyncio.timeout(20):
        while True:
            rows = await house.select(SHADOWS)
            if len(rows) >= count and not any(row[1] == "ok" and row[4] is None for row in rows):
                return rows
            await asyncio.sleep(0.005)


def queued(house: House) -> int:
    """What is under way at the near candidate."""
    [status] = [c.status for c in house.services.finder.every() if c.target.provider == "n"]
    return status.queued


async def quiet(house: House) -> tuple[int, int, int, int]:
    """How it goes once whatever waits has had its chance."""
    await asyncio.sleep(0.05)
    return tuple(house.dispatcher.shadows.state())


@pytest.mark.parametrize("stream", [False, True])
def test_what_went_far_is_run_near_and_compared(stream) -> None:
    """Its row has its own role, number, latency and cost, and the pair says how well the two agree."""

    async def go() -> None:
        async with opened(both(), shadow=1.0) as house:
            pieces = [piece async for piece in house.dispatcher.stream(chat(stream=stream))]
            outcome = pieces[-1]
            rows = await ran(house)
            row = await house.row(outcome.decision_id)
            health = report(house.services)["shadowing"]

        assert [(outcome.decision_id, "ok", 2, False, "exact", 1.0, FAR, NEAR)] == rows
        assert ["primary", "shadow"] == [attempt["role"] for attempt in row["attempts"]]
        assert [FAR] == [attempt.candidate_id for attempt in outcome.attempts]
        assert row["attempts"][1]["total_ms"] >= 0
        assert {"waiting": 0, "run": 1, "preempted": 0, "dropped": 0} == health

    run(go)


def test_off_by_default() -> None:
    """Nobody asked for it."""

    async def go() -> None:
        async with opened(both()) as house:
            await house.dispatcher.infer(chat())

            assert (0, 0, 0, 0) == await quiet(house)
            assert 0 == house.fake.calls["stream"]
            assert 1 == house.fake.calls["infer"]

    run(go)


def test_it_is_no_part_of_the_requests_cost_or_of_any_budget() -> None:
    """The outcome has the far attempt alone, and a restart does not count the shadow as spent."""

    async def go() -> None:
        async with opened(both(), shadow=1.0, budgets=[BudgetEntry(limit_usd=1.0)]) as house:
            outcome = await house.dispatcher.infer(chat())
            await ran(house)
            row = await house.row(outcome.decision_id)
            [state] = house.services.budgets.states()
            spent = house.services.log.reader().spent(datetime(2020, 1, 1, tzinfo=UTC))

        [primary, _] = row["attempts"]
        assert primary["cost_usd"] == row["cost_usd"] == outcome.cost.usd == state.spent_usd
        assert (0.0, primary["cost_usd"]) == (state.reserved_usd, sum(each.usd for each in spent))

    run(go)


def test_never_the_reverse() -> None:
    """What was served near stays near, private or not."""

    async def go() -> None:
        async with opened(both(), shadow=1.0) as house:
            await house.dispatcher.infer(chat(order=("n",)))
            await house.dispatcher.infer(chat(private=True))

            assert (0, 0, 0, 0) == await quiet(house)
            assert [] == await house.select("SELECT 1 FROM attempts WHERE candidate_id = 'a:test/chat'")

    run(go)


def test_real_work_preempts_it_at_once() -> None:
    """The shadow is cancelled before the request near has anything to wait for, and is not begun again."""

    async def go() -> None:
        async with opened(both(latency_ms=FOREVER_MS), shadow=1.0) as house:
            await house.dispatcher.infer(chat())
            await until(lambda: queued(house) == 1)
            real = asyncio.create_task(house.dispatcher.infer(chat(order=("n",))))
            rows = await ran(house)
            await until(lambda: queued(house) == 1)  # the real one alone
            real.cancel()
            await asyncio.wait([real])
            [attempt] = await house.select("SELECT censored, error_class FROM attempts WHERE role = 'shadow'")
            state = await quiet(house)

        assert [("cancelled", None)] == [(row[1], row[4]) for row in rows]
        assert (True, None) == attempt
        assert (0, 1, 1, 0) == state

    run(go)


def test_far_work_does_not_preempt_it() -> None:
    """It needs nothing of this machine."""

    async def go() -> None:
        async with opened(both(latency_ms=FOREVER_MS), shadow=1.0) as house:
            await house.dispatcher.infer(chat())
            await until(lambda: queued(house) == 1)
            await house.dispatcher.infer(chat())

            assert (1, 0, 0, 0) == await quiet(house)
            assert 1 == queued(house)

    run(go)


def test_no_request_is_expected_to_queue_behind_it() -> None:
    """It gives way at once, so it sends nobody away; what a request has under way near is a queue."""

    async def go() -> None:
        async with opened(both(latency_ms=FOREVER_MS), shadow=1.0) as house:
            before = (await house.dispatcher.plan(chat())).estimate(NEAR).latency_s
            await house.dispatcher.infer(chat())
            await until(lambda: queued(house) == 1)
            plan = await house.dispatcher.plan(chat())
            row = await house.row((await house.dispatcher.infer(chat())).decision_id)
            real = asyncio.create_task(house.dispatcher.infer(chat(order=("n",))))
            await ran(house)
            await until(lambda: queued(house) == 1)
            behind = (await house.dispatcher.plan(chat())).estimate(NEAR)
            real.cancel()
            await asyncio.wait([real])

        [near] = [each for each in row["candidates"] if each["candidate_id"] == NEAR]
        assert (before, 0.0) == (plan.estimate(NEAR).latency_s, plan.estimate(NEAR).queue_s)
        assert (0, 0.0) == (near["queued"], near["queue_ms"])
        assert behind.queue_s > 0

    run(go)


def test_none_starts_while_anything_near_is_under_way() -> None:
    """It waits its turn, and has it afterwards."""

    async def go() -> None:
        models = (both(), chat_model(fake("n", model="busy", near=True, latency_ms=FOREVER_MS), model="test/busy"))
        async with opened(*models, shadow=1.0) as house:
            busy = asyncio.create_task(house.dispatcher.infer(chat(model="test/busy")))
            await until(lambda: house.services.lessons.admission.near_in_flight == 1)
            await house.dispatcher.infer(chat())
            meanwhile = await quiet(house)
            busy.cancel()
            await asyncio.wait([busy])
            rows = await ran(house)

        assert (1, 0, 0, 0) == meanwhile
        assert ["ok"] == [row[1] for row in rows]

    run(go)


def test_a_model_that_is_not_loaded_is_left_alone() -> None:
    """Loading it would push out another that a request wants."""

    async def go() -> None:
        async with opened(both(load_ms=1), shadow=1.0) as house:
            await house.dispatcher.infer(chat())
            cold = await quiet(house)
            await house.dispatcher.warm("test/chat")
            await house.dispatcher.infer(chat())
            await ran(house)

            assert ((0, 0, 0, 0), 1) == (cold, house.dispatcher.shadows.state().run)

    run(go)


def test_a_closing_house_stops_it_and_writes_that_down(tmp_path: Path) -> None:
    """Nothing is left running, and the row is in the log."""
    settings = Settings(models=(both(latency_ms=FOREVER_MS),), routing=RoutingSettings(policy="fastest", shadow=1.0))
    path = tmp_path / "log.duckdb"

    async def go() -> None:
        async with open_house(settings, Secrets(), DecisionLog.open(path)) as services:
            await services.dispatcher.infer(chat())
            await until(lambda: queued(House(services)) == 1)

    run(go)
    log = DecisionLog.open(path)
    rows = log.reader().sql("SELECT status, cost_usd FROM attempts WHERE role = 'shadow'").rows
    log.close()

    assert [["cancelled"]] == [list(row[:1]) for row in rows]


def test_only_so_many_wait_and_the_oldest_go() -> None:
    """Those that were let go are counted."""

    async def go() -> None:
        models = (both(), chat_model(fake("n", model="busy", near=True, latency_ms=FOREVER_MS), model="test/busy"))
        async with opened(*models, shadow=1.0) as house:
            busy = asyncio.create_task(house.dispatcher.infer(chat(model="test/busy")))
            await until(lambda: house.services.lessons.admission.near_in_flight == 1)
            outcomes = [await house.dispatcher.infer(chat(prompt=f"{n}")) for n in range(MOST_WAITING + 3)]
            full = await quiet(house)
            shadows = house.dispatcher.shadows
            kept = [waiting.plan.decision_id for waiting in shadows._waiting]
            large = chat(prompt="x" * (MOST_BYTES // 3))
            for _ in range(4):
                await house.dispatcher.infer(large)
            heavy = tuple(shadows.state())
            shadows._waiting[0] = replace(shadows._waiting[0], since=shadows._waiting[0].since - LONGEST_S)
            shadows._trim()
            old = tuple(shadows.state())
            busy.cancel()
            await asyncio.wait([busy])

        assert (MOST_WAITING, 0, 0, 3) == full
        assert [outcome.decision_id for outcome in outcomes[3:]] == kept
        assert 2 == heavy[0]
        assert (1, heavy[3] + 1) == (old[0], old[3])

    run(go)


def test_a_share_of_the_requests_is_taken() -> None:
    """By a draw that is given."""

    async def go() -> None:
        async with opened(both(), shadow=0.0) as house:
            outcome = await house.dispatcher.infer(chat())
            shadows = house.dispatcher.shadows
            shadows.share = 0.3
            for draw in (0.0, 0.29, 0.3, 0.99):
                shadows.offer(outcome, draw)

            assert 2 == shadows.state().waiting

    run(go)


def test_it_teaches_what_the_near_candidate_takes() -> None:
    """It is a real latency of this machine."""

    async def go() -> tuple[str, str]:
        async with opened(both(), shadow=1.0) as house:
            before = (await house.dispatcher.plan(chat())).estimate(NEAR)
            await house.dispatcher.infer(chat())
            await ran(house)
            return before.latency_source, (await house.dispatcher.plan(chat())).estimate(NEAR).latency_source

    assert ("prior", "observed") == run(go)


def test_it_teaches_how_good_another_near_model_is() -> None:
    """By its agreement with a far one whose quality is known; of the same model at two places nothing is learnt."""

    async def go(far: str) -> float:
        models = [chat_model(fake("a"), model="test/far"), chat_model(fake("n", near=True), model="test/near")]
        if far == "test/near":
            models[1] = chat_model(fake("a"), fake("n", near=True), model=far)
        rated = [replace(model, quality=0.9 if model.id == "test/far" else 0.5) for model in models]
        alias = AliasEntry(name="any", models=("test/far", "test/near"))
        async with opened(*rated, aliases=[alias], shadow=1.0) as house:
            await house.dispatcher.infer(chat(model="any" if far == "test/far" else far))
            await ran(house)
            return house.services.lessons.judgement.quality.of("test/near").weight

    assert (True, 0.0) == (asyncio.run(go("test/far")) > 0, asyncio.run(go("test/near")))


def test_it_is_expected_to_take_what_it_would_take_now() -> None:
    """What was expected when the request came says nothing of a machine that is idle again."""

    async def go() -> None:
        async with opened(both(), shadow=1.0) as house:
            plan = (await house.dispatcher.infer(chat(deadline_ms=60_000))).plan
            await ran(house)
            [near] = [candidate for candidate in plan.candidates if candidate.near]
            later = house.dispatcher.shadows._planned(plan, near)

        assert [NEAR] == [estimate.candidate_id for estimate in later.estimates]
        assert (plan.decision_id, True) == (later.decision_id, later.deadline > plan.deadline)
        assert ("prior", "observed") == (plan.estimate(NEAR).latency_source, later.estimate(NEAR).latency_source)

    run(go)


def test_its_failure_says_nothing_of_the_far_candidate() -> None:
    """Its row has the error; the answer went out long ago."""

    async def go() -> None:
        async with opened(both(fail="OutOfMemory"), shadow=1.0) as house:
            outcome = await house.dispatcher.infer(chat())
            rows = await ran(house)

            assert ("ok", [("error", None)]) == (outcome.status, [(row[1], row[4]) for row in rows])
            assert {} == house.breakers.open(0.0)

    run(go)


def test_an_alias_shadows_another_model_but_never_another_vector_space() -> None:
    """Agreement between two models says something of a label or a text; two vector spaces share nothing."""

    async def go(*models: ModelEntry, alias: AliasEntry, call: Call) -> int:
        async with opened(*models, aliases=[alias], shadow=1.0) as house:
            await house.dispatcher.infer(call)
            return sum((await quiet(house))[:2])

    texts = (chat_model(fake("a"), model="test/far"), chat_model(fake("n", near=True), model="test/near"))
    vectors = tuple(
        replace(vector_model(candidate), id=name)
        for candidate, name in ((fake("a"), "test/far"), (fake("n", near=True), "test/near"))
    )
    alias = AliasEntry(name="any", models=("test/far", "test/near"))

    assert 1 == asyncio.run(go(*texts, alias=alias, call=chat(model="any")))
    assert 0 == asyncio.run(go(*vectors, alias=alias, call=embed(model="any")))


@pytest.mark.parametrize(
    ("task", "payload", "metric"),
    [
        (Task.FEATURE_EXTRACTION, EmbeddingInput(texts=("one", "two")), "cosine"),
        (Task.TEXT_CLASSIFICATION, ClassificationInput(texts=("one",)), "label"),
        (Task.AUTOMATIC_SPEECH_RECOGNITION, SpeechInput(audio=b"\0" * 16_000), "wer"),
        (Task.TEXT_TO_IMAGE, DrawingInput(prompt="a cat"), None),
    ],
)
def test_each_task_is_compared_by_its_own_measure(task, payload, metric) -> None:
    """Drawings are not: two of one prompt need not look alike."""

    async def go() -> list[tuple]:
        entry = ModelEntry(id="test/chat", task=task.value, candidates=(fake("a"), fake("n", near=True)))
        async with opened(entry, shadow=1.0) as house:
            request = InferenceRequest(task=task, model="test/chat", payload=payload)
            await house.dispatcher.infer(replace(chat(), request=request))
            return await ran(house) if metric else [await quiet(house)]

    [row] = run(go)

    assert (("ok", metric, pytest.approx(1.0)) if metric else (0, 0, 0)) == (
        (row[1], row[4], row[5]) if metric else row[:3]
    )


def test_it_is_nobodys_probe() -> None:
    """Behind a breaker that opened one attempt decides for all: a request, and not what may be stopped at any time."""

    async def go() -> None:
        async with opened(both(), shadow=1.0) as house:
            for _ in range(3):
                house.breakers.failed(NEAR, RemoteError("x"), -1000.0)  # its pause has passed
            await house.dispatcher.infer(chat())

            assert (0, 0, 0, 0) == await quiet(house)

    run(go)


def test_what_a_cascade_keeps_is_weighed_too() -> None:
    """The near answer that it was not sure of waits with the far one."""

    async def go() -> int:
        async with opened(both(), shadow=1.0) as house:
            outcome = await house.dispatcher.infer(chat())
            [far] = outcome.attempts
            text = GenerationOutput("x" * 1000, "stop")
            near = replace(far, candidate_id=NEAR, result=replace(far.result, output=text))
            house.dispatcher.shadows._waiting.clear()
            house.dispatcher.shadows.offer(replace(outcome, attempts=(near, far)), 0.0)
            return house.dispatcher.shadows._waiting[0].held_bytes

    assert run(go) >= 1000


def test_what_waits_is_weighed_by_what_it_holds() -> None:
    """Texts, recordings and vectors; whatever they lie in."""
    assert 5 == held_bytes(chat(prompt="hello").request.payload.prompt)
    assert 1000 <= held_bytes(SpeechInput(audio=b"\0" * 1000)) < 1100
    assert 300 <= held_bytes(EmbeddingInput(texts=("x" * 100,) * 3)) < 400


def test_the_answer_never_waits_for_it() -> None:
    """The outcome is there while the shadow still runs."""

    async def go() -> Outcome:
        async with opened(both(latency_ms=FOREVER_MS), shadow=1.0) as house:
            outcome = await house.dispatcher.infer(chat())
            await until(lambda: queued(house) == 1)
            return outcome

    assert "ok" == run(go).status
