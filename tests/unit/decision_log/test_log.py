"""Taking rows: none is lost, whatever goes wrong between `append` and the commit."""

import asyncio
import json
import stat
import threading
from pathlib import Path

import duckdb
import msgspec
import pytest

from router.decision_log.log import DecisionLog
from router.decision_log.record import CatalogRow, DecisionRow, NodeRow, PolicyRow, PriceBookRow
from router.errors import LogError, LogLocked


def seqs(log: DecisionLog) -> list[int]:
    return [row[0] for row in log.reader().sql("select seq from decisions order by seq", max_rows=100_000).rows]


class Stubborn:
    """A DuckDB cursor whose COMMIT fails a number of times, as on a full disk."""

    def __init__(self, con, failures: int, *, after_commit: bool = False) -> None:
        self.con, self.failures, self.after_commit = con, failures, after_commit

    def execute(self, query, *values):
        if query == "COMMIT" and self.failures:
            self.failures -= 1
            if self.after_commit:
                self.con.execute(query).fetchall()
            raise duckdb.IOException("No space left on device")
        return self.con.execute(query, *values)

    def close(self) -> None:
        self.con.close()


def test_rows_come_back_as_they_were_made(log: DecisionLog, rows) -> None:
    """Every field of a decision, candidates included, is in the log under its own name."""
    row = rows["decision"](1, request_id="r\u0000\U0001f600", deadline_ms=1e-9)
    log.append(row)
    log.flush()
    found = log.reader().decision(row.decision_id)
    sent = msgspec.to_builtins(row)
    for name in set(sent) - {"type", "ts_us", "candidates"}:
        assert sent[name] == found[name], name
    assert [{**c, "chosen": c["candidate_id"] == "near"} for c in sent["candidates"]] == found["candidates"]
    assert (log.boot_id, log.node_id, 1) == (found["boot_id"], found["node_id"], found["schema_version"])


def test_rows_are_committed_without_being_asked(path: Path, rows) -> None:
    """After `flush_s` at the latest a row is in the log; nobody has to wait for it."""
    log = DecisionLog.open(path, flush_s=0.01)
    committed = threading.Event()
    forget = log._backlog.settle
    log._backlog.settle = lambda lines: (forget(lines), committed.set())
    log.append(rows["decision"](1))
    assert committed.wait(60)
    assert [1] == seqs(log)
    log.close()


def test_close_drains_fifty_thousand_rows(path: Path, rows) -> None:
    """Rows appended just before `close` are all there at the next open, each once."""
    log = DecisionLog.open(path)
    for _ in range(50_000):
        log.append(rows["decision"](log.next_seq()))
    log.close()
    log.close()
    again = DecisionLog.open(path)
    assert list(range(1, 50_001)) == seqs(again)
    again.close()


def test_append_from_many_threads_loses_nothing(path: Path, rows) -> None:
    """Rows of eight threads, a queue of ten and the spill file between them: each row is there once."""
    log = DecisionLog.open(path, queue_rows=10, flush_rows=7)

    def work(start: int) -> None:
        for seq in range(start, start + 60):
            log.append(rows["decision"](seq))

    threads = [threading.Thread(target=work, args=(n * 60,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.flush()
    assert list(range(480)) == seqs(log)
    log.close()


@pytest.mark.parametrize("change", [
    {"decision_id": "not-a-uuid"}, {"seq": "one"}, {"reason": None}, {"ts_us": "noon"}, {"stream": "perhaps"},
    {"candidates": "none"}, {"task": "\ud800"}, {"model": object()}, {"seq": 2**70},
    {"batch_items": 2**40}, {"decide_us": float("nan")},
], ids=lambda change: "-".join(f"{name}={type(value).__name__}" for name, value in change.items()))  # fmt: skip
def test_one_bad_row_costs_only_itself(path: Path, rows, change: dict) -> None:
    """A row the database refuses goes to the rejected file and is counted; its neighbours are committed."""
    log = DecisionLog.open(path)
    for seq in range(1, 101):
        log.append(rows["decision"](seq, **(change if seq == 42 else {})))
    log.flush()
    rejected = path.with_name("nearfar.duckdb.rejected.jsonl")
    assert [n for n in range(1, 101) if n != 42] == seqs(log)
    assert (99, 1) == (log.stats().committed, log.stats().rejected)
    assert {"why", "row"} == set(json.loads(rejected.read_text()))
    assert 0o600 == stat.S_IMODE(rejected.stat().st_mode)
    log.close()


def test_something_that_is_no_row_is_rejected(log: DecisionLog) -> None:
    """`append` does not raise, whatever it is given."""
    log.append("what?")
    log.append(None)
    log.flush()
    assert 2 == log.stats().rejected


def test_a_full_disk_keeps_rows_until_there_is_room(path: Path, rows) -> None:
    """While commits fail rows stay queued, overflow spills, and all are committed once the disk has room."""
    log = DecisionLog.open(path, queue_rows=5, flush_rows=3)
    log._inserter._con = Stubborn(log._inserter._con, failures=2)
    for seq in range(20):
        log.append(rows["decision"](seq))
    log.flush()
    assert list(range(20)) == seqs(log)
    assert 2 == log.stats().failed_commits
    assert 0 == log.stats().rejected
    log.close()


def test_a_commit_that_failed_after_the_fact_is_not_repeated(path: Path, rows) -> None:
    """When a commit reports failure but was done, the retry finds its rows and adds none twice."""
    log = DecisionLog.open(path)
    log._inserter._con = Stubborn(log._inserter._con, failures=1, after_commit=True)
    row = rows["decision"](1)
    for new in (row, rows["attempt"](row.decision_id), rows["outcome"](row.decision_id)):
        log.append(new)
    log.flush()
    counts = "select (select count(*) from decisions), (select count(*) from attempts)"
    assert [[1, 1]] == log.reader().sql(counts).rows
    log.close()


def test_what_cannot_be_committed_at_close_is_committed_at_the_next_open(path: Path, rows, monkeypatch) -> None:
    """A log closed on a disk that stays full leaves its rows in the spill file, and the next open takes them in."""
    monkeypatch.setattr("router.decision_log.log._CLOSE_S", 0.0)
    log = DecisionLog.open(path, queue_rows=5)
    log._inserter._con = Stubborn(log._inserter._con, failures=10_000)
    for seq in range(20):
        log.append(rows["decision"](seq))
    log.close()
    log.append(rows["decision"](20))  # a straggler after the close
    spill = path.with_name("nearfar.duckdb.spill")
    assert 0o600 == stat.S_IMODE(spill.stat().st_mode)
    again = DecisionLog.open(path)
    again.flush()
    assert list(range(21)) == seqs(again)
    again.close()
    assert not spill.exists()


def test_a_spill_file_committed_twice_adds_no_row_twice(path: Path, rows) -> None:
    """A crash between the commit and the cutting of the spill file leaves lines that are in the log already."""
    log = DecisionLog.open(path, queue_rows=0)
    log._inserter._con = Stubborn(log._inserter._con, failures=1)
    row = rows["decision"](1)
    log.append(row)
    log.append(rows["attempt"](row.decision_id))
    log.append(rows["outcome"](row.decision_id))
    lines = log._backlog.spill.path.read_bytes()
    log.flush()
    log.close()
    log._backlog.spill.path.write_bytes(lines + lines + b'{"type":"decision","decision_id":"cut sho')
    again = DecisionLog.open(path)
    again.flush()
    counts = "select (select count(*) from decisions), (select count(*) from attempts), status from decisions"
    assert [[1, 1, "ok"]] == again.reader().sql(counts).rows
    assert 1 == again.stats().rejected
    again.close()


def test_a_spilled_row_keeps_the_boot_that_made_it(path: Path, rows) -> None:
    """`seq` is gapless per boot, so a row committed by the next process still belongs to its own."""
    log = DecisionLog.open(path)
    log.close()
    log.append(rows["decision"](1))
    again = DecisionLog.open(path)
    again.flush()
    assert [[log.boot_id, log.node_id]] == again.reader().sql("select boot_id, node_id from decisions").rows
    again.close()


@pytest.mark.parametrize("queue_rows", [1000, 3])
def test_committed_covers_every_row_before_it(path: Path, rows, queue_rows: int) -> None:
    """In strict mode every awaited row is in the log when `committed` returns, spilled ones too."""
    log = DecisionLog.open(path, durability="strict", queue_rows=queue_rows)

    async def one(seq: int) -> bool:
        log.append(rows["decision"](seq))
        await log.committed()
        return seq in await asyncio.to_thread(seqs, log)

    async def all_at_once() -> list[bool]:
        return await asyncio.gather(*(one(seq) for seq in range(30)))

    assert [True] * 30 == asyncio.run(all_at_once())
    log.close()


def test_a_cancelled_wait_disturbs_nobody(log: DecisionLog, rows) -> None:
    """A sender that goes away while its row is being committed does not stop the writer."""

    async def give_up() -> None:
        log.append(rows["decision"](1))
        task = asyncio.create_task(log.committed())
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(give_up())
    log.append(rows["decision"](2))
    log.flush()
    assert [1, 2] == seqs(log)


def test_waiting_for_a_closed_log_does_not_hang(path: Path, rows) -> None:
    """A row appended after the close is not committed by this process, and `committed` and `flush` say so."""
    log = DecisionLog.open(path)
    log.close()
    log.append(rows["decision"](1))
    with pytest.raises(LogError, match="closed"):
        asyncio.run(log.committed())
    with pytest.raises(LogError, match="closed"):
        log.flush()
    with pytest.raises(LogError, match="closed"):
        log.reader().decisions()


def test_snapshots_are_kept_once(path: Path) -> None:
    """A price book or policy seen again, in one batch or after a restart, is not stored again."""
    for _ in range(2):
        log = DecisionLog.open(path)
        for _ in range(2):
            log.append(PriceBookRow(price_book="b1", ts_us=1, body='{"a": 1}'))
            log.append(PolicyRow(policy_version="p1", policy="latency", ts_us=1, body="{}"))
            log.append(NodeRow(boot_id=log.boot_id, node_id=log.node_id, ts_us=1, hardware="{}", software="{}"))
        log.flush()
        counts = "select (select count(*) from price_books), (select count(*) from policies), count(*) from nodes"
        found = log.reader().sql(counts).rows
        log.close()
    assert [[1, 1, 2]] == found


def test_seq_begins_anew_with_each_boot(path: Path) -> None:
    """The node keeps its name over a restart; the boot and the numbering are new."""
    first = DecisionLog.open(path)
    assert [1, 2, 3] == [first.next_seq() for _ in range(3)]
    first.close()
    second = DecisionLog.open(path)
    assert 1 == second.next_seq()
    assert first.node_id == second.node_id
    assert first.boot_id != second.boot_id
    second.close()


def test_stats_tell_what_waits(path: Path, rows) -> None:
    """Queued and spilled rows, and the age of the oldest, are visible while commits fail, and gone afterwards."""
    log = DecisionLog.open(path, queue_rows=2, durability="strict")
    log._inserter._con = stubborn = Stubborn(log._inserter._con, failures=1_000_000)
    for seq in range(5):
        log.append(rows["decision"](seq))
    waiting = log.stats()
    assert (2, 3, 3, 0) == (waiting.queued, waiting.spilled, waiting.spill_pending, waiting.committed)
    assert waiting.lag_s > 0
    stubborn.failures = 0
    log.flush()
    after = log.stats()
    assert (0, 0, 5, 0.0) == (after.queued, after.spill_pending, after.committed, after.lag_s)
    assert "strict" == after.durability
    assert after.file_bytes > 0
    assert after.last_commit_ms is not None
    log.close()


def test_a_read_in_progress_does_not_stop_the_writer(log: DecisionLog, rows) -> None:
    """An open read transaction sees the log as it was; rows are committed meanwhile."""
    with log.reader()._reading() as con:
        assert [(0,)] == con.execute("select count(*) from decisions").fetchall()
        log.append(rows["decision"](1))
        log.flush()
        assert [(0,)] == con.execute("select count(*) from decisions").fetchall()
    assert [1] == seqs(log)


def test_only_the_owner_can_read_the_files(path: Path, rows) -> None:
    """The database and its write-ahead log are for their owner alone, also after a checkpoint made a new one."""
    log = DecisionLog.open(path.parent / "new" / path.name)
    for _ in range(2):
        log.append(rows["decision"](1))
        log.flush()
        files = list((path.parent / "new").iterdir())
        assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in files}
        assert 2 == len(files)
        log._con.execute("checkpoint")
    assert 0o700 == stat.S_IMODE((path.parent / "new").stat().st_mode)
    log.close()


def test_the_same_file_is_not_opened_twice_in_one_process(log: DecisionLog, path: Path) -> None:
    """DuckDB would silently share it; two writers would then share one spill file."""
    with pytest.raises(LogLocked, match="already open"):
        DecisionLog.open(path)


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    """A broken or impossible file is a LogError that names it."""
    path.write_text("hello, this is not a database" * 1000)
    with pytest.raises(LogError, match=r"nearfar\.duckdb cannot be opened"):
        DecisionLog.open(path)
    with pytest.raises(LogError, match="cannot be opened"):
        DecisionLog.open(path / "below" / "a.duckdb")
    with pytest.raises(LogError, match=r"'nearfar_log\.duckdb'"):
        DecisionLog.open(path.with_name("nearfar_log.duckdb"))


def test_the_log_can_live_in_memory(rows) -> None:
    """`:memory:` behaves as a file does, overflow included."""
    log = DecisionLog.open(Path(":memory:"), queue_rows=2)
    for seq in range(50):
        log.append(rows["decision"](seq))
    log.flush()
    assert list(range(50)) == seqs(log)
    log.close()


def test_every_field_of_a_row_has_a_column(log: DecisionLog) -> None:
    """The tables hold exactly the rows' fields, plus what the log itself adds: to a decision, and a number to each."""
    for row, table, added in (
        (DecisionRow, "decision_rows", {"node_id", "boot_id", "schema_version"}),
        (NodeRow, "nodes", set()),
        (PriceBookRow, "price_books", set()),
        (CatalogRow, "catalogs", set()),
        (PolicyRow, "policies", set()),
    ):
        sql = "select column_name from duckdb_columns() where schema_name = 'nearfar_log' and table_name = ?"
        columns = {name for (name,) in log._con.cursor().execute(sql, [table]).fetchall()}
        assert ({*row.__struct_fields__} - {"ts_us"}) | {"ts", "arrival"} | added == columns
