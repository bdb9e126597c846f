"""Reading the log back."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from router.decision_log.log import DecisionLog
from router.decision_log.named import NAMED
from router.decision_log.queries import Spent
from router.decision_log.record import PolicyRow, PriceBookRow
from router.errors import InvalidRequest, LogError

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)


def test_pages_cover_every_row_once(log: DecisionLog, rows) -> None:
    """Turning pages, newest first, meets each row once: rows of one instant too, and whatever comes meanwhile."""
    for n in range(25):
        log.append(rows["decision"](n // 5))
    log.flush()
    seen, cursor = [], None
    while True:
        page, cursor = log.reader().decisions(limit=7, cursor=cursor)
        seen += page
        if cursor is None:
            break
        log.append(rows["decision"](999))
        log.flush()
    assert 25 == len({row["decision_id"] for row in seen})
    assert sorted((row["ts"] for row in seen), reverse=True) == [row["ts"] for row in seen]


def test_the_last_page_has_no_cursor(log: DecisionLog, rows) -> None:
    """A page that ends exactly at the last row says that there is nothing more."""
    assert ([], None) == log.reader().decisions()
    for n in range(4):
        log.append(rows["decision"](n))
    log.flush()
    assert log.reader().decisions(limit=4)[1] is None
    assert log.reader().decisions(limit=3)[1] is not None


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "AAAA", "bm90IGEgZGF0ZQ", "\u00e4", "e" * 1000])
def test_a_made_up_cursor_is_an_invalid_request(log: DecisionLog, cursor: str) -> None:
    """A cursor the log did not give is the sender's mistake, and the field is named."""
    with pytest.raises(InvalidRequest) as error:
        log.reader().decisions(cursor=cursor)
    assert "cursor" == error.value.param


def test_what_was_spent_far_is_summed_by_day_provider_and_both_names_of_a_model(log: DecisionLog, rows) -> None:
    """Failed attempts too; an unknown cost counts as predicted, near and earlier ones not at all.

    Whom it is charged to is who was asked: a router's attempt is logged under the name of who served.
    """

    def attempt(usd: float | None, ago: timedelta = timedelta(), **other) -> None:
        ts_us = int((NOON - ago).timestamp() * 1e6)
        far = rows["candidate"]("p:far", backend="remote", provider="p", model="far", pred_cost_usd=0.25)
        decision = rows["decision"](ts_us=ts_us, model=other.pop("asked", "m"), candidates=[rows["candidate"](), far])
        log.append(decision)
        fields = {"candidate_id": "p:far", "backend": "remote", "provider": "who-served", "ts_us": ts_us + 1}
        log.append(rows["attempt"](decision.decision_id, cost_usd=usd, **fields | other))

    attempt(0.5)
    attempt(1.0, status="error")
    attempt(None, status="error")
    attempt(0.125, asked="alias")
    attempt(2.0, timedelta(days=1))
    attempt(0.0, timedelta(days=2))
    attempt(4.0, timedelta(days=5))
    attempt(8.0, backend="local", candidate_id="near")
    log.flush()
    day_s = datetime(2025, 10, 9, tzinfo=UTC).timestamp()

    expected = [
        Spent("", "alias", "far", "p", day_s, 0.125),
        Spent("", "m", "far", "p", day_s - 86_400, 2.0),
        Spent("", "m", "far", "p", day_s, 1.75),
    ]
    assert expected == log.reader().spent(NOON - timedelta(days=3))
    assert [] == log.reader().spent(NOON + timedelta(days=1))


def test_filters_narrow_the_list(log: DecisionLog, rows) -> None:
    """Each filter keeps the rows it names; a decision without outcome is open."""
    done = rows["decision"](1, model="a", task="t1", policy="cost")
    still = rows["decision"](1_000_000, model="b", task="t2", policy=None)
    for row in (done, still, rows["outcome"](done.decision_id, backend="remote")):
        log.append(row)
    log.flush()

    def found(**filters) -> list[str]:
        return [row["decision_id"] for row in log.reader().decisions(**filters)[0]]

    for filters in ({"model": "a"}, {"task": "t1"}, {"policy": "cost"}, {"backend": "remote"}, {"status": "ok"},
                    {"until": NOON + timedelta(seconds=1)}):  # fmt: skip
        assert [done.decision_id] == found(**filters), filters
    assert [still.decision_id] == found(status="open")
    assert [still.decision_id] == found(since=NOON + timedelta(seconds=1))
    elsewhere = (NOON + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=-7)))
    assert [still.decision_id] == found(since=elsewhere)
    assert [] == found(model="' or 1=1 --")


def test_one_decision_has_everything_that_belongs_to_it(log: DecisionLog, rows) -> None:
    """Candidates, attempts in order, outcome, prices and policy come with it."""
    row = rows["decision"](1)
    for new in (
        row, rows["attempt"](row.decision_id, attempt=2, role="fallback"), rows["attempt"](row.decision_id),
        rows["outcome"](row.decision_id), PriceBookRow(price_book="b1", ts_us=1, body='{"hour": 0.1}'),
        PolicyRow(policy_version="p1", policy="latency", ts_us=1, body='{"p": 95}'),
    ):  # fmt: skip
        log.append(new)
    log.flush()
    one = log.reader().decision(row.decision_id)
    assert [1, 2] == [attempt["attempt"] for attempt in one["attempts"]]
    assert ["near", "far"] == [candidate["candidate_id"] for candidate in one["candidates"]]
    assert 21.0 == one["outcome"]["latency_ms"]
    assert ({"hour": 0.1}, {"p": 95}) == (one["price_book_body"], one["policy_body"])


def test_an_unknown_decision_is_none(log: DecisionLog) -> None:
    """An id that is not there, or no id at all, finds nothing."""
    assert log.reader().decision(str(uuid.uuid4())) is None
    assert log.reader().decision("' or 1=1 --") is None


def test_an_open_decision_has_no_outcome(log: DecisionLog, rows) -> None:
    """A decision still running shows as open, with unknown (never zero) cost and latency."""
    row = rows["decision"](1)
    log.append(row)
    log.flush()
    one = log.reader().decision(row.decision_id)
    assert ("open", None, None, None) == (one["status"], one["outcome"], one["cost_usd"], one["latency_ms"])


def test_the_report_adds_up(log: DecisionLog, rows) -> None:
    """Requests are counted by how they ended, known costs added, unknown ones counted, estimates held against facts."""
    outcomes = [{"cost_usd": 0.5}, {"cost_usd": None}, {"backend": "remote", "cost_usd": 1.0, "latency_ms": 41.0},
                {"status": "error"}, {"status": "refused"}, {"status": "cancelled"}, None]  # fmt: skip
    for n, outcome in enumerate(outcomes):
        row = rows["decision"](n)
        log.append(row)
        log.append(rows["attempt"](row.decision_id))
        if outcome is not None:
            log.append(rows["outcome"](row.decision_id, **outcome))
    log.flush()
    (line,) = log.reader().ask("summary", by="day")["rows"]
    assert {
        "day": "2025-10-09", "requests": 7, "ok": 3, "failed": 1, "refused": 1, "cancelled": 1, "open": 1,
        "cost_usd": 1.5, "unknown_cost": 4, "near_share": pytest.approx(2 / 3),
        "far_share": pytest.approx(1 / 3), "browser_share": 0.0,
        "p50_ms": pytest.approx(21.0, rel=0.02), "p95_ms": pytest.approx(41.0, rel=0.02),
        "estimate_error": pytest.approx(0.5, rel=0.02),
    } == line  # fmt: skip
    assert ["local", "remote", None] == [line["backend"] for line in log.reader().ask("summary", by="backend")["rows"]]
    assert [] == log.reader().ask("summary", by="backend", since=NOON + timedelta(days=1))["rows"]


def test_a_cost_nobody_knows_is_not_zero(log: DecisionLog, rows) -> None:
    """A group of which no cost is known has no cost."""
    row = rows["decision"](1)
    log.append(row)
    log.append(rows["outcome"](row.decision_id, cost_usd=None))
    log.flush()
    assert (None, 1) == tuple(
        log.reader().ask("summary", by="model")["rows"][0][key] for key in ("cost_usd", "unknown_cost")
    )


def test_an_error_of_the_log_names_no_path(log: DecisionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What DuckDB says of a file that it cannot read names the file; whoever asks over HTTP must not learn where."""
    monkeypatch.setitem(NAMED, "latest_catalog", "SELECT * FROM '/srv/secret/place.parquet'")
    with pytest.raises(LogError) as error:
        log.reader().rows("latest_catalog", {})

    assert "/srv" not in str(error.value)
    assert "<path>" in str(error.value)


def test_reporting_by_something_else_is_refused(log: DecisionLog) -> None:
    """Only what the log can group by is accepted."""
    with pytest.raises(InvalidRequest) as error:
        log.reader().ask("summary", by="seq")
    assert "by" == error.value.param
