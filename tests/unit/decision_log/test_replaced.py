"""A database deleted or replaced under a running log: what is not yet committed goes to the file in its place."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.decision_log.log import DecisionLog


def seqs(log: DecisionLog) -> list[int]:
    return [row[0] for row in log.reader().sql("select seq from decisions order by seq", max_rows=100_000).rows]


def wal(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


# Each of these does it, and returns the rows in the file it leaves.


def delete_both(path: Path, _: Path) -> list[int]:
    path.unlink()
    wal(path).unlink()
    return []


def delete_database(path: Path, _: Path) -> list[int]:
    path.unlink()
    return []


def delete_directory(path: Path, _: Path) -> list[int]:
    shutil.rmtree(path.parent)
    return []


def replace_both(path: Path, other: Path) -> list[int]:
    other.replace(path)
    wal(other).replace(wal(path))
    return [100]


def replace_database(path: Path, other: Path) -> list[int]:
    DecisionLog.open(other).close()  # takes its write-ahead log in
    other.replace(path)
    return [100]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "nearfar.duckdb"


@pytest.fixture
def other(tmp_path: Path, rows) -> Path:
    """A second log, with row 100 in its write-ahead log alone."""
    log = DecisionLog.open(tmp_path / "open.duckdb")
    log.append(rows["decision"](100))
    log.flush()
    copy = tmp_path / "other.duckdb"
    shutil.copy(tmp_path / "open.duckdb", copy)
    shutil.copy(wal(tmp_path / "open.duckdb"), wal(copy))
    log.close()
    return copy


@pytest.fixture
def log(path: Path, rows) -> Iterator[DecisionLog]:
    log = DecisionLog.open(path)
    log.append(rows["decision"](1))
    log.flush()
    yield log
    log.close()


@pytest.mark.parametrize("replace", [delete_both, delete_database, delete_directory, replace_both, replace_database])
def test_rows_after_it_are_in_the_file_now_there(
    log: DecisionLog, path: Path, other: Path, rows, caplog, replace: Callable[[Path, Path], list[int]]
) -> None:
    """They are committed, waiters are told, the reader sees them, and one error names what is gone."""
    kept = replace(path, other)
    log.append(rows["decision"](2))
    asyncio.run(log.committed())
    log.append(rows["decision"](3))
    log.flush()
    assert [2, 3, *kept] == seqs(log)
    assert (1, 1, 3, 0) == (log.stats().replaced, log.stats().failed_commits, log.stats().committed, log.stats().queued)
    (error,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "committed to it is gone" in error
    log.close()
    again = DecisionLog.open(path)
    assert [2, 3, *kept] == seqs(again)
    again.close()


def test_rows_wait_while_the_new_file_cannot_be_opened(log: DecisionLog, path: Path, rows) -> None:
    """They spill as usual, are counted once as replaced, and are committed when the file is good."""
    path.unlink()
    path.write_text("no database" * 1000)
    log.append(rows["decision"](2))
    while log.stats().failed_commits < 2:
        pass
    path.unlink()
    log.flush()
    assert [2] == seqs(log)
    assert 1 == log.stats().replaced


def test_closing_leaves_the_new_file_alone(log: DecisionLog, path: Path, other: Path, caplog) -> None:
    """With no row waiting, `close` says what is gone and takes nothing from the file that came."""
    replace_both(path, other)
    log.close()
    assert 1 == log.stats().replaced
    assert "committed to it is gone" in caplog.text
    again = DecisionLog.open(path)
    assert [100] == seqs(again)
    again.close()


def test_a_log_in_memory_is_never_replaced(rows) -> None:
    """It has no file to lose."""
    log = DecisionLog.open(Path(":memory:"))
    for seq in range(2):
        log.append(rows["decision"](seq))
        log.flush()
    assert [0, 1] == seqs(log)
    assert 0 == log.stats().replaced
    log.close()
