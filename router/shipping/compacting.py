"""Few large segments instead of many small ones, and none that are too old. May be cut short and begun again anywhere.

Neighbours are joined in one more segment, whose range holds theirs: from the moment it is there, whole, readers read it
in their place. They themselves are deleted by a later run, when no reader can have a list any more in which they stand.
"""

from __future__ import annotations

import contextlib
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from msgspec import Struct

from router.decision_log.arrivals import COLUMN, SNAPSHOTS
from router.decision_log.migrations import first_line
from router.decision_log.tenancy import literal
from router.errors import LogError
from router.shipping.names import joined, neighbours, segments_of, visible
from router.shipping.staging import write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from router.shipping.names import Segment
    from router.shipping.places import Place

GRACE_S = 900.0
"""How long joined segments stay: longer than any question takes."""
UNFINISHED_S = 86_400.0
_CONFIG: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


class Compacted(Struct, frozen=True, kw_only=True):
    """What a run did, and how many segments there are to read after it."""

    joined: int
    into: int
    rows: int
    deleted: int  # those joined by an earlier run
    expired: int
    left: int


def compact(
    place: Place,
    *,
    before: date | None = None,
    keep_days: int | None = None,
    grace_s: float = GRACE_S,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Compacted:
    """Join the segments of past days, and delete what is too old.

    Args:
        place: Where they lie.
        before: Only days before this one are joined; without, those before today.
        keep_days: How many days before today are kept; None keeps all. Prices, policies and starts always are.
        grace_s: How long ago segments must have been joined to be deleted.
        progress: Hears how many of all runs are joined.

    Raises:
        Away: the place cannot be read or written.
        LogError: a segment cannot be read, or this machine's disk is full.
    """
    today = datetime.now(UTC).date()
    expired = _expired(place, None if keep_days is None else today - timedelta(days=keep_days))
    _sweep(place)
    found = segments_of(place.names())
    deleted = _deleted(place, found, grace_s)
    runs = [run for run in neighbours(found) if len(run) > 1 and run[0].date < str(before or today)]
    rows = 0
    for done, run in enumerate(runs):
        progress(done, len(runs))
        rows += _join(place, run)
    progress(len(runs), len(runs))
    return Compacted(
        joined=sum(map(len, runs)),
        into=len(runs),
        rows=rows,
        deleted=deleted,
        expired=expired,
        left=len(visible(segments_of(place.names()))),
    )


def _sweep(place: Place) -> None:
    """Delete what copies left behind that were cut short, once nobody can be at them any more."""
    for name in place.unfinished():
        if (age := place.age_s(name)) is not None and age >= UNFINISHED_S:
            place.remove(name)


def _expired(place: Place, until: date | None) -> int:
    """Delete what is older than a day, oldest first."""
    if until is None:
        return 0
    old = [s for s in segments_of(place.names()) if s.date < until.isoformat() and s.table not in SNAPSHOTS]
    for segment in sorted(old, key=lambda segment: segment.date):
        place.remove(segment.name)
    return len(old)


def _deleted(place: Place, found: list[Segment], grace_s: float) -> int:
    """Delete what lies within a segment that has been there for long enough."""
    wide = visible(found)
    by_place: dict[tuple[object, ...], list[Segment]] = {}
    for segment in wide:
        by_place.setdefault(segment[:4], []).append(segment)
    holders = {
        segment: next(one for one in by_place[segment[:4]] if one.first <= segment.first and segment.last <= one.last)
        for segment in set(found).difference(wide)
    }
    ages = {holder: place.age_s(holder.name) for holder in set(holders.values())}
    gone = [segment for segment, holder in holders.items() if (age := ages[holder]) is None or age >= grace_s]
    for segment in gone:
        place.remove(segment.name)
    return len(gone)


def _join(place: Place, run: list[Segment]) -> int:
    """Write one segment with the rows of all, in their order. Returns how many there are."""
    files = ", ".join(literal(place.url(segment.name)) for segment in run)
    query = f"SELECT * FROM read_parquet([{files}], union_by_name = true, hive_partitioning = false) ORDER BY {COLUMN}"  # noqa: S608
    with (
        tempfile.TemporaryDirectory(prefix="nearfar-compact-") as folder,
        contextlib.closing(duckdb.connect(":memory:", config=_CONFIG)) as con,
    ):
        whole = Path(folder, "whole.parquet")
        try:
            con.execute(f"SET temp_directory = {literal(folder)}")
            place.allow(con)
            rows = write_parquet(con, query, whole)
        except (duckdb.Error, OSError) as error:
            why = first_line(error) if isinstance(error, duckdb.Error) else type(error).__name__
            raise LogError(f"Segments of {run[0].table} on {run[0].date} cannot be joined: {why}") from error
        place.put(whole, joined(run).name)
    return rows
