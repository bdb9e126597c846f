"""Batches from making to ending: states, limits, cost, expiry, cancelling, tenants, and what a folder keeps."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.batches import running, service
from router.batches.types import MOVES, Answer, Batch, Given
from router.errors import InvalidRequest, NoSuchResource
from tests.unit.router.batches.lives import ENDPOINT, HOUR_S, Life, echo, line, run
from tests.unit.router.test_overload import until


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def lines(count: int) -> str:
    return "\n".join(line(f"c{n}") for n in range(count))


async def never(_question):
    await asyncio.get_running_loop().create_future()


@given(st.lists(st.sampled_from(sorted(MOVES)), max_size=12))
def test_a_batch_moves_only_as_it_may(states) -> None:
    """Whatever is tried in whatever order: an ended batch stays as it is, and each state it was in has its time."""
    batch = Batch(
        id="b", tenant="", endpoint=ENDPOINT, input_file_id="f", completion_window="24h", expires_at=9,
        output_file_id="o", error_file_id="e", at={"validating": 1},
    )  # fmt: skip
    been = ["validating"]
    for now, state in enumerate(states, start=2):
        if state in MOVES[batch.state]:
            batch = batch.moved(state, now)
            been.append(state)
        else:
            with pytest.raises(ValueError, match=f"cannot become {state}"):
                batch.moved(state, now)

    assert been == list(batch.at) == [*dict.fromkeys(been)]
    assert batch.ended == (batch.state in {"completed", "failed", "expired", "cancelled"})


def test_every_line_is_answered_and_told_in_openais_shape(tmp_path) -> None:
    """An answer with its status, id and body; a refusal by the endpoint is in the error file, with its body."""

    async def ask(question):
        refused = b"wrong" in question.body
        return Answer(status=400 if refused else 200, body=b'{"a":\n1}', decision_id="d", cost_usd=None)

    async def go() -> None:
        life = Life(tmp_path, ask)
        async with life.batches.running(0):
            batch = await life.ended((await life.begun(line("a") + "\n" + line("b", wrong=1))).id)
        [[answer], [error]] = life.entries(batch.id)

        number = f"batch_req_{batch.id.removeprefix('batch_')}"
        expected = {"status_code": 200, "request_id": f"{number}_1", "body": {"a": 1}}
        assert ("completed", 2, 1, 1, 1) == (batch.state, batch.total, batch.completed, batch.failed, batch.unpriced)
        assert (f"{number}_1", "a", expected, None) == tuple(
            answer[k] for k in ("id", "custom_id", "response", "error")
        )
        assert ("b", 400, None) == (error["custom_id"], error["response"]["status_code"], error["error"])
        assert ["validating", "in_progress", "finalizing", "completed"] == list(batch.at)

    run(go)


def test_no_more_lines_are_under_way_than_is_configured(tmp_path) -> None:
    """Eight lines, three at once; and as many at once as there may be."""
    under_way, most = set(), []

    async def ask(question):
        under_way.add(question.request_id)
        most.append(len(under_way))
        await asyncio.sleep(0.01)
        under_way.discard(question.request_id)
        return await echo(question)

    async def go() -> None:
        life = Life(tmp_path, ask, at_once=3)
        async with life.batches.running(0):
            await life.ended((await life.begun(lines(8))).id)

        assert 3 == max(most)

    run(go)


def test_further_batches_wait_and_tenants_take_turns(tmp_path) -> None:
    """Two run at a time; the second place is another tenant's, whose batch came last."""

    async def go() -> None:
        life = Life(tmp_path, never, running=2)
        async with life.batches.running(0):
            made = [await life.begun(lines(1), tenant) for tenant in ("a", "a", "b")]
            await until(lambda: [b.state for b in life.store.batches.values()].count("in_progress") == 2)
            first, second, other = (batch.id for batch in made)
            assert ["in_progress", "in_progress", "validating"] == [
                life.store.batches[each].state for each in (first, second, other)
            ]
            await life.batches.cancel(first, "a")
            await until(lambda: life.store.batches[other].state == "in_progress")
            third = (await life.begun(lines(1), "a")).id
            fourth = (await life.begun(lines(1), "b")).id
            await life.batches.cancel(second, "a")
            await until(lambda: life.store.batches[third].state == "in_progress")

        assert "validating" == life.store.batches[fourth].state

    run(go)


def test_what_passes_is_asked_again_and_what_does_not_is_not(tmp_path, monkeypatch) -> None:
    """Overloaded five times is an error; overloaded twice and then served is an answer."""
    monkeypatch.setattr(running, "SHORTEST_PAUSE_S", 0.0)
    asked: list[str] = []

    async def ask(question):
        number = question.request_id.rpartition("_")[2]
        asked.append(number)
        statuses = {"1": 503, "2": 429 if asked.count("2") < 3 else 200, "3": 400}
        return Answer(status=statuses[number], body=b"{}")

    async def go() -> None:
        life = Life(tmp_path, ask)
        async with life.batches.running(0):
            batch = await life.ended((await life.begun(lines(3))).id)

        assert (5, 3, 1) == tuple(asked.count(number) for number in "123")
        assert (1, 2) == (batch.completed, batch.failed)

    run(go)


def test_a_line_is_routed_as_it_says_else_as_its_batch_says_else_cheaply(tmp_path) -> None:
    """And never for more than what the batch may still spend."""
    bodies: dict[str, dict] = {}

    async def ask(question):
        import json

        bodies[question.request_id.rpartition("_")[2]] = json.loads(question.body)
        return Answer(status=200, body=b"{}", cost_usd=0.5)

    async def go() -> None:
        life = Life(tmp_path, ask, at_once=1)
        text = "\n".join([
            line("a"),
            line("b", routing={"policy": "fastest", "max_cost_usd": 0.1, "deadline_ms": 5}),
            line("c", provider={"only": ["x"]}),
            line("d", routing=7),
        ])  # fmt: skip
        async with life.batches.running(0):
            given = {"routing": {"private": True}, "max_cost_usd": 1.5}
            batch = await life.ended((await life.begun(text, completion_window="1h", **given)).id)

        plain = {"policy": "cheapest", "deadline_ms": HOUR_S * 1000, "private": True, "max_cost_usd": 1.5}
        assert plain == bodies["1"]["routing"]
        assert {**plain, "policy": "fastest", "max_cost_usd": 0.1, "deadline_ms": 5} == bodies["2"]["routing"]
        assert {"sort": "price", "only": ["x"]} == bodies["3"]["provider"]
        assert "routing" not in bodies["3"]
        assert ("4" not in bodies, "max_cost_reached") == (True, life.entries(batch.id)[1][0]["error"]["code"])
        assert (3, 1, 1.5) == (batch.completed, batch.failed, batch.cost_usd)

    run(go)


def test_a_batch_that_is_cancelled_keeps_what_it_has(tmp_path) -> None:
    """The line under way is stopped; the file of answers has the one that was there."""

    async def ask(question):
        return await (echo if question.request_id.endswith("_1") else never)(question)

    async def go() -> None:
        life = Life(tmp_path, ask, at_once=1)
        async with life.batches.running(0):
            batch = await life.begun(lines(3))
            await until(lambda: life.store.batches[batch.id].completed == 1)
            assert "cancelling" == (await life.batches.cancel(batch.id, "")).state
            ended = await life.ended(batch.id)
            with pytest.raises(InvalidRequest, match="is cancelled: there is nothing to cancel"):
                await life.batches.cancel(batch.id, "")

        assert ("cancelled", 3, 1, 0) == (ended.state, ended.total, ended.completed, ended.failed)
        assert ["c0"] == [entry["custom_id"] for entry in life.entries(batch.id)[0]]
        assert ended.output_file_id in life.store.files
        assert ended.error_file_id not in life.store.files

    run(go)


def test_a_batch_whose_time_is_over_tells_what_it_could_not_do(tmp_path) -> None:
    """Also after a start: the line under way and those after it have an error, and the answers stay."""
    clock = Clock()

    async def ask(question):
        return await (echo if question.request_id.endswith("_1") else never)(question)

    async def go() -> None:
        life = Life(tmp_path, ask, clock=clock, at_once=1)
        async with life.batches.running(0):
            batch = await life.begun(lines(3), completion_window="1h")
            await until(lambda: life.store.batches[batch.id].completed == 1)
        clock.now += HOUR_S + 1
        life = Life(tmp_path, never, clock=clock, at_once=1)
        async with life.batches.running(0):
            ended = await life.ended(batch.id)

        assert ("expired", 1, 2) == (ended.state, ended.completed, ended.failed)
        assert ["batch_expired"] * 2 == [entry["error"]["code"] for entry in life.entries(batch.id)[1]]
        assert {ended.output_file_id, ended.error_file_id} <= set(life.store.files)

    run(go)


def test_a_line_that_is_asked_when_time_runs_out_is_stopped(tmp_path) -> None:
    """Nobody waits for ever for what never answers."""
    clock = Clock()

    async def ask(question):
        clock.now += HOUR_S  # it took so long
        return await never(question)

    async def go() -> None:
        life = Life(tmp_path, ask, clock=clock, at_once=1)
        async with life.batches.running(0):
            batch = await life.begun(lines(2), completion_window="60m")
            clock.now += HOUR_S - 0.02
            ended = await life.ended(batch.id)

        assert ("expired", 2) == (ended.state, ended.failed)

    run(go)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"endpoint": "/v1/other"}, f"'/v1/other' takes no batches; one of: {ENDPOINT}"),
        ({"completion_window": "soon"}, "'soon' is not a time such as 24h"),
        ({"completion_window": "31d"}, "at most 30d"),
        ({"completion_window": "0h"}, "'0h'"),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused_by_name(tmp_path, wrong, words) -> None:
    """Before anything is kept of it."""

    async def go() -> None:
        life = Life(tmp_path)
        with pytest.raises(InvalidRequest, match=words):
            await life.begun(lines(1), **wrong)

        assert {} == life.store.batches

    run(go)


def test_files_and_batches_of_others_are_none(tmp_path) -> None:
    """Not to be read, used, cancelled or deleted; whoever may see everybody's sees them."""

    async def go() -> None:
        life = Life(tmp_path, never)
        async with life.batches.running(0):
            batch = await life.begun(lines(1), "mine")
            file_id = batch.input_file_id
            for attempt in (
                lambda: life.batches.make(Given(input_file_id=file_id, endpoint=ENDPOINT), "other"),
                lambda: life.batches.cancel(batch.id, "other"),
                lambda: life.batches.delete_file(file_id, "other"),
            ):
                with pytest.raises(NoSuchResource):
                    await attempt()
            with pytest.raises(NoSuchResource):
                life.store.batch(batch.id, "")

            assert batch.id == life.store.batch(batch.id, None).id
            assert file_id == life.store.file(file_id, "mine").id

    run(go)


def test_a_file_that_is_read_is_not_deleted(tmp_path) -> None:
    """It is, once its batch has ended."""

    async def go() -> None:
        life = Life(tmp_path, never)
        async with life.batches.running(0):
            batch = await life.begun(lines(1))
            with pytest.raises(InvalidRequest, match="cancel it first"):
                await life.batches.delete_file(batch.input_file_id, "")
            await life.batches.cancel(batch.id, "")
            await life.ended(batch.id)
            await life.batches.delete_file(batch.input_file_id, "")

        assert {} == Life(tmp_path).store.files

    run(go)


def test_a_batch_cannot_be_made_of_what_came_out_of_another(tmp_path) -> None:
    """Its purpose is named."""

    async def go() -> None:
        life = Life(tmp_path)
        async with life.batches.running(0):
            batch = await life.ended((await life.begun(lines(1))).id)
            with pytest.raises(InvalidRequest, match="the purpose 'batch_output'; it must be 'batch'"):
                await life.batches.make(Given(input_file_id=batch.output_file_id, endpoint=ENDPOINT), "")

    run(go)


def test_what_was_kept_for_long_enough_is_deleted(tmp_path) -> None:
    """Files when they expire, batches when they ended so long ago; what a batch still reads stays."""
    clock = Clock()

    async def ask(question):
        return await (never if b"stuck" in question.body else echo)(question)

    async def go() -> None:
        life = Life(tmp_path, ask, clock=clock, retention_days=2)
        async with life.batches.running(0):
            done = await life.ended((await life.begun(lines(1))).id)
            stuck = await life.begun(line("s", stuck=1), completion_window="30d")
            clock.now += 86400
            await life.store.swept()
            assert {stuck.input_file_id, done.output_file_id} == set(life.store.files)
            assert {done.id, stuck.id} == set(life.store.batches)
            clock.now += 86400
            await life.store.swept()

        again = Life(tmp_path, clock=clock)
        assert [stuck.input_file_id] == list(again.store.files)
        assert [stuck.id] == list(again.store.batches)
        assert not (tmp_path / "files" / f"{done.output_file_id}.jsonl").exists()

    run(go)


def test_a_bug_ends_its_batch_alone_and_says_so(tmp_path, caplog) -> None:
    """The other one goes on; what the bug says is not told."""

    async def ask(question):
        if b"bug" in question.body:
            raise RuntimeError("a prompt")
        return await echo(question)

    async def go() -> None:
        life = Life(tmp_path, ask)
        async with life.batches.running(0):
            bad, good = await life.begun(line("x", bug=1)), await life.begun(lines(2))
            assert "completed" == (await life.ended(good.id)).state
            failed = await life.ended(bad.id)

        assert ("failed", "internal_error") == (failed.state, failed.errors[0].code)
        assert "RuntimeError" in caplog.text
        assert "a prompt" not in caplog.text + failed.errors[0].message

    run(go)


def test_a_disk_that_is_full_ends_the_batch(tmp_path, monkeypatch) -> None:
    """What was written stays; it is not begun again and again."""

    def full(*_):
        raise OSError(28, "No space left on device")

    async def go() -> None:
        life = Life(tmp_path)
        monkeypatch.setattr("router.batches.sheets._written", full)
        async with life.batches.running(0):
            ended = await life.ended((await life.begun(lines(3))).id)

        assert ("failed", "internal_error", 0) == (ended.state, ended.errors[0].code, ended.completed)

    run(go)


@pytest.mark.parametrize(("text", "code"), [("\n", "empty_file"), (b"\xff\n", "invalid_encoding")])
def test_a_file_that_is_no_batch_fails_as_a_whole(tmp_path, text, code) -> None:
    """With the reason in the batch, as clients of OpenAI look for it."""

    async def go() -> None:
        life = Life(tmp_path)
        async with life.batches.running(0):
            ended = await life.ended((await life.begun(text)).id)

        assert ("failed", [code]) == (ended.state, [fault.code for fault in ended.errors])

    run(go)


def test_a_line_that_gave_way_is_asked_again_until_it_need_not(tmp_path) -> None:
    """It is not lost, and others who come do not keep it from ever being answered."""
    asked: list[bool] = []

    async def ask(question):
        asked.append(question.firm)
        if not question.firm:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return await echo(question)

    async def go() -> None:
        life = Life(tmp_path, ask)
        async with life.batches.running(0):
            batch = await life.ended((await life.begun(lines(1))).id)

        assert ("completed", 1) == (batch.state, batch.completed)
        assert [False] * running.STOPS + [True] == asked

    run(go)


def test_a_tenant_has_so_many_batches_and_no_more(tmp_path, monkeypatch) -> None:
    """Those under way and those that are kept have bounds; another tenant has its own."""
    monkeypatch.setattr(service, "MOST_UNENDED", 2)
    monkeypatch.setattr(service, "MOST_KEPT", 3)

    async def go() -> None:
        life = Life(tmp_path, never)
        async with life.batches.running(0):
            first = await life.begun(lines(1), "a")
            await life.begun(lines(1), "a")
            with pytest.raises(InvalidRequest, match="2 of your batches have not ended"):
                await life.begun(lines(1), "a")
            await life.begun(lines(1), "b")
            await life.batches.cancel(first.id, "a")
            await life.ended(first.id)
            await life.batches.cancel((await life.begun(lines(1), "a")).id, "a")
            with pytest.raises(InvalidRequest, match="3 of your batches are kept"):
                await life.begun(lines(1), "a")

    run(go)
