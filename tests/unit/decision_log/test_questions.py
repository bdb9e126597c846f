"""What analytics answers: the same from sums as from rows, and what a slow and simple count says."""

import json
import math
import random
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.decision_log.facts import facts
from router.decision_log.histograms import ACCURACY
from router.decision_log.keeping import Keeper
from router.decision_log.log import DecisionLog
from router.decision_log.questions import QUESTIONS
from router.errors import InvalidRequest, QueryRefused

NOON_US = 1_760_011_200_000_000  # 2025-10-09 12:00 UTC
NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)
LATER = datetime(2025, 11, 1, tzinfo=UTC).replace(tzinfo=None)


def settle(log: DecisionLog) -> int:
    log._keeper._next_s = math.inf  # its own upkeep would do the same at its own time
    with log.cursor() as con:
        return Keeper(log.cursor).settle(con, LATER)


def random_rows(rows, draw: random.Random, n: int) -> list[Any]:
    """A decision with whatever may happen to it: any end, any slate, sessions and tenants or none, a shadow."""
    near_ms, far_ms = draw.lognormvariate(3, 1), draw.lognormvariate(4, 1)
    slate = [
        rows["candidate"](
            "near", near=True, pred_ms=near_ms, pred_cost_usd=near_ms * 1e-8, p90_ms=near_ms * 1.5,
            p95_ms=draw.choice([None, near_ms * 1.8]), eligible=draw.random() < 0.9,
        ),
        rows["candidate"](
            "far", backend="remote", provider="p", pred_ms=far_ms, pred_cost_usd=draw.choice([None, 2e-6, 0.0]),
            eligible=draw.random() < 0.9,
        ),
        rows["candidate"]("far2", backend="remote", provider="q", pred_ms=far_ms * 2, pred_cost_usd=1e-6),
    ]  # fmt: skip
    chosen = draw.choice([c for c in slate if c.eligible])
    decision = rows["decision"](
        draw.randrange(0, 4 * 3_600_000_000), candidates=slate, chosen=chosen.candidate_id,
        model=draw.choice(["a", "b", None]), policy=draw.choice(["p1", "p2"]), tenant=draw.choice([None, "t1", "t2"]),
        session=draw.choice([None, None, "s1", "s2"]), intent=draw.choice([None, "code"]),
    )  # fmt: skip
    status = draw.choice(["ok", "ok", "ok", "ok", "error", "cancelled", None])
    took = chosen.pred_ms * draw.lognormvariate(0, 0.5)
    usd = draw.choice([None, 0.0, took * 1e-8])
    at_us = decision.ts_us + 10
    fields = {"backend": chosen.backend, "provider": chosen.provider, "candidate_id": chosen.candidate_id}
    made = [decision]
    if status is not None:
        won = status == "ok"
        made.append(rows["attempt"](decision.decision_id, ts_us=at_us, status=status, won=won, total_ms=took,
            censored=status == "cancelled", cost_usd=usd, occupancy_ms=took if chosen.backend == "local" else None,
            **fields))  # fmt: skip
        if won and draw.random() < 0.2:
            made.append(rows["attempt"](decision.decision_id, attempt=2, ts_us=at_us, role="shadow", won=False,
                candidate_id="far2", backend="remote", total_ms=draw.lognormvariate(4, 1), cost_usd=1e-6))  # fmt: skip
        of_winner = {name: value for name, value in fields.items() if name != "candidate_id"} if won else {
            "backend": None, "provider": None}  # fmt: skip
        made.append(rows["outcome"](decision.decision_id, ts_us=at_us, status=status, latency_ms=took + 1,
            overhead_ms=1.0, cost_usd=usd, **of_winner))  # fmt: skip
    return made


def everything(log: DecisionLog, columns: dict[str, str], **span: Any) -> dict[tuple[str, str], Any]:
    return {(name, by): log.reader().ask(name, by=by, **span)["rows"] for name, by in columns.items()}


def same(expected: Any, found: Any, leaving_out: Collection[str] = ()) -> None:
    for key, rows in expected.items():
        assert len(rows) == len(found[key]), key
        for row, other in zip(rows, found[key], strict=True):
            for name, value in row.items():
                if name in leaving_out:
                    continue
                close = pytest.approx(value, rel=1e-6, abs=1e-12) if isinstance(value, float) else value
                assert close == other[name], (key, name, row, other)


@settings(max_examples=settings.default.max_examples // 25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000))
def test_sums_kept_answer_as_rows_do(rows, seed: int) -> None:
    """Settled in parts, with rows that come late, the log answers every question as if nothing had been added up."""
    draw = random.Random(seed)
    log, plain = DecisionLog.open(Path(":memory:")), DecisionLog.open(Path(":memory:"))
    log._keeper._next_s = plain._keeper._next_s = math.inf
    try:
        late = []
        for part in range(2):
            for n in range(25):
                for row in random_rows(rows, draw, n):
                    plain.append(row)
                    is_late = part == 0 and draw.random() < 0.15 and not hasattr(row, "seq")
                    late.append(row) if is_late else log.append(row)
            log.flush()
            settle(log)
            for row in late:
                log.append(row)
            late.clear()
        log.flush()
        plain.flush()
        since, until = NOON + timedelta(minutes=17), NOON + timedelta(hours=3, minutes=5)

        columns = {name: draw.choice(question.by) for name, question in QUESTIONS.items()}
        # Of a session whose hour was added up, what comes later is a cluster of its own until it is settled, too.
        apart = {f"saved_{unit}_{end}" for unit in ("usd", "s") for end in ("low", "high")} | {"clusters"}
        by_rows = everything(plain, columns, since=since, until=until)
        same(by_rows, everything(log, columns, since=since, until=until), apart)
        settle(log)
        same(everything(plain, columns), everything(log, columns))
        assert not log.cursor().execute("select 1 from nearfar_log.outcome_rows").fetchall()
    finally:
        log.close()
        plain.close()


@settings(max_examples=settings.default.max_examples // 12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(1e-3, 1e7), min_size=1, max_size=60))
def test_a_quantile_is_within_its_accuracy(rows, values: list[float]) -> None:
    """Of any values, each quantile is that of the nearest rank, wrong by two per cent at most."""
    log = DecisionLog.open(Path(":memory:"))
    try:
        for n, value in enumerate(values):
            decision = rows["decision"](n)
            log.append(decision)
            log.append(rows["outcome"](decision.decision_id, latency_ms=value))
        log.flush()
        (row,) = log.reader().ask("summary")["rows"]
        ordered = sorted(values)
        for name, q in (("p50_ms", 0.5), ("p95_ms", 0.95)):
            exact = ordered[math.ceil(q * len(values)) - 1]
            assert pytest.approx(exact, rel=ACCURACY * 1.001) == row[name]
    finally:
        log.close()


def three(rows, log: DecisionLog, **other: Any) -> Any:
    """A decision between near (10 ms, $1), far (20 ms, $3) and dear (5 ms, unknown price), answered near."""
    slate = [
        rows["candidate"]("near", near=True, pred_ms=10.0, pred_cost_usd=1.0),
        rows["candidate"]("far", backend="remote", pred_ms=20.0, pred_cost_usd=3.0),
        rows["candidate"]("dear", backend="remote", pred_ms=5.0, pred_cost_usd=None),
    ]
    took, usd = other.pop("took", 12.0), other.pop("usd", 2.0)
    decision = rows["decision"](other.pop("nth", 1), candidates=slate, chosen="near", **other)
    log.append(decision)
    log.append(rows["attempt"](decision.decision_id, total_ms=took, cost_usd=usd, occupancy_ms=took))
    log.append(rows["outcome"](decision.decision_id, latency_ms=took + 1, overhead_ms=1.0, cost_usd=usd))
    return decision


def test_regret_is_against_the_best_other(log: DecisionLog, rows) -> None:
    """The fastest other in seconds, the cheapest known one in dollars; what answered is worth what was observed."""
    three(rows, log)
    log.flush()
    answer = log.reader().ask("regret")
    (row,) = answer["rows"]

    assert pytest.approx(0.007) == row["total_s"]  # 12 ms observed against 5 ms predicted
    assert 0.0 == row["total_usd"]  # $2 paid, the only other price is $3
    assert (1.0, 0.0, 0.0) == (row["faster_elsewhere"], row["cheaper_elsewhere"], row["better_elsewhere"])
    assert "predictions" in answer["note"]


def test_a_shadow_measures_what_was_only_predicted(log: DecisionLog, rows) -> None:
    """Where another candidate ran as well, its own time counts, and the row says that it was measured."""
    decision = three(rows, log)
    log.append(rows["attempt"](decision.decision_id, attempt=2, role="shadow", won=False, candidate_id="dear",
                               backend="remote", total_ms=11.0, cost_usd=0.5))  # fmt: skip
    log.flush()
    (row,) = log.reader().ask("regret")["rows"]

    assert pytest.approx(0.001) == row["total_s"]
    assert pytest.approx(1.5) == row["total_usd"]
    assert (1, 1.0) == (row["measured"], row["better_elsewhere"])


def test_regret_of_what_is_not_known_is_not_zero(log: DecisionLog, rows) -> None:
    """Neither the dollars where nobody knows what was paid, nor the seconds where no other has a prediction."""
    three(rows, log, usd=None)
    slate = [rows["candidate"]("near", near=True), rows["candidate"]("other", pred_ms=None)]
    decision = rows["decision"](2, candidates=slate)
    for row in (decision, rows["attempt"](decision.decision_id), rows["outcome"](decision.decision_id)):
        log.append(row)
    log.flush()
    (row,) = log.reader().ask("regret")["rows"]

    assert (2, 2, None, None) == (row["decisions"], row["unknown_usd"], row["total_usd"], row["cheaper_elsewhere"])
    assert row["p95_usd"] is None
    assert pytest.approx(7.0, rel=ACCURACY * 1.001) == row["p95_s"] * 1000
    with log.cursor() as con:
        found = con.execute(f"SELECT regret_ms FROM ({facts('FROM nearfar_log.hot')}) ORDER BY ts").fetchall()
    assert [(pytest.approx(7.0),), (None,)] == found


def test_whoever_failed_would_have_been_no_better(log: DecisionLog, rows) -> None:
    """A candidate that was tried in vain is no alternative, however fast it was thought to be."""
    decision = three(rows, log)
    log.append(rows["attempt"](decision.decision_id, attempt=2, status="error", won=False, candidate_id="dear",
                               backend="remote", total_ms=1.0))  # fmt: skip
    log.flush()

    assert 0.0 == log.reader().ask("regret")["rows"][0]["total_s"]


def test_savings_have_a_sign_and_leave_out_what_is_unknown(log: DecisionLog, rows) -> None:
    """Against near nothing, against far a dollar; `fastest` would have had no known price and `random` neither."""
    three(rows, log)
    log.flush()
    found = {row["baseline"]: row for row in log.reader().ask("savings")["rows"]}

    usd = {name: (row["saved_usd"], row["priced"], row["left_out"]) for name, row in found.items()}
    expected = {"all-near": (0.0, 1, 0), "all-far": (1.0, 1, 0), "cheapest": (0.0, 1, 0), "fastest": (None, 0, 1)}
    assert expected | {"random": (None, 0, 1)} == usd
    assert pytest.approx(-0.007) == found["fastest"]["saved_s"]  # we took longer
    assert pytest.approx((12 + 20 + 5) / 3 / 1000 - 0.012) == found["random"]["saved_s"]
    assert found["all-far"]["saved_usd_low"] is None  # of one cluster nothing can be said


def test_the_interval_of_savings_is_robust_to_clusters(log: DecisionLog, rows) -> None:
    """The half-width is that of a sum of clusters around their mean: wider than if decisions were independent."""
    differences = {"a": [1.0, 0.9, 1.1], "b": [-1.0, -0.8], "c": [0.5], None: [0.1]}
    differences |= {f"s{n}": [n / 10, n / 20] for n in range(16)}
    nth = 0
    for session, of_it in differences.items():
        for difference in of_it:
            nth += 1
            three(rows, log, nth=nth, usd=3.0 - difference, session=session)
    log.flush()
    found = {row["baseline"]: row for row in log.reader().ask("savings")["rows"]}["all-far"]
    everyone = [d for of_it in differences.values() for d in of_it]
    mean, clusters = fmean(everyone), len(differences)
    squares = sum((sum(of_it) - len(of_it) * mean) ** 2 for of_it in differences.values())
    half = 1.96 * math.sqrt(squares * clusters / (clusters - 1))

    assert pytest.approx(sum(everyone)) == found["saved_usd"]
    assert pytest.approx((sum(everyone) - half, sum(everyone) + half)) == (
        found["saved_usd_low"], found["saved_usd_high"])  # fmt: skip
    assert 20 == found["clusters"]


def test_of_few_clusters_savings_have_no_interval(log: DecisionLog, rows) -> None:
    """Two sessions are two observations, however many requests they made: normal quantiles would say far too much."""
    for nth in range(60):
        three(rows, log, nth=nth, usd=3.0 - nth / 60, session=f"s{nth % 19}")
    log.flush()
    found = {row["baseline"]: row for row in log.reader().ask("savings")["rows"]}["all-far"]

    assert (19, None, None) == (found["clusters"], found["saved_usd_low"], found["saved_s_high"])
    assert found["saved_usd"] is not None


def test_break_even_is_rate_over_price(log: DecisionLog, rows) -> None:
    """Requests per hour = the hour's rate / the far price; utilisation = these times the device time of one."""
    for nth in range(4):
        three(rows, log, nth=nth * 60_000_000, took=100.0, usd=0.0001)
    log.flush()
    (row,) = log.reader().ask("break-even", since=NOON, until=NOON + timedelta(hours=1))["rows"]

    assert pytest.approx(0.0001 / 0.1 * 3600) == row["rate_usd_per_hour"]  # $0.0001 for 0.1 s of the device
    assert pytest.approx(3.6 / 3.0) == row["break_even_per_hour"]
    assert pytest.approx(1.2 * 0.1 / 3600) == row["break_even_utilisation"]
    assert pytest.approx(4 * 0.1 / 3600) == row["utilisation"]


def test_time_before_the_log_and_still_to_come_is_not_idle(log: DecisionLog, rows) -> None:
    """Of a month asked for, the hour counts of which there is a log; of its own idle time all."""
    for hour in (0, 1):
        three(rows, log, nth=hour * 3_600_000_000, took=36_000.0)
    log.flush()
    long_ago, next_year = NOON - timedelta(days=30), datetime.now(UTC) + timedelta(days=365)
    (row,) = log.reader().ask("break-even", since=long_ago, until=NOON + timedelta(hours=2))["rows"]
    assert pytest.approx(0.01) == row["utilisation"]
    (row,) = log.reader().ask("break-even", since=NOON + timedelta(minutes=30), until=NOON + timedelta(hours=2))["rows"]
    assert pytest.approx(36 / 5400) == row["utilisation"]
    until_now = log.reader().ask("break-even", since=long_ago, until=next_year)["window_s"]
    assert until_now <= (datetime.now(UTC) - NOON).total_seconds()


def test_spending_that_nobody_knows_is_not_zero(log: DecisionLog, rows) -> None:
    """A day of far answers of unknown cost has no spending; requests that nobody answered are no far spending."""
    for nth, (backend, usd, status) in enumerate(
        [("remote", None, "ok"), (None, None, "refused"), (None, None, "error")]
    ):
        decision = rows["decision"](nth)
        log.append(decision)
        log.append(
            rows["outcome"](decision.decision_id, backend=backend, provider=backend, status=status, cost_usd=usd)
        )
    log.flush()
    (row,) = log.reader().ask("budgets")["rows"]

    assert (1, None, 1, None) == tuple(row[name] for name in ("requests", "spent_usd", "unknown_cost", "month_usd"))


def test_coverage_is_the_share_at_or_below(log: DecisionLog, rows) -> None:
    """Of four observations of a prediction, three lie at or below its 90th percentile, two at or below its median."""
    for nth, took in enumerate((5.0, 10.0, 14.0, 30.0)):
        slate = [rows["candidate"]("near", near=True, pred_ms=10.0, p90_ms=15.0)]
        decision = rows["decision"](nth, candidates=slate)
        log.append(decision)
        log.append(rows["attempt"](decision.decision_id, total_ms=took))
        log.append(rows["outcome"](decision.decision_id))
    log.flush()
    answer = log.reader().ask("estimate-error")
    (row,) = answer["rows"]

    assert (4, 0.5, 0.75, None) == (row["n"], row["within_p50"], row["within_p90"], row["within_p99"])
    assert [5.0, 10.0, 14.0, 30.0] == sorted(point["observed_ms"] for point in answer["sample"])
    assert pytest.approx(1.0, rel=ACCURACY * 1.001) == row["median_ratio"]


def test_the_whole_is_the_sum_of_its_steps(log: DecisionLog, rows) -> None:
    """A time series loses no request, whichever the step, and zooming in keeps what lies between."""
    for nth in range(90):
        decision = rows["decision"](nth * 60_000_000)
        log.append(decision)
        log.append(rows["outcome"](decision.decision_id, cost_usd=0.5))
    log.flush()
    settle(log)
    ask = log.reader().ask
    for step, count in (("minute", 90), ("hour", 2), ("day", 1)):
        series = ask("timeseries", step=step)["rows"]
        assert (count, 90, 45.0) == (len(series), *(sum(r[c] for r in series) for c in ("requests", "cost_usd")))
    zoomed = ask("timeseries", since=NOON + timedelta(minutes=10), until=NOON + timedelta(minutes=70), step="hour")
    assert [50, 10] == [row["requests"] for row in zoomed["rows"]]
    assert "minute" == ask("timeseries")["step"]


def test_minutes_are_of_two_days_at_most(log: DecisionLog, rows) -> None:
    """They are added up anew from every decision; without a range the log's own length counts."""
    for day in (0, 3):
        three(rows, log, nth=day * 86_400_000_000)
    log.flush()
    for span in ({}, {"since": NOON}, {"since": NOON, "until": NOON + timedelta(days=3)}):
        with pytest.raises(InvalidRequest, match="2 days") as error:
            log.reader().ask("timeseries", step="minute", **span)
        assert "step" == error.value.param
    assert log.reader().ask("timeseries", step="minute", until=NOON + timedelta(days=2))["rows"]


def test_a_question_that_takes_too_long_is_stopped(log: DecisionLog, rows) -> None:
    """And says so; others are answered as before."""
    three(rows, log)
    log.flush()
    with log.cursor() as con:
        con.execute("INSERT INTO nearfar_log.decision_rows BY NAME SELECT d.* REPLACE (uuid() AS decision_id) FROM "
                    "nearfar_log.decision_rows d, range(50000)")  # fmt: skip
    with pytest.raises(QueryRefused, match=r"savings ran longer than 0\.001 s"):
        log.reader().ask("savings", timeout_s=0.001)
    assert 50_001 == sum(row["requests"] for row in log.reader().ask("summary")["rows"])


@pytest.mark.parametrize(
    ("question", "options", "field"),
    [
        ("nonsense", {}, "question"),
        ("summary", {"by": "seq"}, "by"),
        ("break-even", {"by": "tenant"}, "by"),
        ("summary", {"step": "hour"}, "step"),
        ("timeseries", {"step": "week"}, "step"),
        ("summary", {"since": NOON, "until": NOON}, "until"),
        ("summary", {"since": datetime(9999, 12, 31, 23, 30, tzinfo=UTC)}, "since"),
        ("timeseries", {"until": datetime(9999, 12, 31, 23, 30, tzinfo=UTC)}, "until"),
    ],
)
def test_what_cannot_be_asked_names_the_field_and_the_alternatives(log: DecisionLog, question, options, field) -> None:
    """An unknown question, column, step, or an empty range is the sender's mistake."""
    with pytest.raises(InvalidRequest) as error:
        log.reader().ask(question, **options)
    assert field == error.value.param


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_column_of_an_answer_is_explained(log: DecisionLog, rows, name: str) -> None:
    """An answer says in words what each of its figures means, is JSON, and of an empty log is empty."""
    assert [] == log.reader().ask(name)["rows"]
    three(rows, log)
    log.flush()
    for by in QUESTIONS[name].by[:2]:
        answer = log.reader().ask(name, by=by, **({"step": "day"} if QUESTIONS[name].steps else {}))
        assert json.loads(json.dumps(answer)) == answer
        assert answer["rows"]
        assert set() == {column for row in answer["rows"] for column in row} - set(answer["columns"])
