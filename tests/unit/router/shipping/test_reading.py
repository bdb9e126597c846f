"""Shipped segments read as the log they came from: the same answers to everybody, whichever node decided."""

import contextlib
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from policies.types import Parameters
from router.decision_log.export import export
from router.decision_log.migrations import PUBLIC_VIEWS
from router.decision_log.questions import QUESTIONS
from router.decision_log.windows import Window
from router.errors import LogError, QueryRefused, SettingsError
from router.replay.replayed import Asked, Clock, replay
from router.sections import LogSettings, ShipSettings
from router.shipping import reading
from router.shipping.checking import checked
from router.shipping.compacting import compact
from router.shipping.places import place_of
from router.shipping.reading import Segments
from router.shipping.service import Shipping
from tests.e2e.command import here
from tests.unit.router.answers import rounded
from tests.unit.router.shipping.nodes import NOON, Node, ids_of

TENANTS = ("acme", None, "bravo")
RUN = "01890000-0000-7000-8000-00000000000a"


def filled(one: Node) -> Node:
    """Everything that a log can hold, half of it settled; all of it shipped."""
    one.began()
    ids = one.decided(7, tenants=TENANTS)
    one.compared("acme", RUN, ids[0])
    one.ship()
    one.settle()
    one.decided(5, hours=25, tenants=TENANTS)
    one.say(ids[0], int(NOON.timestamp()) * 10**6, value=1.0)
    one.ship()
    return one


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A node for all tests that only read."""
    folder = tmp_path_factory.mktemp("world")
    with contextlib.closing(Node(folder, str(folder / "shared"))) as one:
        yield filled(one)


@pytest.fixture(scope="module")
def segments(world):
    with contextlib.closing(Segments(world.place)) as opened:
        yield opened


@pytest.fixture
def own(node):
    """A node of a test's own."""
    return filled(node())


@pytest.fixture
def own_segments(own):
    with contextlib.closing(Segments(own.place)) as opened:
        yield opened


@pytest.mark.parametrize("sees", [None, "acme", ""])
def test_everybody_reads_what_the_log_says(world, segments, sees) -> None:
    """Every view, every question, every page, and replay's lines."""
    here_, there = world.log.reader(sees), segments.reader(sees)
    for view in PUBLIC_VIEWS:
        query = f"SELECT * FROM {view} ORDER BY ALL"
        assert here_.sql(query) == there.sql(query), view
    for name in QUESTIONS:
        assert rounded(here_.ask(name, since=NOON)) == rounded(there.ask(name, since=NOON)), name
    (rows, cursor), other = here_.decisions(limit=4), there.decisions(limit=4)
    assert (rows, cursor) == other
    for row in rows:
        assert here_.decision(row["decision_id"]) == there.decision(row["decision_id"])
    assert here_.comparisons() == there.comparisons()
    assert here_.comparison(RUN) == there.comparison(RUN)
    with here_.window(Window()) as (held, lines), there.window(Window()) as (held_there, lines_there):
        assert held == held_there
        assert list(lines) == list(lines_there)


@pytest.mark.slow
@pytest.mark.parametrize("sees", [None, "acme", ""])
def test_every_question_by_everything_is_answered_alike(world, segments, sees) -> None:
    """Of the whole log, and of a part of it that cuts through hours."""
    for name, question in QUESTIONS.items():
        for by in question.by:
            for since in (None, NOON + timedelta(microseconds=2500)):
                answers = [rounded(each.reader(sees).ask(name, by=by, since=since)) for each in (world.log, segments)]
                assert answers[0] == answers[1], (name, by, since)


def test_a_replay_is_the_same(world, segments) -> None:
    """From the first line to the last verdict."""
    asked = Asked(policy="fastest", given=Parameters(), baselines=True, deadline_ms=None, watched=False)

    assert replay(world.log.reader(), Window(), asked, Clock()) == replay(segments.reader(), Window(), asked, Clock())


def test_an_export_is_the_same(own, own_segments, tmp_path) -> None:
    """In every format."""
    own.close()
    for kind, read in {"parquet": "read_parquet", "csv": "read_csv", "jsonl": "read_json"}.items():
        mine, all_of_it = tmp_path / f"mine.{kind}", tmp_path / f"all.{kind}"
        assert 12 == own_segments.export(all_of_it, kind) == export(own.path, mine, kind)
        with duckdb.connect() as con:
            rows = [con.execute(f"FROM {read}('{file}') ORDER BY decision_id").fetchall() for file in (mine, all_of_it)]
        assert rows[0] == rows[1]


def test_nodes_are_read_as_one(node, shared) -> None:
    """Each row once; what all nodes name alike is there once too, and each start is one of its own."""
    ids = []
    for name in ("one", "two"):
        one = node(name)
        one.began()
        ids += one.decided(3)
        one.ship()
    with contextlib.closing(Segments(place_of(shared))) as segments:
        reader = segments.reader()
        assert sorted(ids) == ids_of(reader)
        assert [[1, 1, 2]] == reader.sql(
            "SELECT (SELECT count(*) FROM price_books), (SELECT count(*) FROM policies), (SELECT count(*) FROM nodes)"
        ).rows
        assert 6 == sum(row["requests"] for row in reader.ask("summary")["rows"])
        found = reader.decision(ids[0])

    assert found is not None
    assert found["price_book_body"] == {"local": {"carbon_g_per_kwh": 100}}


def test_inputs_stay_at_home(world, segments) -> None:
    """Nothing of them is in any file."""
    assert "inputs" not in {name.partition("/")[0].removeprefix("table=") for name in world.place.names()}
    assert segments.reader().inputs(ids_of(segments.reader())[0]) is None


def test_new_segments_are_found(own, own_segments, monkeypatch) -> None:
    """By readers that were there before; whoever reads meanwhile goes on with what it has."""
    before = own_segments.cursor()
    assert 12 == len(ids_of(own_segments.reader()))
    own.decided(1, hours=30)
    own.ship()
    monkeypatch.setattr(reading, "FRESH_S", -1.0)

    assert 13 == len(ids_of(own_segments.reader()))
    assert [(12,)] == before.execute("SELECT count(*) FROM decisions").fetchall()


def test_segments_of_an_older_version_lack_columns(own, own_segments, shared) -> None:
    """What nobody knew then is NULL, in rows and in what lies inside them; a newer one's columns are passed over."""
    name = next(name for name in own.place.names("decisions"))
    file = Path(shared, name)
    with duckdb.connect() as con:
        old = "[{'candidate_id': 'near', 'eligible': true}] AS candidates"
        con.execute(f"""
            COPY (SELECT * EXCLUDE (catalog, tenant) REPLACE ({old}), 1 AS later
            FROM read_parquet('{file}', hive_partitioning = false)) TO '{file}' (FORMAT parquet)""")
    reader = own_segments.reader()
    rows = reader.sql("SELECT tenant, catalog, decision_id::VARCHAR FROM decisions ORDER BY ts LIMIT 7").rows
    found = reader.decision(rows[0][2])

    assert {(None, None)} == {(tenant, catalog) for tenant, catalog, _ in rows}
    assert [("near", None)] == [(one["candidate_id"], one["propensity"]) for one in found["candidates"]]


def test_a_place_with_nothing_in_it_is_an_empty_log(tmp_path) -> None:
    """Nobody has shipped yet."""
    with contextlib.closing(Segments(place_of(str(tmp_path)))) as segments:
        assert [] == ids_of(segments.reader())
        assert [] == segments.reader().ask("summary")["rows"]


def test_a_place_that_is_away_is_said_to_be(tmp_path) -> None:
    """By its reader, without its path."""
    with contextlib.closing(Segments(place_of(str(tmp_path / "gone")))) as segments, pytest.raises(LogError) as raised:
        segments.reader().decisions()

    assert str(tmp_path) not in str(raised.value)


def test_queries_of_users_reach_segments_and_no_other_file(world, segments, tmp_path) -> None:
    """Neither by name nor by a function, whoever asks."""
    for sees in (None, "acme"):
        for query in (
            f"SELECT * FROM read_parquet('{tmp_path}/**/*.parquet')", "SELECT * FROM nearfar_log.decision_rows",
            f"SELECT * FROM '{next(Path(world.place.root).rglob('*.parquet'))}'",
        ):  # fmt: skip
            with pytest.raises(QueryRefused):
                segments.reader(sees).sql(query)
    with contextlib.closing(segments.cursor()) as con, pytest.raises(duckdb.PermissionException):
        con.execute(f"SELECT * FROM read_text('{__file__}')")


@pytest.mark.parametrize("url", ["memory://cluster/log", "file://{}/cluster/log"])
def test_a_store_of_fsspec_holds_segments_too(node, tmp_path, url) -> None:
    """One in which files are there at once, and one in which they are not; of others it is fsspec that promises."""
    MemoryFileSystem.store.clear()
    place = place_of(url.format(tmp_path))
    one = node(to=place)
    for hours in range(3):
        one.decided(2, hours=hours)
        one.ship()
        one.ship()
    with contextlib.closing(Segments(place)) as segments:
        assert 6 == len(ids_of(segments.reader()))
    assert 15 == compact(place).joined
    assert 15 == compact(place, grace_s=0).deleted
    with contextlib.closing(Segments(place)) as segments:
        assert 6 == len(ids_of(segments.reader()))
    assert [] == [each for each in checked(place) if each.missing or each.doubled]
    assert 5 == len(place.names())
    assert [] == place.unfinished()
    MemoryFileSystem.store.clear()


def test_a_store_that_nobody_knows_is_refused() -> None:
    """At the start, with what to do."""
    with pytest.raises(SettingsError, match=r"nearfar\[segments\]"):
        place_of("no-such-store://bucket")


def test_pages_are_answered_from_all_nodes_where_that_is_set(node, tmp_path, shared) -> None:
    """And refused to start where nobody says where they are."""
    one, two = node("one"), node("two")
    for each in (one, two):
        each.decided(2)
        each.ship()
    shipping = Shipping(LogSettings(ship=ShipSettings(to=shared), read_from="segments"), one.log)
    assert 4 == len(ids_of(shipping.reader(None)))
    assert 2 == len(ids_of(one.log.reader()))
    shipping.close()
    with pytest.raises(SettingsError, match=r"log\.ship\.to"):
        Shipping(LogSettings(read_from="segments"), one.log)


def test_commands_read_what_was_shipped(node, tmp_path, shared) -> None:
    """Also while servers own the logs: `--from` needs none of them."""
    for name in ("one", "two"):
        one = node(name)
        one.decided(3)
        one.ship()
    report = here(tmp_path, "report", "--from", shared, "--json")
    replayed = here(tmp_path, "replay", "--policy", "all-near", "--from", shared, "--json")
    exported = here(tmp_path, "export", "all.parquet", "--from", shared, "--json")
    explained = here(tmp_path, "explain", "--from", shared, "--json")
    checked = here(tmp_path, "log", "check", shared)

    assert [0] * 5 == [done.exit_code for done in (report, replayed, exported, explained, checked)]
    assert '"requests": 6' in report.stdout
    assert '"requests": 6' in replayed.stdout
    assert '"decisions": 6' in exported.stdout
    assert [] == [path.name for path in tmp_path.iterdir() if path.name.startswith("nearfar")]


def test_check_fails_where_a_row_is_missing(node, tmp_path, shared) -> None:
    """A file that somebody deleted is told by the numbers it held."""
    one = node()
    for hours in range(3):
        one.decided(2, hours=hours)
        one.ship()
    middle = sorted(one.place.names("decisions"), key=lambda name: int(name.split("-")[-2]))[1]
    one.place.remove(middle)
    done = here(tmp_path, "log", "check", shared)

    assert 1 == done.exit_code
    assert "1..6" in done.stdout


def test_a_segment_that_cannot_be_read_is_said_to_be(own, own_segments) -> None:
    """Without where it lies."""
    Path(own.place.root, own.place.names("decisions")[0]).write_bytes(b"no Parquet")
    with pytest.raises(LogError, match="The shipped segments cannot be read") as raised:
        own_segments.reader().decisions()

    assert str(own.place.root) not in str(raised.value)


def test_a_command_says_that_the_place_is_away(tmp_path) -> None:
    """One line, no path."""
    done = here(tmp_path, "report", "--from", str(tmp_path / "gone"))

    assert 1 == done.exit_code
    assert "The folder of shipped segments is not there." in done.stderr
