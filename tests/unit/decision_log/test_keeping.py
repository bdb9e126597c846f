"""The log's upkeep: settled decisions read as they were, late rows find theirs, what is too old goes."""

import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from router.cli.console import existing_log
from router.decision_log import keeping
from router.decision_log.columns import VIEWS
from router.decision_log.export import FORMATS, export
from router.decision_log.keeping import Keeper
from router.decision_log.log import DecisionLog
from router.decision_log.migrations import PUBLIC_VIEWS, connect
from router.decision_log.record import FeedbackRow
from router.decision_log.retention import Retention
from router.decision_log.shapes import reshape
from router.decision_log.windows import Window
from router.errors import InvalidRequest, LogError, LogLocked
from router.settings import load
from tests.unit.router.answers import rounded

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC).replace(tzinfo=None)
LATER = NOON + timedelta(days=30)
VIEWED = ("decisions", "attempts", "candidates")


@pytest.fixture(autouse=True)
def at_rest(log: DecisionLog) -> None:
    """Its own upkeep would come in between."""
    log._keeper._next_s = math.inf


def settle(log: DecisionLog, now: datetime = LATER, **options) -> int:
    with log.cursor() as con:
        return Keeper(log.cursor).settle(con, now, **options)


def seen(log: DecisionLog, view: str) -> list:
    with log.cursor() as con:
        return sorted(con.execute(f"select * from {view}").fetchall(), key=repr)


def there(log: DecisionLog, table: str) -> int:
    return log.cursor().execute(f"select count(*) from nearfar_log.{table}").fetchall()[0][0]


def fill(log: DecisionLog, rows, n: int = 6) -> list[str]:
    ids = []
    for nth in range(n):
        decision = rows["decision"](nth * 600_000_000)
        ids.append(decision.decision_id)
        log.append(decision)
        log.append(rows["attempt"](decision.decision_id, attempt=2, role="fallback", cost_usd=0.1 + nth))
        log.append(rows["attempt"](decision.decision_id, status="error", won=False))
        log.append(rows["outcome"](decision.decision_id, cost_usd=0.1 + nth))
    log.flush()
    return ids


def test_settled_decisions_read_as_they_were(log: DecisionLog, rows) -> None:
    """Every view, the list and a decision by itself are to the last bit what they were before."""
    ids = fill(log, rows)
    before = {view: seen(log, view) for view in VIEWED}, [log.reader().decision(one) for one in ids]
    page = log.reader().decisions(limit=4)

    assert 6 == settle(log)
    assert 0 == there(log, "decision_rows") + there(log, "attempt_rows") + there(log, "outcome_rows")
    assert before == ({view: seen(log, view) for view in VIEWED}, [log.reader().decision(one) for one in ids])
    assert page == log.reader().decisions(limit=4)
    assert 0 == settle(log)


def test_what_may_still_go_on_is_left_alone(log: DecisionLog, rows) -> None:
    """A decision without an end waits a day, one that has just ended some seconds, a few together some minutes."""
    log.append(rows["decision"](0))
    log.flush()
    assert 0 == settle(log, NOON + timedelta(hours=23))
    fill(log, rows, 1)
    assert 0 == settle(log, NOON + timedelta(seconds=5), at_least=1)
    assert 0 == settle(log, NOON + timedelta(minutes=2))
    assert 1 == settle(log, NOON + timedelta(minutes=20))
    assert 1 == settle(log, NOON + timedelta(hours=25))
    assert ["ok", "open"] == sorted(row["status"] for row in log.reader().decisions()[0])


def test_a_late_end_takes_a_lost_decision_back(log: DecisionLog, rows) -> None:
    """What was counted as lost is counted as answered once, and nothing twice, however late its end comes."""
    decision = rows["decision"](0, session="s")
    log.append(decision)
    log.flush()
    assert 1 == settle(log)
    assert [1] == [row["open"] for row in log.reader().ask("summary")["rows"]]
    log.append(rows["attempt"](decision.decision_id))
    log.append(rows["outcome"](decision.decision_id, cost_usd=0.5))
    fill(log, rows, 1)
    assert 1 == settle(log)
    assert 1 == settle(log)
    (row,) = log.reader().ask("summary")["rows"]

    assert (2, 2, 0, 0.6) == (row["requests"], row["ok"], row["open"], pytest.approx(row["cost_usd"]))
    assert 2 == there(log, "settled")
    assert (2, 2) == (len(log.reader().decisions()[0]), log.reader().ask("savings")["rows"][0]["decisions"])


def test_a_step_that_fails_changes_nothing(log: DecisionLog, rows, monkeypatch) -> None:
    """The row of a decision and what it adds up to come together, or neither does."""
    fill(log, rows)
    before = log.reader().ask("summary")["rows"]

    def fail(*_) -> None:
        raise duckdb.Error("the disk is full")

    monkeypatch.setattr(keeping.cells, "mend", fail)
    with pytest.raises(duckdb.Error):
        settle(log)
    assert (0, 0, 6) == (there(log, "settled"), there(log, "cells"), there(log, "decision_rows"))
    assert rounded(before) == log.reader().ask("summary")["rows"]


def test_the_log_settles_by_itself(path: Path, rows, monkeypatch) -> None:
    """The thread that writes does it, without being asked."""
    monkeypatch.setattr(keeping, "TICK_S", 0.0)
    log = DecisionLog.open(path.with_name("other.duckdb"))
    try:
        for _ in range(100):
            fill(log, rows, 1)
            if there(log, "settled"):
                break
        assert there(log, "settled")
    finally:
        log.close()


def test_what_is_too_old_is_deleted_by_the_hour(log: DecisionLog, rows) -> None:
    """Rows, feedback and sums of whole hours go together; the rest answers as before."""
    ids = fill(log, rows, 12)  # two hours
    log.append(FeedbackRow(decision_id=ids[0], ts_us=1_760_011_200_000_000, source="user", metric="score", value=1.0))
    log.flush()
    settle(log)
    keeper = Keeper(log.cursor, Retention(days=1))
    now = NOON + timedelta(days=1, hours=1, minutes=30)
    with log.cursor() as con:
        assert keeper.forget(con, now)
        assert 0 == keeper.forget(con, now)

    assert 6 == len(log.reader().decisions()[0]) == sum(row["requests"] for row in log.reader().ask("summary")["rows"])
    assert 0 == there(log, "feedback")
    assert 6 == len({row[0] for row in seen(log, "attempts")})


def test_columns_added_later_are_settled_as_well(log: DecisionLog, rows) -> None:
    """A migration that widens the tables widens what is settled, and the views; old rows have nothing there."""
    fill(log, rows, 1)
    settle(log)
    with log.cursor() as con:
        con.execute("ALTER TABLE nearfar_log.decision_rows ADD COLUMN mood VARCHAR")
        con.execute("ALTER TABLE nearfar_log.attempt_rows ADD COLUMN steps INTEGER")
        con.execute("ALTER TABLE nearfar_log.decision_rows ADD COLUMN candidates.element.risk DOUBLE")
        reshape(con)
    fill(log, rows, 1)
    settle(log)
    query = "select d.mood, a.steps, c.risk from decisions d join attempts a using (decision_id) "
    answer = log.reader().sql(query + "join candidates c using (decision_id)")
    assert [[None, None, None]] * 8 == answer.rows


def test_replay_reads_settled_decisions(log: DecisionLog, rows) -> None:
    """A window of the log holds the same lines before and after, and while some are settled."""

    def lines() -> list[str]:
        with log.reader().window(Window()) as (found, of_it):
            assert found.held == 6
            return list(of_it)

    fill(log, rows, 3)
    settle(log)
    fill(log, rows, 3)
    before = lines()
    settle(log)
    assert 6 == len(before)
    assert before == lines()


def test_what_was_spent_and_tried_lately_is_read_of_settled_ones_too(log: DecisionLog, rows) -> None:
    """An attempt counts by its own time, also where its decision is a little older than the range."""
    now = datetime.now(UTC)
    for minutes, usd in ((10, 1.0), (90, 2.0), (3000, 4.0)):
        begun_us = round((now - timedelta(minutes=minutes)).timestamp() * 1e6)
        decision = rows["decision"](ts_us=begun_us - 3_600_000_000, chosen="far")
        for row in (
            decision,
            rows["attempt"](decision.decision_id, ts_us=begun_us, candidate_id="far", backend="remote", cost_usd=usd),
            rows["outcome"](decision.decision_id, ts_us=begun_us, backend="remote", cost_usd=usd),
        ):
            log.append(row)
    log.flush()

    def read() -> tuple[float, list[str]]:
        reader = log.reader()
        spent = sum(each.usd for each in reader.spent(now - timedelta(hours=2)))
        return spent, [candidate_id for candidate_id, _, _ in reader.recent_attempts(1800.0)]

    assert (3.0, ["far"]) == read()
    settle(log, now.replace(tzinfo=None) + timedelta(days=2))
    assert 3 == there(log, "settled")
    assert (3.0, ["far"]) == read()


def test_a_command_that_reads_settles_and_deletes_nothing(log: DecisionLog, path: Path, rows, monkeypatch) -> None:
    """However long it takes; and it finds a log below the home directory."""
    fill(log, rows, 3)
    log.close()
    monkeypatch.setenv("HOME", str(path.parent))
    config = path.with_name("nearfar.toml")
    config.write_text(f'[log]\npath = "~/{path.name}"\nretention_days = 1\n', encoding="utf-8")
    with existing_log(load(config, {})) as found:
        found._keeper.keep()
        assert math.inf == found._keeper._next_s
        assert 3 == there(found, "decision_rows")


def test_sums_of_other_rules_are_added_up_anew(log: DecisionLog, path: Path, rows) -> None:
    """A log whose sums an older version made answers as before, once it is opened by this one."""
    fill(log, rows)
    settle(log)
    before = [log.reader().ask("summary")["rows"], log.reader().ask("savings")["rows"]]
    with log.cursor() as con:
        con.execute("UPDATE nearfar_log.meta SET value = 'old' WHERE key = 'cells'")
        con.execute("UPDATE nearfar_log.cells SET n = 0")
    log.close()
    again = DecisionLog.open(path)
    assert rounded(before) == [again.reader().ask("summary")["rows"], again.reader().ask("savings")["rows"]]
    again.close()


def test_every_column_of_every_view_has_a_sentence(log: DecisionLog) -> None:
    """What users may query is explained, no more and no less."""
    assert set(PUBLIC_VIEWS) == set(VIEWS)
    for view in PUBLIC_VIEWS:
        assert list(VIEWS[view]) == [row[0] for row in log.cursor().execute(f"describe {view}").fetchall()], view
        for sentence in VIEWS[view].values():
            assert re.match(r"[`\w].{6,}\.$", sentence), (view, sentence)


def exported(path: Path, target: Path, kind: str, **options) -> int:
    return export(path, target, kind, **options)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_has_every_decision(log: DecisionLog, path: Path, rows, tmp_path, kind) -> None:
    """Settled ones and new ones, with what belongs to them, in a file of its owner alone; told as it goes."""
    fill(log, rows, 3)
    settle(log)
    fill(log, rows, 2)
    log.close()
    target, told = tmp_path / f"it's.{kind}", []
    assert 5 == exported(path, target, kind, progress=told.append)
    name = str(target).replace("'", "''")
    lists = "json_array_length(slate::JSON), json_array_length(tries::JSON)"
    found = duckdb.sql(f"select status, cost_usd, {lists} from '{name}' order by cost_usd").fetchall()

    assert [("ok", 0.1, 2, 2)] * 2 + [("ok", 1.1, 2, 2)] * 2 + [("ok", 2.1, 2, 2)] == found
    assert (0o600, 1.0) == (target.stat().st_mode & 0o777, told[-1])
    until = NOON + timedelta(minutes=5)
    assert 2 == exported(path, target, kind, span=(None, until))
    assert ["it's." + kind] == [file.name for file in tmp_path.iterdir() if "it's" in file.name]


def test_an_export_that_cannot_be_written_says_so(log: DecisionLog, path: Path, tmp_path) -> None:
    """Without a path of this machine; and a log in use is refused."""
    with pytest.raises(LogLocked):
        exported_elsewhere(path, tmp_path / "x.parquet")
    log.close()
    with pytest.raises(LogError) as error:
        export(path, tmp_path / "missing" / "x.parquet", "parquet")
    assert str(tmp_path) not in str(error.value)


def test_an_export_never_overwrites_the_log(log: DecisionLog, path: Path, rows, tmp_path) -> None:
    """By whatever name, nor what lies beside it; and what a killed export left is no obstacle."""
    fill(log, rows, 2)
    log.close()
    before = path.read_bytes()
    (tmp_path / "other.duckdb").symlink_to(path)
    for name in (path.name, f"{path.name}.wal", f"{path.name}.spill", f"{path.name}.rejected.jsonl", "other.duckdb"):
        with pytest.raises(InvalidRequest, match="log's own"):
            export(path, tmp_path / name, "parquet")
    assert before == path.read_bytes()
    (tmp_path / ".x.parquet.part").write_bytes(b"half")
    assert 2 == export(path, tmp_path / "x.parquet", "parquet")


def exported_elsewhere(path: Path, target: Path) -> None:
    """From another process: in this one the lock would be ours."""
    import subprocess
    import sys

    code = "import sys, pathlib; from router.decision_log.export import export; from router.errors import LogLocked\n"
    code += "try:\n export(*map(pathlib.Path, sys.argv[1:]), 'parquet')\nexcept LogLocked: sys.exit(7)"
    done = subprocess.run([sys.executable, "-c", code, str(path), str(target)], check=False)
    if done.returncode == 7:
        raise LogLocked("locked")


def test_an_export_may_write_its_file_and_no_other(path: Path, tmp_path) -> None:
    """The database that writes it has leave for that one file."""
    con = connect(
        path.with_name("x.duckdb"),
        allow=lambda con: con.execute("SET allowed_paths = ?", [[str(tmp_path / "a.parquet")]]),
    )
    con.execute(f"copy (select 1 as one) to '{tmp_path / 'a.parquet'}'")
    for query in (f"copy (select 1 as one) to '{tmp_path / 'b.parquet'}'", f"select * from read_text('{__file__}')"):
        with pytest.raises(duckdb.PermissionException):
            con.execute(query)
    con.close()
