"""The log that ours is compared with keeps every row, and their answers are compared figure by figure."""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
import log_questions  # noqa: E402 - programs, not packages
import sqlite_log  # noqa: E402
from log_live import made  # noqa: E402

OURS = {"at": "2026-11-27T04:00:00Z", "backend": "local", "requests": 9, "ok": 8, "cost_usd": 0.25, "p50_ms": 10.0}
THEIRS = {"at": 1795752000 // 3600, "backend": "local", "requests": 9, "ok": 8, "cost_usd": 0.25, "p50_ms": 10.1}


def test_sqlite_has_every_column_of_every_row_once_it_is_closed(tmp_path):
    """More rows than one batch, and candidates as JSON."""
    decisions = made(700)
    log = sqlite_log.SqliteLog(tmp_path / "log.sqlite")
    for rows in decisions:
        for row in rows:
            log.append(row)
    log.close()

    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as con:
        con.row_factory = sqlite3.Row
        counts = [con.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in sqlite_log.TABLES.values()]
        first = con.execute("SELECT * FROM decisions WHERE seq = 1").fetchone()
    assert [700, 700, 700] == counts
    expected = decisions[0][0]
    assert (expected.decision_id, expected.tenant, expected.propensity) == (
        first["decision_id"], first["tenant"], first["propensity"]
    )  # fmt: skip
    assert [c.candidate_id for c in expected.candidates] == [c["candidate_id"] for c in json.loads(first["candidates"])]
    assert first["node_id"]


def test_a_flush_returns_when_all_is_committed(tmp_path):
    """Another connection sees it."""
    log = sqlite_log.SqliteLog(tmp_path / "log.sqlite")
    for row in made(1)[0]:
        log.append(row)
    log.flush()
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as con:
        assert [(1,)] == con.execute("SELECT count(*) FROM outcomes").fetchall()
    log.close()


def test_answers_agree_within_the_accuracy_of_our_quantiles():
    """Two per cent of a quantile; counts exactly."""
    assert log_questions.difference([OURS], [THEIRS]) is None


@pytest.mark.parametrize("wrong", [{"p50_ms": 10.5}, {"requests": 8}, {"cost_usd": None}, {"backend": None}, {"at": 1}])
def test_answers_that_say_something_else_do_not_agree(wrong):
    """A figure, or a group that only one of them has."""
    assert log_questions.difference([OURS], [THEIRS | wrong]) is not None
