"""What a segment is called, and what follows from names alone. Arithmetic: knows no file.

A segment holds the rows of one table, day (UTC, by the row's own time) and node whose numbers lie in a range; `boot` is
the start of the router that wrote it. A larger range holds what a smaller one within it does: so the small ones may be
there beside the one they were joined in, and nobody reads a row twice. Only neighbours are ever joined, so no segment
that comes late can lie within a range that has been joined without it.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(
    r"table=(?P<table>\w+)/date=(?P<date>\d{4}-\d{2}-\d{2})/node=(?P<node>[\w-]+)/"
    r"(?P<boot>[0-9a-f]{32})-(?P<first>\d+)-(?P<last>\d+)\.parquet"
)


class Segment(NamedTuple):
    """One file; `first` and `last` are numbers of rows, both within."""

    table: str
    date: str
    node: str
    boot: str
    first: int
    last: int

    @property
    def name(self) -> str:
        """Where it lies, from the root of all segments."""
        return f"table={self.table}/date={self.date}/node={self.node}/{self.boot}-{self.first}-{self.last}.parquet"


def segment_of(name: str) -> Segment | None:
    """The segment of a name; None for a file that is none."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    segment = Segment(
        found["table"], found["date"], found["node"], found["boot"], int(found["first"]), int(found["last"])
    )
    return segment if segment.first <= segment.last and segment.name == name else None


def segments_of(names: Iterable[str]) -> list[Segment]:
    """All segments among names, in order."""
    return sorted(segment for segment in map(segment_of, names) if segment is not None)


def visible(segments: Iterable[Segment]) -> list[Segment]:
    """Those that lie within no other one: together they have every row once."""
    found: list[Segment] = []
    for _, beside in groupby(sorted(segments, key=_widest_first), key=_place):
        reach = -1
        for segment in beside:
            if segment.last > reach:
                found.append(segment)
                reach = segment.last
    return found


def neighbours(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Visible segments in the longest runs in which each begins where the one before ends."""
    runs: list[list[Segment]] = []
    for segment in visible(segments):
        last = runs[-1][-1] if runs else None
        if last is not None and _place(last) == _place(segment) and last.last + 1 == segment.first:
            runs[-1].append(segment)
        else:
            runs.append([segment])
    return runs


def joined(run: list[Segment]) -> Segment:
    """The segment that holds what a run of neighbours does."""
    return run[0]._replace(last=run[-1].last)


def _place(segment: Segment) -> tuple[str, ...]:
    return segment.table, segment.date, segment.node, segment.boot


def _widest_first(segment: Segment) -> tuple[tuple[str, ...], int, int]:
    return _place(segment), segment.first, -segment.last
