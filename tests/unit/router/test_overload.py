"""Load control in a whole house: who has too much to do is passed over before any score, and refused only as a last."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial

from backends.fake import FakeBackend
from router.admission import FIRST, WARM_UP, Limit
from router.errors import NoCandidate, NoCapacity
from router.http.errors import body_of, told
from router.http.system import report
from router.outcome import Outcome
from router.sections import Price
from tests.unit.router import virtual
from tests.unit.router.house import House, chat, chat_model, drained, fake, opened

FOREVER_MS = 3_600_000
FREE = Price(per_request_usd=0.0)
CROWD = 20  # requests of a tenth of a second each: two seconds of queue


def run(go):
    """On a clock of its own: no deadline is missed because the machine is busy."""
    return virtual.run(go())


def near(**script):
    return fake("n", near=True, price=FREE, **script)


def tried(outcome: Outcome) -> list[str]:
    return [attempt.candidate_id.partition(":")[0] for attempt in outcome.attempts]


class Waiting(FakeBackend):
    """Never gets round to a prompt that says so."""

    async def infer(self, request, target):
        if request.payload.prompt == "crowd":
            with self._call("infer", request, target):
                await asyncio.Event().wait()
        return await super().infer(request, target)


@asynccontextmanager
async def crowded(*others, **routing):
    """A house whose near candidate is known to take a tenth of a second, with a crowd waiting for it."""
    entry = chat_model(near(latency_ms=100), *others)
    async with opened(entry, backend=Waiting(), policy="cheapest", **routing) as house:
        await house.dispatcher.infer(chat(order=("n",)))
        waits = chat(prompt="crowd", private=True)
        crowd = [asyncio.create_task(house.dispatcher.infer(waits)) for _ in range(CROWD)]
        await until(lambda: house.services.lessons.admission.near_in_flight == CROWD)
        try:
            yield house
        finally:
            for one in crowd:
                one.cancel()
            await asyncio.wait(crowd)


async def until(holds) -> None:
    """Return when it is so."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 -- it looks from outside, nobody tells
            await asyncio.sleep(0.005)


async def asked(house: House, **wishes) -> tuple[Outcome, dict]:
    outcome = await house.dispatcher.infer(chat(**{"order": ()} | wishes))
    return outcome, await house.row(outcome.decision_id)


def test_a_crowded_near_candidate_spills_before_any_scoring() -> None:
    """It is free and `cheapest` would take it for ever; with time enough it still does."""

    async def go() -> None:
        async with crowded(fake("a")) as house:
            hurried, row = await asked(house, deadline_ms=1000)
            patient = await house.dispatcher.plan(chat(order=()))

        assert ("ok", ["a"]) == (hurried.status, tried(hurried))
        assert ["queue"] == [c["code"] for c in row["candidates"] if not c["eligible"]]
        assert "n" == patient.decision.ranked[0].partition(":")[0]

    run(go)


def test_the_share_is_configured_and_a_request_may_be_in_more_of_a_hurry() -> None:
    """`routing.queue_share`, and `max_latency_ms` as much as a deadline."""

    async def go() -> list[str]:
        chosen = []
        for share, wishes in ((0.001, {}), (1.0, {}), (1.0, {"max_latency_ms": 1000})):
            async with crowded(fake("a"), queue_share=share) as house:
                plan = await house.dispatcher.plan(chat(order=(), **wishes))
                chosen.append(plan.decision.ranked[0].partition(":")[0])
        return chosen

    assert ["a", "n", "a"] == run(go)


def test_where_nobody_else_is_left_a_long_wait_near_is_better_than_a_refusal() -> None:
    """The request is private: over the cap, and still in time."""

    async def go() -> None:
        async with crowded(fake("a")) as house:
            wanted = {"order": (), "private": True}
            [near_one, _] = (await house.dispatcher.plan(chat(**wanted))).estimates
            deadline_ms = 1.3 * near_one.latency_s * 1000
            plan = await house.dispatcher.plan(chat(deadline_ms=deadline_ms, **wanted))

        assert near_one.queue_s > 0.6 * deadline_ms / 1000
        assert ["n"] == [name.partition(":")[0] for name in plan.decision.ranked]

    run(go)


def test_what_nobody_can_answer_in_time_is_refused_as_overload_and_told_when_to_come_back() -> None:
    """503 with Retry-After: the request is not wrong."""

    async def go() -> None:
        async with crowded() as house:
            outcome, row = await asked(house, deadline_ms=800)

        assert ("refused", []) == (outcome.status, tried(outcome))
        assert isinstance(outcome.error, NoCapacity)
        assert (503, "overloaded") == (told(outcome.error).status, told(outcome.error).code)
        assert told(outcome.error).retry_after_s > 0.5
        assert ["queue"] == [c["code"] for c in body_of(outcome.error)["error"]["candidates"]]
        assert ("refused", "NoCapacity") == (row["status"], row["error_class"])

    run(go)


def test_a_request_that_nobody_may_ever_serve_stays_wrong() -> None:
    """422, crowd or no crowd."""

    async def go() -> None:
        async with crowded(fake("a")) as house:
            outcome, _ = await asked(house, only=("nobody",))

        assert (NoCandidate, 422) == (type(outcome.error), told(outcome.error).status)

    run(go)


async def full(house: House, provider: str = "a") -> None:
    """As many requests are under way at the candidate as it is given at first."""
    [candidate] = [c for c in house.services.finder.every() if c.target.provider == provider]
    for _ in range(FIRST):
        house.services.lessons.admission.began(candidate)


def test_at_its_admission_limit_a_far_candidate_is_passed_over() -> None:
    """The next one takes the request; alone, it is refused for now. Switched off, nobody is."""

    async def go() -> None:
        async with opened(chat_model(fake("a"), fake("b"))) as house:
            await full(house)
            spilled, row = await asked(house, order=("a", "b"))
            told_states = report(house.services)["admission"]
        async with opened(chat_model(fake("a"))) as house:
            await full(house)
            refused, _ = await asked(house)
        async with opened(chat_model(fake("a")), admission=False) as house:
            await full(house)
            served, _ = await asked(house)

        assert (["b"], [], ["a"]) == (tried(spilled), tried(refused), tried(served))
        assert ["overloaded"] == [c["code"] for c in row["candidates"] if not c["eligible"]]
        assert (FIRST, FIRST) == (told_states[0]["limit"], told_states[0]["in_flight"])
        assert (NoCapacity, 503) == (type(refused.error), told(refused.error).status)

    run(go)


def test_every_way_an_attempt_may_end_gives_its_place_back() -> None:
    """Answered, failed, cut off, or left by its sender in the middle of a stream."""

    async def go() -> None:
        candidates = (fake("a", fail="RemoteError"), fake("b", truncate_after_tokens=2), fake("c", per_token_ms=1))
        async with opened(chat_model(*candidates)) as house:
            admission = house.services.lessons.admission
            await drained(house.dispatcher.stream(chat(stream=True)))
            pieces = house.dispatcher.stream(chat(stream=True))
            await anext(pieces)
            await anext(pieces)
            during = [state.in_flight for state in admission.states()]
            await pieces.aclose()

        assert 1 == sum(during)
        assert 0 == sum(state.in_flight for state in admission.states())

    run(go)


def test_only_answers_and_long_waits_teach_how_much_a_candidate_can_take() -> None:
    """A failure comes fast, and what its sender stopped says nothing."""

    async def go(script: dict, *, stopped: bool = False) -> int:
        async with opened(chat_model(fake("a", **script))) as house:
            admission = house.services.lessons.admission
            limit = admission._limits["a:test/chat"] = Limit(usual=1e-6, answers=WARM_UP)
            asking = asyncio.create_task(house.dispatcher.infer(chat(deadline_ms=60_000 if stopped else 200)))
            if stopped:
                await until(admission.states)
                await until(lambda: admission.states()[0].in_flight)
                asking.cancel()
            await asyncio.wait([asking])
            return limit.answers - WARM_UP

    scripts = ({}, {"fail": "RemoteError"}, {"fail": "Timeout"}, {"latency_ms": FOREVER_MS})

    assert [1, 0, 1, 1] == [run(partial(go, script)) for script in scripts]
    assert 0 == run(partial(go, {"latency_ms": FOREVER_MS}, stopped=True))


def test_what_is_under_way_is_shown_to_prometheus() -> None:
    """By candidate, with its limit where it has one."""

    async def go() -> str:
        async with opened(chat_model(fake("a"), near())) as house:
            for candidate in house.services.finder.every():
                if candidate.target.backend == "fake":
                    house.services.lessons.admission.began(candidate)
            house.services.metrics.admitted(house.services.lessons.admission.states())
            log = house.services.log.stats()
            return house.services.metrics.render(log, {}, {}, (), "valid").decode()

    text = run(go)

    assert 'nearfar_in_flight{candidate="n:test/chat"} 1.0' in text
    assert f'nearfar_admission_limit{{candidate="a:test/chat"}} {float(FIRST)}' in text
    assert 'nearfar_admission_limit{candidate="n:test/chat"}' not in text


def test_a_retry_after_follows_the_queue() -> None:
    """The longer it is, the later one may come back."""

    async def go() -> list[float]:
        async with crowded() as house:
            plans = [await house.dispatcher.plan(chat(order=(), deadline_ms=ms)) for ms in (200, 800)]
            return [plan.refusal.retry_after_s for plan in plans]

    later, sooner = run(go)

    assert later > sooner
