"""What pages report: written once, of their own decisions, in time, and never what cannot be."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.types import Task
from router import reported
from router.errors import Conflict, InvalidRequest, NotFound
from router.page import Ability, Page, Speed
from router.reported import Report, Reported
from router.sections import LogSettings
from tests.unit.router.house import VECTORS, embed, fake, opened, vector_model

PAGE = Page(
    abilities=(
        Ability(
            model=VECTORS,
            task=Task.FEATURE_EXTRACTION,
            loaded=True,
            parity=0.9995,
            dtype="q8",
            speed=Speed(per="text", p50_s=0.02, p95_s=0.05, samples=50),
        ),
    ),
    threads=2,
)


def call(tenant="anna", *texts, **routing):
    found = embed(*texts, **({"order": (), "backend": "browser"} | routing))
    return replace(found, page=PAGE, request=replace(found.request, tenant=tenant), received=time.monotonic() - 10)


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@asynccontextmanager
async def counter(**options):
    """A house, its counter for reports with a clock that can be put forward, and an open decision of anna's."""
    async with opened(vector_model(fake("a")), **options) as house:
        clock = Clock()
        desk = Reported(house.services.reported._ledger, clock)
        plan = await house.dispatcher.plan(call())
        yield house, desk, clock, desk.open(plan)


def good(decision_id: str, **fields) -> Report:
    return Report(**{"decision_id": decision_id, "status": "ok", "took_s": 0.5, "load_s": 0.1, "input_tokens": 7,
                     "threads": 2} | fields)  # fmt: skip


def test_a_report_becomes_a_decision_with_its_slate_attempt_and_end() -> None:
    """Under the page's name, at no cost, marked as the client's word, without anything of the inputs."""

    async def go():
        async with counter(logged=LogSettings(store_inputs=True)) as (house, desk, _, decision_id):
            desk.take(good(decision_id), "anna")
            return await house.row(decision_id), await house.select("SELECT count(*) FROM decisions")

    row, count = asyncio.run(go())

    assert [(1,)] == count
    assert ("browser", "ok", 0.0, "client", "anna") == (
        row["backend"], row["status"], row["cost_usd"], row["cost_source"], row["tenant"],
    )  # fmt: skip
    assert (500.0, "/v1/decisions/browser", None) == (row["latency_ms"], row["surface"], row["payload_hash"])
    assert {"a:test/vectors", "browser:test/vectors"} == {each["candidate_id"] for each in row["candidates"]}
    [attempt] = row["attempts"]
    assert ("browser", "wasm", True, 500.0, 100.0, 7, "client") == tuple(
        attempt[name] for name in ("backend", "device", "won", "total_ms", "load_ms", "prompt_tokens", "cost_source")
    )
    assert '{"reported_by":"client","dtype":"q8","threads":2}' == attempt["usage_raw"]


@pytest.mark.parametrize(
    ("said", "status", "error_class", "attempt_error"),
    [
        ({"status": "error", "failure": "out_of_memory"}, "error", "AllAttemptsFailed", "OutOfMemory"),
        ({"status": "fell_back", "failure": "not_loaded"}, "error", "FellBack", "Unavailable"),
        ({"status": "error"}, "error", "AllAttemptsFailed", "RemoteError"),
        ({"status": "cancelled"}, "cancelled", None, None),
    ],
)
def test_what_did_not_work_is_logged_too(said, status, error_class, attempt_error) -> None:
    """A request that a page gave back to the server is an error of the page; the other decision is the server's."""

    async def go():
        async with counter() as (house, desk, _, decision_id):
            desk.take(good(decision_id, **said), "anna")
            return await house.row(decision_id)

    row = asyncio.run(go())

    assert (status, error_class, None, 0.0) == (row["status"], row["error_class"], row["backend"], row["cost_usd"])
    assert attempt_error == row["attempts"][0]["error_class"]
    assert not row["attempts"][0]["won"]


def test_only_who_asked_may_report_once_and_in_time() -> None:
    """Another's, an invented and an old one are unknown alike. The same again is nothing new; another is refused."""

    async def go():
        async with counter() as (house, desk, clock, decision_id):
            for report, tenant in ((good(decision_id), "berta"), (good("0"), "anna")):
                with pytest.raises(NotFound):
                    desk.take(report, tenant)
            desk.take(good(decision_id), "anna")
            desk.take(good(decision_id), "anna")
            with pytest.raises(Conflict):
                desk.take(good(decision_id, took_s=0.6), "anna")
            with pytest.raises(NotFound):
                desk.take(good(decision_id), "berta")
            late = desk.open(await house.dispatcher.plan(call()))
            clock.ahead = reported.OPEN_S
            for old in (decision_id, late):
                with pytest.raises(NotFound):
                    desk.take(good(old), "anna")
            return len(desk), await house.select("SELECT count(*), max(latency_ms) FROM decisions")

    assert (0, [(1, 500.0)]) == asyncio.run(go())


def test_a_report_cannot_take_longer_than_there_was_time() -> None:
    """It is refused, and may be corrected."""

    async def go():
        async with counter() as (house, desk, _, decision_id):
            with pytest.raises(InvalidRequest, match="have not passed"):
                desk.take(good(decision_id, took_s=3600.0), "anna")
            desk.take(good(decision_id), "anna")
            return await house.select("SELECT status FROM decisions")

    assert [("ok",)] == asyncio.run(go())


def test_a_plan_that_chose_the_server_waits_for_no_report() -> None:
    """The dry run of a server's candidate leaves nothing behind."""

    async def go():
        async with counter() as (house, desk, _, _):
            return desk.open(await house.dispatcher.plan(call(backend="any", only=("a",)))), len(desk)

    assert (None, 1) == asyncio.run(go())


def test_whoever_opens_many_loses_the_oldest_of_its_own(monkeypatch) -> None:
    """One tenant cannot push out another's; all together stay within the bound."""
    monkeypatch.setattr(reported, "MAX_OF_ONE", 2)
    monkeypatch.setattr(reported, "MAX_OPEN", 4)

    async def go():
        async with counter() as (house, desk, _, annas):
            berta = [desk.open(await house.dispatcher.plan(call("berta"))) for _ in range(3)]
            held = len(desk)
            desk.take(good(annas), "anna")
            with pytest.raises(NotFound):
                desk.take(good(berta[0]), "berta")
            desk.take(good(berta[2]), "berta")
            for tenant in ("carla", "dora", "emma"):
                desk.open(await house.dispatcher.plan(call(tenant)))
            return held, len(desk)

    assert (3, 4) == asyncio.run(go())


def test_nothing_of_the_inputs_is_kept() -> None:
    """Neither texts nor answers that were given before: they would fill the memory, and are nobody's business here."""

    async def go():
        async with opened(vector_model(fake("a"))) as house:
            desk = house.services.reported
            decision_id = desk.open(await house.dispatcher.plan(call("anna", "a secret")))
            return "a secret" in repr(desk._kept[decision_id].plan)

    assert not asyncio.run(go())


def test_what_was_measured_there_teaches_nobody_here() -> None:
    """No estimate, breaker or budget of this server moves by a client's word; nor is it near in the sums."""

    async def go():
        async with counter() as (house, desk, _, decision_id):
            before = dict(house.services.lessons.estimator._known)
            desk.take(good(decision_id), "anna")
            await asyncio.to_thread(house.services.log.flush)
            reader = house.services.log.reader()
            [summary] = reader.ask("summary", by="task")["rows"]
            sides = [row["side"] for row in reader.ask("timeseries")["rows"]]
            same = before == house.services.lessons.estimator._known
            return same, summary, sides

    same, summary, sides = asyncio.run(go())

    assert same
    assert (0.0, 0.0, 1.0, None) == tuple(
        summary[name] for name in ("near_share", "far_share", "browser_share", "estimate_error")
    )
    assert ["browser"] == sides


REPORTS = st.builds(
    Report,
    decision_id=st.just("?"),
    status=st.sampled_from(["ok", "error", "fell_back", "cancelled"]),
    took_s=st.floats(0, 100),
    load_s=st.none() | st.floats(0, 100),
    failure=st.none() | st.sampled_from(["out_of_memory", "not_loaded", "timed_out", "failed"]),
    input_tokens=st.none() | st.integers(0, 10**9),
    output_tokens=st.none() | st.integers(0, 10**9),
    audio_s=st.none() | st.floats(0, 1e9),
    threads=st.none() | st.integers(1, 1024),
)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(REPORTS, st.sampled_from(["anna", "berta"]), st.booleans()), max_size=12))
def test_whatever_is_reported_every_decision_has_one_row_at_most(reports) -> None:
    """In any order, by anybody, of open and of invented decisions: the log holds what was first said by its owner."""

    async def go():
        async with counter() as (house, desk, _, decision_id):
            wanted = None
            for report, tenant, real in reports:
                named = replace(report, decision_id=decision_id if real else "invented")
                try:
                    desk.take(named, tenant)
                except (Conflict, InvalidRequest, NotFound):
                    continue
                wanted = wanted or named
                assert (tenant, named) == ("anna", wanted)
            rows = await house.select("SELECT latency_ms, cost_usd, attempts FROM decisions WHERE status <> 'open'")
            return wanted, rows

    wanted, rows = asyncio.run(go())

    assert rows == ([] if wanted is None else [(pytest.approx(wanted.took_s * 1000, abs=0.001), 0.0, 1)])
