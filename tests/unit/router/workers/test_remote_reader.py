"""Every question that a worker asks has the answer that the log itself gives, for everybody and for one tenant."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from router.decision_log import judgements
from router.decision_log.queries import LogReader
from router.decision_log.record import (
    CatalogRow,
    FeedbackRow,
    InputRow,
    PolicyRow,
    PredictorRow,
    PriceBookRow,
    ShadowRow,
)
from router.decision_log.windows import Window
from router.editing import snapshots
from router.errors import InvalidRequest, LogError, QueryRefused
from router.workers import owner
from router.workers.remote_reader import RemoteReader
from tests.unit.decision_log.conftest import make_attempt, make_candidate, make_decision, make_outcome
from tests.unit.router.workers.conftest import Relay, decided, made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from router.decision_log.taking import Log
    from tests.unit.router.workers.conftest import World

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
NOW_US = int(datetime.now(UTC).timestamp() * 1e6)
IDS = [f"0199c8f0-0000-7000-8000-{n:012d}" for n in range(12)]


def filled(log: Log) -> None:
    """Two tenants' decisions with everything that there can be of one."""
    log.append(PriceBookRow(price_book="b1", ts_us=1, body='{"local": {"carbon_g_per_kwh": 100}}'))
    log.append(PolicyRow(policy_version="p1", policy="latency", ts_us=1, body="{}"))
    log.append(CatalogRow(catalog="c1", ts_us=1, author=None, change="started", body='{"overlay": {}}'))
    log.append(PredictorRow(candidate_id="far", ts_us=1, state="[1.5]"))
    for n, decision_id in enumerate(IDS):
        tenant, at = ("acme", "bravo")[n % 2], NOW_US + n
        slate = [make_candidate(), make_candidate("far", backend="remote", pred_cost_usd=0.25)]
        log.append(
            make_decision(n + 1, decision_id=decision_id, ts_us=at, tenant=tenant, candidates=slate, chosen="far")
        )
        far = {"candidate_id": "far", "backend": "remote", "provider": "dear", "ts_us": at, "cost_usd": 0.1 * n}
        log.append(make_attempt(decision_id, **far, confidence=0.5, energy_j=3.0))
        log.append(make_outcome(decision_id, ts_us=at, cost_usd=0.1 * n))
        log.append(InputRow(decision_id=decision_id, ts_us=at, tenant=tenant, body='["hi"]'))
        log.append(FeedbackRow(decision_id=decision_id, ts_us=at, source="user", metric="score", value=n / 12))
    log.append(ShadowRow(decision_id=IDS[0], attempt=1, ts_us=NOW_US, candidate_id="near", reference="far",
                         metric="exact", agreement=0.5))  # fmt: skip
    log.flush()


def windowed(reader: LogReader) -> Any:
    with reader.window(Window(since=LONG_AGO.replace(tzinfo=None), max_rows=7)) as (found, lines):
        return found, list(lines)


ASKED: dict[str, Callable[[LogReader], Any]] = {
    "decisions": lambda reader: reader.decisions(limit=3),
    "decisions of a model": lambda reader: reader.decisions(model="mini", since=LONG_AGO, limit=4),
    "next page": lambda reader: reader.decisions(limit=2, cursor=reader.decisions(limit=2)[1]),
    "decision": lambda reader: reader.decision(IDS[0]),
    "no decision": lambda reader: reader.decision("nobody's"),
    "inputs": lambda reader: reader.inputs(IDS[0]),
    "predictors": lambda reader: reader.predictors(),
    "comparisons": lambda reader: reader.comparisons(),
    "no comparison": lambda reader: reader.comparison(IDS[0]),
    "compared": lambda reader: reader.compared(IDS[0]),
    "ask": lambda reader: reader.ask("summary", by="model", timeout_s=30),
    "spent": lambda reader: reader.spent(datetime.now(UTC) - timedelta(days=2)),
    "judged": lambda reader: judgements.judged(reader, IDS[0], "user"),
    "agreement": lambda reader: judgements.agreement_sums(reader, None),
    "feedback": lambda reader: judgements.feedback_sums(reader, None),
    "pairs": lambda reader: judgements.pair_rows(reader, 5),
    "catalog": lambda reader: (snapshots.latest(reader), snapshots.listed(reader, 5, 0), snapshots.one(reader, "c1")),
    "sql": lambda reader: reader.sql("SELECT seq, cost_usd, ts FROM decisions ORDER BY seq", max_rows=5),
    "window": windowed,
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A log with everything in it; what follows only asks."""
    with made(tmp_path_factory.mktemp("told")) as world:
        world.own()
        filled(world.worker())
        yield world


@pytest.mark.parametrize("sees", [None, "acme", "bravo", "nobody", ""])
@pytest.mark.parametrize("question", ASKED)
def test_an_answer_is_the_log_s_own(told: World, question: str, sees: str | None) -> None:
    """Types and all: what JSON would flatten comes as it was."""
    assert told.log is not None
    ask = ASKED[question]
    direct, remote = ask(told.log.reader(sees)), ask(RemoteReader(told.socket, sees))

    assert direct == remote
    assert type(direct) is type(remote)


def test_recent_attempts_are_as_old_as_they_are(told: World) -> None:
    """The same ones, and no younger for having been asked later."""
    assert told.log is not None
    direct, remote = (reader.recent_attempts(3600) for reader in (told.log.reader(), RemoteReader(told.socket)))

    assert [each[:2] for each in direct] == [each[:2] for each in remote] == [("far", None)] * 12
    assert all(before[2] <= after[2] for before, after in zip(direct, remote, strict=True))


def test_every_question_goes_to_the_owner() -> None:
    """A method that `LogReader` gets must be asked from afar as well: it would have no database to ask here."""
    public = {name for name, _ in inspect.getmembers(LogReader, inspect.isfunction) if not name.startswith("_")}

    assert public == {name for name in vars(RemoteReader) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("ask", "error", "says"),
    [
        (lambda reader: reader.sql("DELETE FROM decisions"), QueryRefused, "SELECT"),
        (lambda reader: reader.sql("SELECT * FROM nearfar_log.inputs"), QueryRefused, "nearfar_log.inputs"),
        (lambda reader: reader.ask("summary", by="seq"), InvalidRequest, "seq"),
        (lambda reader: reader.decisions(cursor="nonsense!"), InvalidRequest, "cursor"),
    ],
)
def test_a_refusal_is_the_log_s_own(told: World, ask, error, says) -> None:
    """Its kind, its words, and the field that is at fault."""
    assert told.log is not None
    raised = []
    for reader in (told.log.reader(), RemoteReader(told.socket)):
        with pytest.raises(error, match=says) as refused:
            ask(reader)
        raised.append((type(refused.value), str(refused.value), refused.value.param))

    assert raised[0] == raised[1]


def test_an_owner_that_ends_in_the_middle_of_an_answer_gives_none(world: World, monkeypatch) -> None:
    """Half of a window is no window."""
    monkeypatch.setattr(owner, "LINES_AT_ONCE", 1)
    world.own()
    filled(world.worker())
    between = Relay(world.socket, world.socket.with_name("relay"), after=lambda: 4000)
    came: list[str] = []

    def take() -> None:
        with RemoteReader(between.path).window(Window()) as (_, lines):
            came.extend(lines)

    with pytest.raises(LogError, match="ended"):
        take()

    assert 0 < len(came) < 12


def test_whoever_stops_reading_frees_the_owner(world: World) -> None:
    """A replay that was given up leaves no question under way, though the socket held a part of its answer only."""
    world.own()
    log = world.worker()
    decided(log, 2000)
    log.flush()
    with RemoteReader(world.socket).window(Window()) as (_, lines):
        next(lines)
    log.close()

    assert world._owner is not None
    assert world._owner.alone(30)
