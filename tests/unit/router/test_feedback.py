"""Feedback through a real house: it moves a quality at once, decides later requests, and outlives a restart."""

import asyncio
import contextlib
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from litestar.testing import TestClient

from router.app import create_app
from router.decision_log.keeping import Keeper
from router.decision_log.log import DecisionLog
from router.decision_log.record import ShadowRow
from router.errors import InvalidRequest
from router.feedback import Said
from router.house import open_house
from router.ledger import now_us
from router.section_of_routing import RoutingSettings
from router.sections import AliasEntry, ModelEntry, Settings
from router.settings import Secrets
from router.slate import PromptIntent
from tests.unit.loops import in_a_loop
from tests.unit.router.house import PRICE, House, chat, fake, opened

SMALL, LARGE = "test/small", "test/large"


def model(name: str, provider: str, quality, **script) -> ModelEntry:
    return ModelEntry(
        id=name,
        task="text-generation",
        quality=quality,
        candidates=(fake(provider, model=f"{name}-there", price=PRICE, **script),),
    )


MODELS = (model(SMALL, "a", 0.7, near=True, confidence=0.6), model(LARGE, "b", {"default": 0.9, "code": 0.95}))
ALIAS = AliasEntry(name="ask", models=(SMALL, LARGE))


class Wants:
    """Says of every prompt that it wants this."""

    def __init__(self, intent: str) -> None:
        self.intent = intent

    async def of(self, request):
        return PromptIntent(self.intent, 0.9)


def wants(house: House, intent: str) -> None:
    house.dispatcher._planner._signal = Wants(intent)


def settled(log: DecisionLog) -> None:
    """Everything in the log so far lies where decisions that have ended are kept for long."""
    log.flush()
    later = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    with contextlib.closing(log.cursor()) as con:
        assert Keeper(log.cursor).settle(con, later, at_least=1) > 0


def ask(**more):
    return chat(model="ask", **({"order": ("a", "b")} | more))


async def said(house: House, decision_id: str, score: float, source: str = "user", label=None):
    return await house.services.feedback.take(Said(decision_id, score, label, source, sees=None))


async def chosen(house: House, **more) -> str:
    return (await house.dispatcher.plan(ask(**more))).decision.ranked[0]


@in_a_loop
async def test_feedback_changes_a_later_decision_under_min_quality() -> None:
    """0.7 is enough for 0.65 until three bad answers have lowered it; the row of the decision says what it was then."""
    async with opened(*MODELS, aliases=(ALIAS,)) as house:
        assert "a:test/small-there" == await chosen(house, min_quality=0.65)
        for _ in range(3):
            outcome = await house.dispatcher.infer(ask())
            await said(house, outcome.decision_id, 0.0)
        later = await house.dispatcher.infer(ask(min_quality=0.65))
        row = await house.row(later.decision_id)

    assert LARGE in later.winner.model
    [small] = [c for c in row["candidates"] if not c["eligible"]]
    assert ("quality_too_low", pytest.approx(14 / 23)) == (small["code"], small["pred_quality"])
    assert "quality 0.609, less than the limit of 0.65" == small["reason"]


@in_a_loop
async def test_the_quality_is_that_of_what_the_request_wants() -> None:
    """Code is judged apart from everything else."""
    async with opened(*MODELS, aliases=(ALIAS,)) as house:
        wants(house, "code")
        taken = await said(house, (await house.dispatcher.infer(ask())).decision_id, 0.0)
        code = (await house.dispatcher.plan(ask())).estimates
        wants(house, "smalltalk")
        smalltalk = (await house.dispatcher.plan(ask())).estimates

    assert (SMALL, "code", False) == taken[:3]
    assert [pytest.approx(14 / 21), 0.95] == [estimate.quality for estimate in code]
    assert [pytest.approx(14 / 20.5), 0.9] == [estimate.quality for estimate in smalltalk]
    assert ["prior+feedback", "prior"] == [estimate.quality_source for estimate in code]


@in_a_loop
async def test_saying_it_again_replaces_what_was_said() -> None:
    """A hundred votes of one source on one decision are one; another source has its own."""
    async with opened(*MODELS, aliases=(ALIAS,)) as house:
        decision_id = (await house.dispatcher.infer(ask())).decision_id
        first = await said(house, decision_id, 0.0)
        for _ in range(5):
            again = await said(house, decision_id, 1.0)
        other = await said(house, decision_id, 1.0, source="checker")
        rows = await house.select("SELECT source, count(*) FROM feedback GROUP BY ALL ORDER BY ALL")

    assert (False, True, False) == (first.replaced, again.replaced, other.replaced)
    assert [pytest.approx(15 / 21), 1.0] == [again.quality.value, pytest.approx(again.quality.weight, abs=1e-6)]
    assert other.quality.value == pytest.approx(16 / 22)
    assert [("checker", 1), ("user", 6)] == rows


@in_a_loop
async def test_votes_at_once_count_once() -> None:
    """However many come together."""
    async with opened(*MODELS, aliases=(ALIAS,)) as house:
        decision_id = (await house.dispatcher.infer(ask())).decision_id
        taken = await asyncio.gather(*(said(house, decision_id, 1.0) for _ in range(10)))
        figure = house.services.lessons.judgement.quality.of(SMALL)

    assert 9 == sum(each.replaced for each in taken)
    assert figure.weight == pytest.approx(1.0, abs=1e-6)


@in_a_loop
async def test_what_has_no_answer_cannot_be_judged() -> None:
    """A decision nobody knows is none; a refused request gave nothing to judge."""
    async with opened(*MODELS, aliases=(ALIAS,)) as house:
        refused = await house.dispatcher.infer(ask(min_quality=1.0))
        with pytest.raises(InvalidRequest, match="no answer to judge"):
            await said(house, refused.decision_id, 1.0)
        assert None is await said(house, str(uuid.uuid4()), 1.0)
        assert None is await said(house, "nonsense", 1.0)


@in_a_loop
async def test_a_restart_keeps_what_was_said(tmp_path) -> None:
    """Quality by intent, comparisons and pairs, from a real file; the latest vote of each source counts."""
    settings = Settings(models=MODELS, aliases=(ALIAS,), routing=RoutingSettings(policy="fastest"))

    async def boot(work):
        async with open_house(settings, Secrets(), DecisionLog.open(tmp_path / "nearfar.duckdb")) as services:
            house = House(services)
            wants(house, "code")
            return await work(house)

    async def judge(house: House):
        for score in (1.0, 0.0, 0.5):
            outcome = await house.dispatcher.infer(ask())
            await said(house, outcome.decision_id, 0.25)
            await said(house, outcome.decision_id, score)
        far = await house.dispatcher.infer(ask(order=("b",)))
        compare(house, far.plan)
        await asyncio.to_thread(settled, house.services.log)
        return known(house)

    def compare(house: House, plan) -> None:
        row = ShadowRow(
            decision_id=plan.decision_id,
            attempt=1,
            ts_us=now_us(),
            candidate_id="a:test/small-there",
            reference="b:test/large-there",
            metric="exact",
            agreement=0.5,
        )
        house.services.lessons.compared(plan, row, None)
        house.services.log.append(row)

    def known(house: House):
        judgement = house.services.lessons.judgement
        figures = [judgement.quality.of(name, intent) for name in (SMALL, LARGE) for intent in (None, "code", "other")]
        return figures, sorted(judgement._pairs[SMALL].values())

    async def look(house: House):
        return known(house)

    (before, pairs), (after, again) = await boot(judge), await boot(look)

    assert [(pytest.approx(f.value), f.source, pytest.approx(f.weight, abs=1e-4)) for f in before] == [
        tuple(figure) for figure in after
    ]
    assert "prior+feedback+agreement" == after[1].source
    assert [(0.6, 0.0), (0.6, 0.5), (0.6, 1.0)] == pairs == again


@in_a_loop
async def test_two_places_of_one_model_teach_nothing_after_a_restart_either(tmp_path) -> None:
    """That a model agrees with itself says nothing of how right it is, now or read from the log."""
    places = (fake("a", model="there", near=True, confidence=0.6), fake("b", model="elsewhere"))
    settings = Settings(models=(ModelEntry(id=SMALL, task="text-generation", candidates=places),))

    async def boot(work):
        async with open_house(settings, Secrets(), DecisionLog.open(tmp_path / "nearfar.duckdb")) as services:
            return await work(House(services))

    async def compare(house: House):
        near, far = [await house.dispatcher.infer(chat(model=SMALL, order=(name,))) for name in ("a", "b")]
        for outcome, reference in ((near, "b:elsewhere"), (far, "a:there")):
            row = ShadowRow(decision_id=outcome.decision_id, attempt=1, ts_us=now_us(), candidate_id="a:there",
                            reference=reference, metric="exact", agreement=1.0)  # fmt: skip
            house.services.lessons.compared(outcome.plan, row, 0.6)
            house.services.log.append(row)
        house.services.log.flush()
        return house.services.lessons.judgement._pairs

    async def look(house: House):
        return house.services.lessons.judgement._pairs

    assert [{}, {}] == [await boot(work) for work in (compare, look)]


@in_a_loop
async def test_min_quality_refuses_what_nobody_knows() -> None:
    """A model without figure and judgement is no candidate under `min_quality`, and becomes one once it is judged."""
    async with opened(model(SMALL, "a", None)) as house:
        before = (await house.dispatcher.plan(chat(model=SMALL, min_quality=0.5))).decision
        for _ in range(10):
            await said(house, (await house.dispatcher.infer(chat(model=SMALL))).decision_id, 0.9)
        after = (await house.dispatcher.plan(chat(model=SMALL, min_quality=0.5))).decision

    assert ["quality_unknown"] == [rejection.code for rejection in before.rejections]
    assert ("a:test/small-there",) == after.ranked


def client() -> TestClient:
    settings = Settings(models=MODELS, aliases=(ALIAS,), routing=RoutingSettings(policy="fastest"))
    return TestClient(create_app(settings, Secrets(), DecisionLog.open(Path(":memory:"))), base_url="http://127.0.0.1")


def test_the_route_takes_feedback_and_shows_the_quality() -> None:
    """`POST /v1/feedback`, and what `GET /v1/models/ID` says of it."""
    with client() as http:
        asked = http.post("/v1/inference", json={"model": SMALL, "task": "text-generation", "inputs": "hello"}).json()
        answer = http.post("/v1/feedback", json={"decision_id": asked["decision_id"], "score": 1, "label": "hi"})
        shown = http.get(f"/v1/models/{SMALL}").json()["nearfar"]

    assert 200 == answer.status_code
    assert {"success": True, "model": SMALL, "intent": None, "replaced": False}.items() <= answer.json().items()
    assert (0.7, "prior+feedback") == (shown["quality"], shown["quality_now"]["source"])
    assert shown["quality_now"]["value"] == pytest.approx(15 / 21)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"decision_id": "00000000-0000-7000-8000-000000000000", "score": 1}, 404, None),
        ({"decision_id": "nonsense", "score": 1}, 404, None),
        ({"decision_id": "x", "score": 1.5}, 400, "score"),
        ({"decision_id": "x", "score": -0.1}, 400, "score"),
        ({"score": 1}, 400, "decision_id"),
        ({"decision_id": "x", "score": 1, "weight": 100}, 400, "weight"),
        ({"decision_id": "x", "score": 1, "source": "me"}, 400, "source"),
    ],
)
def test_the_route_refuses_what_it_cannot_take(body, status, param) -> None:
    """Unknown decisions, scores beyond 0..1, and votes with a weight or a name of their own."""
    with client() as http:
        answer = http.post("/v1/feedback", json=body)

    assert (status, param) == (answer.status_code, answer.json()["error"].get("param"))


def test_a_quality_beyond_one_is_refused_where_it_is_written() -> None:
    """In a table by intent as well; the message names the place."""
    entry = {"id": "x", "task": "text-generation", "quality": {"code": 1.5}}
    with pytest.raises(msgspec.ValidationError, match=r"quality\[\.\.\.\]"):
        msgspec.convert(entry, ModelEntry)
