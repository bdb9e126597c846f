"""A second attempt beside a slow first one: only where it pays, within its share, and with both in the log."""

import asyncio
from contextlib import aclosing

import pytest

from backends.fake import FakeBackend
from router.hedging import MOST_SAVED, Hedging
from router.outcome import Outcome
from router.patience import LEAST
from router.section_of_routing import HedgingSettings
from router.sections import BudgetEntry
from tests.unit.router import virtual
from tests.unit.router.house import PRICE, House, chat, chat_model, drained, embed, fake, opened, vector_model
from tests.unit.router.test_course import NEAR, A, B

SLOW_MS = 3_600_000
ALWAYS = HedgingSettings(share=1.0)


def run(go):
    """On a clock of its own: no deadline is missed because the machine is busy."""
    return virtual.run(go())


def tried(outcome: Outcome) -> list[str]:
    return [attempt.candidate_id.partition(":")[0] for attempt in outcome.attempts]


async def taught(house: House, model: str, first_byte_s: float = 0.01) -> None:
    """Let the router believe that it knows the far candidate: it answers that fast."""
    [candidate, *_] = house.services.finder.of_model(house.services.catalog.find(model))
    size = (await house.dispatcher.plan(embed() if "vectors" in model else chat())).size
    for _ in range(LEAST):
        house.patience.observe(candidate, size, first_byte_s)


def slow_far_and_near():
    return vector_model(fake("a", latency_ms=SLOW_MS), fake("b", near=True))


def test_the_first_good_answer_wins_and_both_are_in_the_log() -> None:
    """The slow far attempt is stopped; what it may have cost counts, marked as estimated."""

    async def go() -> None:
        async with opened(slow_far_and_near(), hedging=ALWAYS) as house:
            await taught(house, "test/vectors")
            outcome = await house.dispatcher.infer(embed())
            row = await house.row(outcome.decision_id)

        assert ("ok", "b") == (outcome.status, outcome.winner.candidate_id.partition(":")[0])
        assert [("primary", "cancelled", False), ("hedge", "ok", True)] == [
            (attempt["role"], attempt["status"], attempt["won"]) for attempt in row["attempts"]
        ]
        lost, _ = row["attempts"]
        assert ("estimated", "estimated") == (lost["cost_source"], row["cost_source"])
        assert outcome.plan.estimate(lost["candidate_id"]).cost_usd == lost["cost_usd"]

    run(go)


def test_a_first_attempt_that_answers_in_time_stays_alone() -> None:
    """Nobody else is asked."""

    async def go() -> None:
        async with opened(vector_model(fake("a"), fake("b", near=True)), hedging=ALWAYS) as house:
            await taught(house, "test/vectors", first_byte_s=60.0)
            outcome = await house.dispatcher.infer(embed())

        assert ["a"] == tried(outcome)

    run(go)


@pytest.mark.parametrize("first", [{"fail": "Timeout", "latency_ms": 30}, {"latency_ms": SLOW_MS}])
def test_a_hedge_that_fails_does_no_harm(first) -> None:
    """The first attempt goes on; where that fails too, the chain does."""

    async def go() -> None:
        candidates = (fake("a", **first), fake("b", near=True, fail="OutOfMemory"), fake("c"))
        async with opened(vector_model(*candidates), hedging=ALWAYS) as house:
            await taught(house, "test/vectors")
            outcome = await house.dispatcher.infer(embed(deadline_ms=400.0))

        providers = tried(outcome)
        assert ["a", "b"] == providers[:2]
        assert ((["c"], "ok") if "fail" in first else ([], "error")) == (providers[2:], outcome.status)

    run(go)


def test_a_sender_that_goes_away_stops_both() -> None:
    """Two attempts, both cancelled, one row."""

    async def go() -> None:
        entry = vector_model(fake("a", latency_ms=SLOW_MS), fake("b", near=True, latency_ms=SLOW_MS))
        async with opened(entry, hedging=ALWAYS) as house:
            await taught(house, "test/vectors")
            task = asyncio.create_task(house.dispatcher.infer(embed()))
            while house.fake.calls["infer"] < 2:  # noqa: ASYNC110 -- the backend tells nobody
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            row = await house.only_row()

        assert ["cancelled", "cancelled"] == [attempt["status"] for attempt in row["attempts"]]

    run(go)


def test_a_hedge_that_no_budget_pays_for_is_none() -> None:
    """It takes no candidate and no attempt away: the chain can still go where it would have gone."""

    async def go() -> None:
        candidates = (fake("a", latency_ms=150, fail="Timeout"), fake("b"), fake("c", near=True))
        settings = HedgingSettings(share=1.0, to="any")
        budgets = [BudgetEntry(limit_usd=0.0015)]
        async with opened(vector_model(*candidates), hedging=settings, budgets=budgets, max_attempts=2) as house:
            await taught(house, "test/vectors")
            outcome = await house.dispatcher.infer(embed())

        assert (["a", "c"], "ok") == (tried(outcome), outcome.status)

    run(go)


@pytest.mark.parametrize("stream", [False, True])
def test_a_sender_that_leaves_while_the_loser_is_stopped_leaves_both_rows(stream) -> None:
    """However long stopping takes, and whoever goes away meanwhile: no attempt without its row."""

    class Clinging(FakeBackend):
        """Takes a moment to let go of a cancelled call."""

        async def infer(self, request, target):
            try:
                return await super().infer(request, target)
            except asyncio.CancelledError:
                letting_go.set()
                await may_go.wait()
                raise

        async def stream(self, request, target):
            if "latency_ms" in dict(target.script):  # the slow one
                yield await self.infer(request, target)
            async with aclosing(super().stream(request, target)) as pieces:
                async for piece in pieces:
                    yield piece

    letting_go, may_go = asyncio.Event(), asyncio.Event()

    async def go() -> None:
        settings = HedgingSettings(share=1.0, costly=True)
        models = (slow_far_and_near(), chat_model(fake("a", latency_ms=SLOW_MS), fake("b", near=True)))
        async with opened(*models, backend=Clinging(), hedging=settings) as house:
            await taught(house, "test/chat" if stream else "test/vectors")
            asked = drained(house.dispatcher.stream(chat(stream=True))) if stream else house.dispatcher.infer(embed())
            task = asyncio.create_task(asked)
            await letting_go.wait()
            task.cancel()
            await asyncio.sleep(0)
            may_go.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            row = await house.only_row()

        assert ["primary", "hedge"] == [attempt["role"] for attempt in row["attempts"]]
        assert "cancelled" == row["status"]

    run(go)


def test_losers_teach_how_slow_they_were() -> None:
    """Else only quick answers would be known, and ever more requests would be hedged."""

    async def go() -> tuple[float, float]:
        async with opened(slow_far_and_near(), hedging=ALWAYS) as house:
            await taught(house, "test/vectors")
            size = (await house.dispatcher.plan(embed())).size
            [far, _] = house.services.finder.of_model(house.services.catalog.find("test/vectors"))
            before_s = house.patience.hedge_after_s(far, size)
            for _ in range(LEAST):
                await house.dispatcher.infer(embed())
            return before_s, house.patience.hedge_after_s(far, size)

    before_s, after_s = asyncio.run(go())  # on the machine's clock: stopping the loser takes a moment
    assert after_s > before_s


def test_costly_work_is_hedged_only_where_that_is_asked() -> None:
    """A generation takes as long as it is; its first token may be hedged, and only of a stream."""

    async def go(*, costly: bool, stream: bool) -> list[str]:
        entry = chat_model(fake("a", first_token_ms=SLOW_MS), fake("b", near=True))
        async with opened(entry, hedging=HedgingSettings(share=1.0, costly=costly)) as house:
            await taught(house, "test/chat")
            outcome = await house.dispatcher.infer(chat(stream=stream, deadline_ms=300.0))
            return [attempt.role for attempt in outcome.attempts]

    assert ["primary"] == virtual.run(go(costly=False, stream=True))
    assert ["primary"] == virtual.run(go(costly=True, stream=False))
    assert ["primary", "hedge"] == virtual.run(go(costly=True, stream=True))


@pytest.mark.parametrize(("to", "expected"), [("off", ["a"]), ("near", ["a"]), ("any", ["a", "b"])])
def test_a_second_far_candidate_is_asked_only_where_that_is_allowed(to, expected) -> None:
    """It costs money, so nobody is surprised by it."""

    async def go() -> list[str]:
        entry = vector_model(fake("a", latency_ms=SLOW_MS), fake("b"))
        async with opened(entry, hedging=HedgingSettings(share=1.0, to=to)) as house:
            await taught(house, "test/vectors")
            outcome = await house.dispatcher.infer(embed(deadline_ms=300.0))
            return tried(outcome)

    assert expected == run(go)


def test_hedges_keep_to_their_share() -> None:
    """Of a thousand requests that could be hedged, five in a hundred are, and no burst of saved ones is long."""

    class Knows:
        def hedge_after_s(self, _candidate, _size) -> float:
            return 1.0

    async def plan():
        async with opened(vector_model(fake("a"))) as house:
            return await house.dispatcher.plan(embed())

    hedging, asked = Hedging(HedgingSettings(share=0.05), Knows()), run(plan)
    taken = sum(hedging.after_s(asked, A) is not None and hedging.take() for _ in range(1000))
    for _ in range(1000):
        hedging.after_s(asked, A)
    saved = sum(hedging.take() for _ in range(1000))

    assert 45 <= taken <= 50
    assert MOST_SAVED == saved
    assert (True, False) == (hedging.allows(NEAR), hedging.allows(B))
    assert PRICE.known
