"""What leaves a log: every row once, late ones too, and nothing is forgotten here before it has."""

import contextlib
import math
import threading
from pathlib import Path

import pytest

from router.decision_log.keeping import Keeper
from router.decision_log.log import DecisionLog
from router.decision_log.record import OutcomeRow
from router.decision_log.retention import Retention
from router.sections import LogSettings, ShipSettings
from router.shipping import staging
from router.shipping.checking import checked
from router.shipping.names import segments_of
from router.shipping.places import Away, Folder
from router.shipping.reading import Segments
from router.shipping.service import Shipping
from tests.unit.decision_log.conftest import NOON_US, make_attempt, make_outcome
from tests.unit.router.shipping.nodes import HOUR_US, LATER, ids_of


def counted(one) -> dict[str, int]:
    """Rows by table; each is there once."""
    found = checked(one.place)
    assert [] == [each for each in found if each.missing or each.doubled]
    return {each.table: each.rows for each in found}


def read(one, query: str) -> list:
    with contextlib.closing(Segments(one.place)) as segments:
        return segments.reader().sql(query, max_rows=10_000).rows


def test_every_table_travels(node) -> None:
    """All that is read of a log: decisions with what became of them, what was said, what they name, comparisons."""
    one = node()
    one.began()
    ids = one.decided(3)
    one.compared("acme", ids[0], ids[0])
    one.ship()

    assert {
        "decisions": 3, "attempts": 5, "outcomes": 3, "feedback": 3, "shadows": 2, "price_books": 1, "policies": 1,
        "nodes": 1, "compare_runs": 2, "compare_trials": 2,
    } == counted(one)  # fmt: skip


def test_shipping_again_ships_nothing(node) -> None:
    """Neither at once nor after a restart."""
    one = node()
    one.decided(3)
    one.ship()
    there = one.place.names()
    one.ship()
    one.close()
    again = node()
    again.ship()

    assert there == again.place.names()
    assert (0, 0) == (again.shipper.state().rows, again.shipper.state().segments)
    assert [] == list(Path(f"{again.path}.segments").rglob("*.parquet"))


def test_numbers_go_on_after_a_restart_and_after_settling(node) -> None:
    """Settled decisions have left the tables that count; the next rows come after them all the same."""
    for _ in range(3):
        one = node()
        one.decided(2)
        one.ship()
        one.settle()
        assert 0 == one.count("decision_rows")
        one.close()

    assert {(1, 6)} == {(each.first, each.last) for each in checked(one.place) if each.table == "decisions"}
    assert 6 == counted(one)["decisions"]


def test_what_was_not_shipped_is_not_settled_and_not_deleted(node) -> None:
    """Whatever its age: retention comes second."""
    one = node()
    one.decided(2)
    keeper = Keeper(one.log.cursor, Retention(days=1, until_shipped=True))
    with contextlib.closing(one.log.cursor()) as con:
        one.log.flush()
        assert (0, 0) == (keeper.settle(con, LATER, at_least=1), keeper.forget(con, LATER))
        assert (2, 2) == (one.count("decision_rows"), one.count("feedback"))
        one.ship()
        assert 2 == keeper.settle(con, LATER, at_least=1)
        while keeper.forget(con, LATER):
            pass

    assert (0, 0, 0) == (one.count("settled"), one.count("decision_rows"), one.count("feedback"))
    assert 2 == counted(one)["decisions"]


def test_a_log_that_is_not_shipped_settles_and_forgets_as_ever(node) -> None:
    """Its rows have no numbers, and wait for nobody."""
    one = node(retention=Retention(days=1))
    one.decided(2)
    one.log.flush()
    keeper = Keeper(one.log.cursor, Retention(days=1))
    with contextlib.closing(one.log.cursor()) as con:
        assert [(None,)] == con.execute("SELECT DISTINCT arrival FROM nearfar_log.decision_rows").fetchall()
        assert 2 == keeper.settle(con, LATER, at_least=1)


def test_what_comes_after_a_decision_was_settled_arrives_once(node) -> None:
    """A shadow's attempt, and an end: the decision is taken back here, and its rows are not shipped again."""
    one = node()
    first, second = one.decision(NOON_US), one.decision(NOON_US + 1)
    one.log.append(first)
    one.log.append(make_outcome(first.decision_id))
    one.log.append(second)
    one.ship()
    assert 2 == one.settle(LATER)  # the second one as lost
    one.log.append(make_attempt(first.decision_id))
    one.log.append(make_outcome(second.decision_id, ts_us=NOON_US + 9))
    one.log.append(one.decision(NOON_US + 2))
    one.ship()
    one.settle(LATER)
    one.ship()

    assert {"decisions": 3, "attempts": 1, "outcomes": 2} == counted(one)
    query = "SELECT decision_id::VARCHAR, status, (SELECT count(*) FROM attempts a WHERE a.decision_id = d.decision_id) FROM decisions d ORDER BY 1"  # noqa: E501
    assert one.log.reader().sql(query).rows == read(one, query)


def test_rows_that_may_come_twice_are_numbered_once(node) -> None:
    """A spilled row that was committed before its process died takes no number of its own."""
    one = node()
    one.decided(2)
    one.log.flush()
    with contextlib.closing(one.log.cursor()) as con:
        (row,) = con.execute("SELECT decision_id::VARCHAR FROM nearfar_log.outcome_rows LIMIT 1").fetchall()
    one.log._in_doubt = True
    one.log.append(make_outcome(row[0]))
    one.log.append(make_outcome(one.decision(NOON_US).decision_id))
    one.ship()

    assert 3 == counted(one)["outcomes"]


def test_a_refused_row_takes_no_number(node) -> None:
    """It never came; the others of its commit did."""
    one = node()
    one.decided(1)
    one.log.append(OutcomeRow(decision_id="no id", ts_us=1, status="ok", error_class=None, error=None, cost_usd=None,
        cost_source="unknown"))  # fmt: skip
    one.decided(1)
    one.ship()

    assert 1 == one.log.stats().rejected
    assert 2 == counted(one)["outcomes"]


def test_a_log_from_before_it_was_shipped(node) -> None:
    """What later decisions name is shipped with them; decisions of that time stay where they are."""
    one = node(retention=Retention())
    one.began()
    one.decided(2)
    one.log.flush()
    one.close()
    one = node()
    one.decided(1, hours=1)
    one.ship()

    assert {"decisions": 1, "price_books": 1, "policies": 1, "nodes": 1} == {
        name: rows for name, rows in counted(one).items() if name in {"decisions", "price_books", "policies", "nodes"}
    }
    assert 3 == len(ids_of(one.log.reader()))


def test_rows_of_two_days_lie_under_their_own(node) -> None:
    """A day is that of the row, UTC; a round that has rows of both writes both."""
    one = node()
    one.decided(2, hours=12 - 500 / HOUR_US)  # the second one is after midnight
    one.ship()
    days = {(each.table, each.date): each for each in segments_of(one.place.names())}

    assert {"2025-10-09", "2025-10-10"} == {date for table, date in days if table == "decisions"}
    assert 2 == counted(one)["decisions"]


def test_many_rows_are_taken_in_portions(node, monkeypatch) -> None:
    """As many rounds as it takes, each with neighbours of the ones before."""
    monkeypatch.setattr(staging, "AT_ONCE", 2)
    monkeypatch.setattr("router.shipping.shipper._MANY", 1)
    one = node()
    one.decided(5)
    one.ship()

    assert [(1, 2), (3, 4), (5, 5)] == [
        (each.first, each.last) for each in segments_of(one.place.names()) if each.table == "decisions"
    ]
    assert 5 == counted(one)["decisions"]


def test_while_the_place_is_away_rows_wait_and_are_shipped_when_it_is_back(node, tmp_path) -> None:
    """They wait as files beside the log, so it settles and forgets; how late that is can be told."""
    one = node(to=str(tmp_path / "mount" / "shared"))
    for _ in range(2):
        one.decided(2)
        with pytest.raises(Away, match=r"^The folder of shipped segments: No such file or directory\.$"):
            one.ship()
        assert 2 == one.settle()
    state = one.shipper.state()
    assert (0, 10) == (state.segments, state.waiting_segments)
    assert state.waiting_bytes == sum(file.stat().st_size for file in Path(f"{one.path}.segments").rglob("*.parquet"))
    (tmp_path / "mount").mkdir()
    one.ship()

    assert 4 == counted(one)["decisions"]
    assert (10, 0, 0) == (
        one.shipper.state().segments,
        one.shipper.state().waiting_segments,
        one.shipper.state().waiting_bytes,
    )


def test_what_waits_is_bounded_and_the_rest_stays_in_the_log(node, tmp_path) -> None:
    """Nothing is lost when the disk's share is used up: it comes later."""
    one = node(to=str(tmp_path / "mount" / "shared"), most_waiting_bytes=1)
    one.decided(2)
    with pytest.raises(Away):
        one.ship()
    one.decided(2, hours=1)
    with pytest.raises(Away):
        one.ship()
    assert (2, 2) == (one.settle(), one.count("decision_rows"))  # what is in files is settled
    (tmp_path / "mount").mkdir()
    one.ship()  # what waits makes room
    one.ship()

    assert 4 == counted(one)["decisions"]


def test_lag_is_told_by_its_thread_and_ends(node, tmp_path) -> None:
    """The thread goes on by itself; nobody else waits for it."""
    one = node(to=str(tmp_path / "mount" / "shared"), every_s=0.01)
    one.decided(1)
    one.log.flush()
    failed, shipped = threading.Event(), threading.Event()
    whole = one.shipper.ship

    def ship() -> None:
        try:
            whole()
        except Away:
            failed.set()
            raise
        shipped.set()

    one.shipper.ship = ship
    one.shipper.start()
    assert failed.wait(60)
    (tmp_path / "mount").mkdir()
    assert shipped.wait(120)
    one.decided(1, hours=1)
    one.shipper.close()

    assert 2 == counted(one)["decisions"]
    assert one.shipper.state().failed >= 1
    assert one.shipper.state().error is None


def test_a_service_without_settings_ships_nothing_and_reads_the_log(tmp_path) -> None:
    """Nobody asked for it."""
    log = DecisionLog.open(tmp_path / "nearfar.duckdb")
    shipping = Shipping(LogSettings(), log)
    shipping.start()
    assert (None, None) == (shipping.state(), shipping.problem())
    assert [] == ids_of(shipping.reader(None))
    shipping.close()
    log.close()


def test_a_service_says_what_is_wrong(tmp_path) -> None:
    """A place that cannot be reached is a sentence for whoever looks at the router's health."""
    log = DecisionLog.open(tmp_path / "nearfar.duckdb", retention=Retention(until_shipped=True))
    log._keeper._next_s = math.inf
    settings = ShipSettings(to=str(tmp_path / "mount" / "shared"), every_s=0.01)
    shipping = Shipping(LogSettings(ship=settings), log)
    log.append(make_outcome("01890000-0000-7000-8000-000000000000"))
    log.flush()
    assert shipping.problem() is None
    assert not shipping._shipper._round()
    problem = shipping.problem()
    shipping.close()
    log.close()

    assert "The folder of shipped segments: No such file or directory." in problem
    assert str(tmp_path) not in problem


def test_a_folder_is_as_open_as_it_was_made(node, tmp_path) -> None:
    """Whoever reads a shared folder is not always who writes there."""
    (tmp_path / "open").mkdir(mode=0o750)
    (tmp_path / "open").chmod(0o750)
    one = node(to=str(tmp_path / "open"))
    one.decided(1)
    one.ship()
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "open").rglob("*")}

    assert {0o750, 0o640} == modes


def test_a_file_that_is_there_stays_as_it_is(tmp_path) -> None:
    """A name is never written twice."""
    folder = Folder(tmp_path / "to")
    for text in ("first", "second"):
        (tmp_path / "from").write_text(text)
        folder.put(tmp_path / "from", "a/b.parquet")

    assert "first" == (tmp_path / "to/a/b.parquet").read_text()
    assert ["a/b.parquet"] == folder.names()
