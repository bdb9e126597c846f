"""What a tenant reads of a log that others write to as well: what it would read if nobody else were there."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.decision_log.log import DecisionLog
from router.decision_log.questions import QUESTIONS
from router.decision_log.record import FeedbackRow
from router.decision_log.tenancy import literal
from router.decision_log.windows import Window
from tests.unit.decision_log.conftest import NOON_US, make_attempt, make_candidate, make_decision, make_outcome
from tests.unit.decision_log.test_questions import random_rows, same, settle

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from router.decision_log.queries import LogReader

ROWS = {"decision": make_decision, "candidate": make_candidate, "attempt": make_attempt, "outcome": make_outcome}
# Of a session whose hour was added up, what comes later is a cluster of its own until it is settled, too.
APART = {f"saved_{unit}_{end}" for unit in ("usd", "s") for end in ("low", "high")} | {"clusters"}
ODD = ("o'neil", "'; DROP TABLE x; --", "{sees}", "$own", "%s", "tenant", "\u202e\n", "x" * 300, "\0")


class Two:
    """A log that several tenants write to, and for each of them, once asked for, one that has only its rows."""

    def __init__(self) -> None:
        self._history: list[tuple[str | None, Any] | None] = []
        self._alone: dict[str, DecisionLog] = {}
        self.mixed = _opened()

    def append(self, tenant: str | None, row: Any) -> None:
        self._history.append((tenant, row))
        self.mixed.append(row)

    def settle(self) -> None:
        self._history.append(None)
        self.mixed.flush()
        settle(self.mixed)

    def alone(self, tenant: str) -> LogReader:
        if tenant not in self._alone:
            log = self._alone[tenant] = _opened()
            for event in self._history:
                if event is None:
                    log.flush()
                    settle(log)
                elif (event[0] or "") == tenant:
                    log.append(event[1])
            log.flush()
        return self._alone[tenant].reader()

    def close(self) -> None:
        for log in (self.mixed, *self._alone.values()):
            log.close()


def _opened() -> DecisionLog:
    log = DecisionLog.open(Path(":memory:"))
    log._keeper._next_s = math.inf
    return log


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    """Some decisions settled, some come late, some are new."""
    made, draw = Two(), random.Random(11)
    for part in range(3):
        late = []
        for n in range(40):
            first, *others = random_rows(ROWS, draw, n)
            made.append(first.tenant, first)
            for row in others:
                is_late = part == 0 and draw.random() < 0.1
                late.append((first.tenant, row)) if is_late else made.append(first.tenant, row)
            if n % 5 == 0:
                made.append(first.tenant, FeedbackRow(decision_id=first.decision_id, ts_us=NOON_US, source="user",
                    metric="score", value=0.5))  # fmt: skip
        if part < 2:
            made.settle()
        for tenant, row in late:
            made.append(tenant, row)
    made.mixed.flush()
    yield made
    made.close()


OTHERS_SLOW = ["t1", *(pytest.param(tenant, marks=pytest.mark.slow) for tenant in ("t2", ""))]


def _everything(reader: LogReader, groups: Collection[str] | None = None) -> dict[tuple[str, str], Any]:
    """Each question by its first group and those named; None by every one."""
    return {
        (name, by): reader.ask(name, by=by)["rows"]
        for name, question in QUESTIONS.items()
        for by in question.by
        if groups is None or by in {question.by[0], *groups}
    }


@pytest.mark.parametrize(
    ("tenant", "groups"),
    [
        ("t1", ("policy", "tenant")),
        *(pytest.param(tenant, None, marks=pytest.mark.slow) for tenant in ("t1", "t2", "")),
    ],
)
def test_every_question_is_answered_as_if_nobody_else_were_there(
    two: Two, tenant: str, groups: Collection[str] | None
) -> None:
    """By each of its groups: from sums kept for each tenant, from what is new, and from what came late."""
    expected = _everything(two.alone(tenant), groups)

    assert 20 < sum(row["requests"] for row in expected["summary", "backend"])
    same(expected, _everything(two.mixed.reader(tenant), groups), APART)


@pytest.mark.parametrize("tenant", OTHERS_SLOW)
def test_every_row_is_read_as_if_nobody_else_were_there(two: Two, tenant: str) -> None:
    """Page by page, by SQL and for replay."""
    alone, mine = two.alone(tenant), two.mixed.reader(tenant)
    for view, but in (("decisions", "node_id, boot_id"), ("attempts", "ts"), ("candidates", "ts"), ("feedback", "ts")):
        query = f"SELECT * EXCLUDE ({but}) FROM {view} ORDER BY ALL"
        assert alone.sql(query) == mine.sql(query)
    with alone.window(Window()) as (held, lines), mine.window(Window()) as (my_held, my_lines):
        assert held == my_held
        assert sorted(lines) == sorted(my_lines)

    pages, cursor = [], None
    while True:
        rows, cursor = mine.decisions(limit=7, cursor=cursor)
        pages += [row["decision_id"] for row in rows]
        if cursor is None:
            break
    assert pages == [row["decision_id"] for row in alone.decisions(limit=1000)[0]]


def test_the_sums_of_all_are_what_they_were(two: Two) -> None:
    """Whoever sees everybody's counts no decision twice, though it is added up for its tenant as well."""
    (row,) = two.mixed.reader().ask("savings", by="all")["rows"][:1]
    everybodys = two.mixed.reader().ask("summary", by="day")["rows"]

    assert 120 == sum(one["requests"] for one in everybodys)
    of_each = [two.mixed.reader(tenant).ask("savings")["rows"][0]["decisions"] for tenant in ("t1", "t2", "")]
    assert row["decisions"] == sum(of_each)


@pytest.fixture(scope="module")
def odd() -> Iterator[DecisionLog]:
    """A log whose tenants are called what a token may call them."""
    log = DecisionLog.open(Path(":memory:"))
    for n, tenant in enumerate((*ODD[:-1], "plain")):
        decision = make_decision(n, tenant=tenant)
        log.append(decision)
        log.append(make_outcome(decision.decision_id))
    log.flush()
    yield log
    log.close()


@pytest.mark.parametrize("tenant", ODD)
def test_a_tenants_name_is_no_sql(odd: DecisionLog, tenant: str) -> None:
    """Whatever it is called, it sees its one decision; a name that no row can have sees none."""
    reader, there = odd.reader(tenant), [] if "\0" in tenant else [tenant]

    assert there == [row["tenant"] for row in reader.decisions()[0]]
    assert there == [row[0] for row in reader.sql("SELECT tenant FROM decisions").rows]
    assert len(there) == sum(row["requests"] for row in reader.ask("summary", by="model")["rows"])
    for name in QUESTIONS if tenant == ODD[0] else ("savings",):
        reader.ask(name)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_literal_is_the_text_it_says(text: str) -> None:
    """DuckDB reads what was meant, whichever signs are in it."""
    assert [(text,)] == duckdb.execute(f"SELECT {literal(text)}").fetchall()
