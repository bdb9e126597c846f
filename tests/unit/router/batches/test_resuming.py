"""A batch that is interrupted anywhere goes on: every line is answered once, and none is lost."""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from router.batches.types import Answer
from tests.unit.router.batches.lives import Disk, Killed, Life, echo, line, run
from tests.unit.router.test_overload import until

LINES = [*(line(f"c{n}") for n in range(7)), "no json", line("c3"), "", line("bad", fails=True)]
NAMES = Counter({**{f"c{n}": 1 for n in range(7)}, "bad": 1, "c3": 2, None: 1})  # c3 stands there twice

deaths = st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0])), max_size=6)


async def ask(question):
    """A third of all lines takes a while; one is refused."""
    if b'"c' in question.body or question.request_id.endswith(("2", "5")):
        await asyncio.sleep(0)
    return Answer(status=400 if b"fails" in question.body else 200, body=b'{"ok":1}', cost_usd=0.25)


async def one_life(folder: Path, batch_id: str | None, last: int | None, share: float) -> str | None:
    """Run until the process is killed or the batch has ended; the batch's id, if it came to be."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # nobody is left to hear of it
    with Disk(last, share) as disk:
        life = Life(folder, ask, at_once=3)
        try:
            async with life.batches.running(0):
                if batch_id is None:
                    batch_id = (await life.begun("\n".join(LINES))).id
                await until(lambda: life.store.batches[batch_id].ended or (disk.left is not None and disk.left < 0))
                await asyncio.sleep(0)
        except Killed:
            pass
    return batch_id


@settings(max_examples=60, deadline=None)
@given(deaths)
def test_whatever_write_it_is_killed_at_each_line_is_written_once(killed_at) -> None:
    """Killed before, within and after any write of the state or of an answer, again and again."""

    async def go() -> None:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            batch_id = await one_life(folder, None, killed_at[0][0] + 2 if killed_at else None, 0.5)
            for last, share in killed_at[1:]:
                life = Life(folder)
                batch_id = batch_id if batch_id in life.store.batches else None
                batch_id = await one_life(folder, batch_id, last, share)
            if batch_id not in Life(folder).store.batches:
                batch_id = None
            batch_id = await one_life(folder, batch_id, None, 1.0)
            life = Life(folder)
            batch = life.store.batches[batch_id]
            answers, errors = life.entries(batch_id)

        assert "completed" == batch.state
        assert NAMES == Counter(entry["custom_id"] for entry in (*answers, *errors))
        assert {f"c{n}" for n in range(7)} == {entry["custom_id"] for entry in answers}
        assert [1, 2, 3, 4, 5, 6, 7] == sorted(entry["nearfar"]["line"] for entry in answers)
        assert {8: "invalid_line", 9: "duplicate_custom_id", 11: None} == {
            entry["nearfar"]["line"]: entry["nearfar"]["batch_error"] for entry in errors
        }
        assert (10, 7, 3, 7 * 0.25) == (batch.total, batch.completed, batch.failed, batch.cost_usd)
        assert {batch.output_file_id, batch.error_file_id} <= set(life.store.files)

    run(go)


def test_what_was_answered_is_not_asked_again(tmp_path) -> None:
    """Only the lines that were under way are asked twice."""
    asked: Counter[str] = Counter()
    stuck = {"batch": True}

    async def slow(question):
        asked[question.request_id.rpartition("_")[2]] += 1
        if stuck["batch"] and question.request_id.endswith(("_3", "_4")):
            await asyncio.get_running_loop().create_future()
        return await echo(question)

    async def go() -> None:
        life = Life(tmp_path, slow, at_once=2)
        async with life.batches.running(0):
            batch = await life.begun("\n".join(line(f"c{n}") for n in range(1, 7)))
            await until(lambda: asked["4"] == 1 and life.store.batches[batch.id].completed == 2)
        stuck["batch"] = False
        life = Life(tmp_path, slow, at_once=2)
        assert ("in_progress", 2) == (life.store.batches[batch.id].state, life.store.batches[batch.id].completed)
        async with life.batches.running(0):
            await life.ended(batch.id)

        assert {"1": 1, "2": 1, "3": 2, "4": 2, "5": 1, "6": 1} == asked
        assert 6 == life.store.batches[batch.id].completed

    run(go)


def test_a_stop_lets_what_is_under_way_end_within_its_time(tmp_path) -> None:
    """The line that was asked is written, and the next one is not begun."""
    goes_on = asyncio.Event()

    async def slow(question):
        await goes_on.wait()
        return await echo(question)

    async def go() -> None:
        life = Life(tmp_path, slow, at_once=1)
        async with life.batches.running(20):
            batch = await life.begun("\n".join(line(f"c{n}") for n in range(3)))
            await until(lambda: life.store.batches[batch.id].state == "in_progress")
            await asyncio.sleep(0.02)
            asyncio.get_running_loop().call_later(0.05, goes_on.set)
        again = Life(tmp_path).store.batches[batch.id]

        assert "in_progress" == again.state
        assert ["c0"] == [entry["custom_id"] for entry in life.entries(batch.id)[0]]

    run(go)


def test_an_upload_that_a_kill_left_half_done_is_deleted(tmp_path) -> None:
    """So is JSON that was not put in place; what is known stays."""

    async def go() -> None:
        life = Life(tmp_path)
        file = await life.file(line("a"))
        (tmp_path / "files" / "file-half.jsonl").write_text("{")
        (tmp_path / "batches" / "batch_x.new").write_text("{")
        again = Life(tmp_path)
        async with again.batches.running(0):
            pass

        assert [file.id] == list(again.store.files)
        assert ["file-in.json", "file-in.jsonl"] == sorted(p.name for p in tmp_path.glob("*/*"))

    run(go)


def test_a_damaged_state_is_passed_over(tmp_path, caplog) -> None:
    """One bad file keeps nobody else from starting, and it is told."""

    async def go() -> None:
        life = Life(tmp_path)
        await life.file(line("a"))
        (tmp_path / "batches" / "batch_bad.json").write_text("{")

        assert {} == Life(tmp_path).store.batches

    run(go)
    assert "batch_bad.json" in caplog.text
