"""Which segments are read: whatever was joined, left or lost in between, every number is read once."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.shipping.names import Segment, joined, neighbours, segment_of, segments_of, visible

BOOT = "0123456789abcdef0123456789abcdef"


def segment(first: int, last: int, **other: str) -> Segment:
    return Segment(
        **{"table": "decisions", "date": "2025-10-09", "node": "n-1", "boot": BOOT} | other, first=first, last=last
    )


def read(segments: list[Segment]) -> Counter[int]:
    """How often each number is read."""
    return Counter(number for one in visible(segments) for number in range(one.first, one.last + 1))


@st.composite
def shipped(draw: st.DrawFn) -> list[Segment]:
    """Segments one after the other; some rounds had no row of this day."""
    found, at = [], 1
    for length, is_there in draw(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=12)):
        if is_there:
            found.append(segment(at, at + length - 1))
        at += length
    return found


@given(shipped(), st.data())
def test_every_number_is_read_once_whatever_was_joined_and_deleted(small: list[Segment], data: st.DataObject) -> None:
    """Also while runs are joined again and again, cut short anywhere, and any part of what was joined is deleted."""
    numbers = read(small)
    there = list(small)
    for _ in range(data.draw(st.integers(0, 4))):
        runs = [run for run in neighbours(there) if len(run) > 1]
        for run in runs[: data.draw(st.integers(0, len(runs)))]:
            first = data.draw(st.integers(0, len(run) - 2))
            there.append(joined(run[first : data.draw(st.integers(first + 2, len(run)))]))
        covered = sorted(set(there).difference(visible(there)))
        gone = data.draw(st.sets(st.sampled_from(covered))) if covered else set()
        there = data.draw(st.permutations([one for one in there if one not in gone]))

        assert numbers == read(there)
        assert set(numbers.values()) <= {1}


@given(shipped(), st.data())
def test_a_segment_that_comes_late_is_never_hidden(small: list[Segment], data: st.DataObject) -> None:
    """Nothing is joined across a segment that is not there yet."""
    late = data.draw(st.sampled_from(small)) if small else segment(1, 1)
    there = [one for one in small if one != late]
    there += [joined(run) for run in neighbours(there) if len(run) > 1]

    assert read([*small, late] if late not in small else small) == read([*there, late])


def test_segments_of_different_places_hide_nothing_of_each_other() -> None:
    """Numbers are a table's, of one node; and of two starts that a copied log may have had, each keeps its own."""
    wide = segment(1, 100)
    others = [
        segment(2, 3, table="attempts"), segment(2, 3, date="2025-10-10"), segment(2, 3, node="n-2"),
        segment(2, 3, boot="f" * 32),
    ]  # fmt: skip

    assert {wide, *others} == set(visible([wide, *others, segment(2, 3)]))
    assert [[one] for one in sorted([wide, *others])] == sorted(neighbours([wide, *others]))


@given(st.integers(1, 10**12), st.integers(0, 10**12))
def test_a_name_says_what_the_segment_is(first: int, more: int) -> None:
    """There and back."""
    one = segment(first, first + more)

    assert one == segment_of(one.name)


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        f"table=decisions/date=2025-10-09/node=n/{BOOT}-2-1.parquet",
        f"table=decisions/date=2025-10-09/node=n/{BOOT}-01-2.parquet",
        f"table=decisions/date=2025-10-09/node=n/.{BOOT}-1-2.parquet.part",
        f"table=decisions/date=2025-10-09/node=../{BOOT}-1-2.parquet",
        f"old/table=decisions/date=2025-10-09/node=n/{BOOT}-1-2.parquet",
    ],
)
def test_other_files_are_no_segments(name: str) -> None:
    """They are left alone."""
    assert segment_of(name) is None
    assert [] == segments_of([name])
