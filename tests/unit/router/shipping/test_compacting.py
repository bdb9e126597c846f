"""Joined segments hold what was in them: whoever reads, before, meanwhile or after, finds every row once."""

import contextlib
import os
import shutil
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from router.errors import LogError
from router.shipping import reading
from router.shipping.checking import checked
from router.shipping.compacting import compact
from router.shipping.names import segments_of, visible
from router.shipping.places import Folder
from router.shipping.reading import Segments
from tests.e2e.command import here
from tests.unit.router.shipping.nodes import ids_of


def shipped(one, rounds: int = 4, *, hours: float = 0) -> list[str]:
    """Decisions of one day, in as many segments."""
    ids = []
    for nth in range(rounds):
        ids += one.decided(2, hours=hours + nth)
        one.ship()
    return sorted(ids)


def whole(one) -> bool:
    return all(each.missing == each.doubled == 0 for each in checked(one.place))


def test_segments_of_a_past_day_become_one(node) -> None:
    """One of each table; a second run has nothing to join, and deletes the small ones once they are old enough."""
    one = node()
    ids = shipped(one)
    small = one.place.names()
    done = compact(one.place)

    assert (20, 5, 5) == (done.joined, done.into, done.left)
    assert set(small) < set(one.place.names())  # readers may have a list in which they stand
    assert (0, 0) == (compact(one.place).joined, compact(one.place).deleted)
    assert 20 == compact(one.place, grace_s=0).deleted
    assert 5 == len(one.place.names())
    assert whole(one)
    with contextlib.closing(Segments(one.place)) as segments:
        assert ids == ids_of(segments.reader())


def test_today_is_left_alone(node) -> None:
    """Its segments still come."""
    one = node()
    shipped(one)

    assert 0 == compact(one.place, before=date(2025, 10, 9)).joined
    assert 20 == compact(one.place, before=date(2025, 10, 10)).joined


def test_a_segment_that_comes_late_is_joined_later(node, tmp_path) -> None:
    """It was cut off while its neighbours were joined: nobody may take it for a part of them."""
    one = node()
    ids = shipped(one, 5)
    late = sorted(one.place.names("decisions"), key=lambda name: int(name.split("-")[-2]))[2]
    kept = shutil.copy(Path(one.place.root, late), tmp_path / "kept")
    one.place.remove(late)
    compact(one.place)
    one.place.put(kept, late)
    with contextlib.closing(Segments(one.place)) as segments:
        assert ids == ids_of(segments.reader())
    compact(one.place)

    assert 1 == len(visible(segments_of(one.place.names("decisions"))))
    assert whole(one)


def test_what_is_too_old_goes_and_what_it_names_stays(node) -> None:
    """Days by the rows' own time; prices, policies and starts are kept for the rows that are left."""
    one = node()
    one.began()
    shipped(one, 2)
    today = (datetime.now(UTC).replace(tzinfo=None) - datetime(2025, 10, 9, 12)).total_seconds() / 3600  # noqa: DTZ001
    ids = shipped(one, 1, hours=today)
    done = compact(one.place, keep_days=1)

    assert done.expired > 0
    assert {"price_books", "policies", "nodes"} <= {segment.table for segment in segments_of(one.place.names())}
    with contextlib.closing(Segments(one.place)) as segments:
        assert ids == ids_of(segments.reader())
    assert not [path for path in Path(one.place.root).rglob("date=2025-10-09") if "table=decisions" in str(path)]


def test_readers_find_every_row_once_while_segments_are_joined_and_deleted(node, monkeypatch) -> None:
    """Whoever has looked since they were joined needs the small ones no more."""
    one = node()
    ids = shipped(one, 6)
    monkeypatch.setattr(reading, "FRESH_S", -1.0)
    ended, looked, wrong = threading.Event(), threading.Semaphore(0), []

    def read() -> None:
        with contextlib.closing(Segments(one.place)) as segments:
            while not ended.is_set():
                if (found := ids_of(segments.reader())) != ids:
                    wrong.append(found)
                looked.release()

    def look() -> None:
        """Wait until the reader has begun and ended to look once more."""
        while looked.acquire(blocking=False):
            pass
        assert all(looked.acquire(timeout=120) for _ in range(2))

    reader = threading.Thread(target=read)
    reader.start()
    look()
    assert 30 == compact(one.place).joined
    look()
    assert 30 == compact(one.place, grace_s=0).deleted
    look()
    ended.set()
    reader.join(120)

    assert [] == wrong


def test_a_run_that_is_cut_short_leaves_nothing_wrong(node, monkeypatch) -> None:
    """At each of its steps: whatever is there then is read right, and the next run ends the work."""
    one = node()
    ids = shipped(one, 3)
    steps = 0

    class Cut(Exception):
        pass

    def cutting(at: int) -> None:
        done = iter(range(10**6))

        def step(call):
            def stepped(*args, **kwargs):
                if next(done) == at:
                    raise Cut
                return call(*args, **kwargs)

            return stepped

        with pytest.MonkeyPatch.context() as patched:
            for name in ("fsync", "replace", "unlink"):
                patched.setattr(os, name, step(getattr(os, name)))
            compact(one.place, grace_s=0)

    while True:
        try:
            cutting(steps)
            break
        except Cut:
            steps += 1
        with contextlib.closing(Segments(one.place)) as segments:
            assert ids == ids_of(segments.reader())
    compact(one.place, grace_s=0)

    assert steps > 3
    assert whole(one)
    assert 5 == len(visible(segments_of(one.place.names())))


def test_what_a_killed_copy_left_is_swept_when_it_is_old(node) -> None:
    """Not before: somebody may be at it."""
    one = node()
    shipped(one, 1)
    folder = Path(one.place.root, one.place.names()[0]).parent
    left, fresh = folder / ".old.parquet.part", folder / ".fresh.parquet.part"
    for file in (left, fresh):
        file.write_bytes(b"half")
    long_ago = left.stat().st_mtime - 2 * 86_400
    os.utime(left, (long_ago, long_ago))
    names = one.place.names()
    compact(one.place)

    assert [fresh] == [Path(one.place.root, name) for name in one.place.unfinished()]
    assert names == one.place.names()


def test_a_segment_that_cannot_be_read_is_named(node) -> None:
    """By its table and day; nothing is deleted."""
    one = node()
    shipped(one, 2)
    names = one.place.names()
    Path(one.place.root, one.place.names("decisions")[0]).write_bytes(b"no Parquet")
    with pytest.raises(LogError, match=r"^Segments of decisions on 2025-10-09 cannot be joined"):
        compact(one.place)

    assert set(names) <= set(one.place.names())


def test_the_command_compacts(node, tmp_path, shared) -> None:
    """And says what it did."""
    one = node()
    shipped(one)
    done = here(tmp_path, "log", "compact", shared, "--json")
    told = here(tmp_path, "log", "compact", shared)

    assert (0, 0) == (done.exit_code, told.exit_code)
    assert '"joined": 20' in done.stdout
    assert "0 segments joined into 0" in told.stdout
    with duckdb.connect() as con:
        files = [
            str(Path(shared, segment.name)) for segment in visible(segments_of(Folder(Path(shared)).names("decisions")))
        ]
        assert [(8,)] == con.execute("SELECT count(*) FROM read_parquet(?)", [files]).fetchall()


def test_the_command_ships_what_waits(node, tmp_path, shared) -> None:
    """For a node that serves no more."""
    one = node()
    one.decided(3)
    one.close()
    folder = one.path.parent
    done = here(folder, "log", "ship", "--json", NEARFAR_LOG__SHIP__TO=shared, NEARFAR_LOG__PATH=str(one.path))
    nowhere = here(folder, "log", "ship", NEARFAR_LOG__PATH=str(one.path))

    assert 0 == done.exit_code
    assert '"rows": 16' in done.stdout
    assert 1 == nowhere.exit_code
    assert "log.ship.to" in nowhere.stderr
    assert whole(one)
