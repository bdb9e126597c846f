"""Axes: ticks that people would choose, whatever the values, and figures with their units."""

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.report import svg
from router.report.charts import Cloud, Line, Names, Row, Ruler, bars, intervals, over_time, scatter
from router.report.scales import figure, linear, logarithmic, moment_of, timed

VALUES = st.lists(st.floats(-1e9, 1e9), max_size=20)
POSITIVE = st.lists(st.floats(1e-9, 1e9), max_size=20)
NAMES = Names("id", "A <title>", 'It "says" & more')
DAY = 86400.0


@given(VALUES, st.sampled_from(["usd", "s", "share", "count"]))
@example([5e-324], "usd")
@example([-5e-324], "s")
def test_a_linear_scale_holds_all_values_and_few_ticks(values, kind) -> None:
    """Its ends are ticks, it begins at 0, ticks rise evenly and none is without a label."""
    scale = linear(values, kind)

    slack = (scale.high - scale.low) * 1e-6  # less than anybody could see
    assert scale.low == scale.ticks[0].value <= min([*values, 0.0]) + slack
    assert scale.high == scale.ticks[-1].value >= max([*values, 0.0]) - slack
    assert 2 <= len(scale.ticks) <= 9
    assert all(tick.label for tick in scale.ticks)
    steps = [b.value - a.value for a, b in pairwise(scale.ticks)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-6) for step in steps)


@given(POSITIVE)
def test_a_logarithmic_scale_holds_all_values(values) -> None:
    """Its ends are ticks around all values, and it is never a point."""
    scale = logarithmic(values, "s")

    assert scale.low < scale.high
    assert scale.low <= min(values, default=1.0) * (1 + 1e-9)
    assert scale.high >= max(values, default=scale.high) * (1 - 1e-9)
    assert (0.0, pytest.approx(100.0)) == (scale.at(scale.low, 0, 100), scale.at(scale.high, 0, 100))


@given(st.lists(st.integers(0, 4_000_000_000).map(float), max_size=20))
def test_a_scale_of_time_has_few_ticks_inside(moments) -> None:
    """Whole minutes, hours, days or weeks within the range."""
    scale = timed(moments)

    assert len(scale.ticks) <= 7
    assert all(scale.low <= tick.value <= scale.high for tick in scale.ticks)


def test_ticks_are_what_people_would_write() -> None:
    """One unit an axis, no powers of ten, no trailing zeros."""
    assert ["0 ms", "25 ms", "50 ms", "75 ms", "100 ms", "125 ms"] == [t.label for t in linear([0.118], "s").ticks]
    assert ["$0", "$0.000002", "$0.000004", "$0.000006", "$0.000008", "$0.00001"] == [
        t.label for t in linear([0.00000972], "usd").ticks
    ]
    assert ["-$0.03", "-$0.02", "-$0.01", "$0", "$0.01"] == [t.label for t in linear([-0.025, 0.009], "usd").ticks]
    assert ["10 ms", "100 ms", "1 s", "10 s", "100 s"] == [t.label for t in logarithmic([0.01, 60], "s").ticks]
    assert ["23 Nov", "24 Nov", "25 Nov"] == [
        tick.label for tick in timed([moment_of("2026-11-23"), moment_of("2026-11-25")]).ticks
    ]
    assert ["10:00", "10:05", "10:10"] == [
        tick.label for tick in timed([moment_of("2026-11-23T10:00:00Z"), moment_of("2026-11-23T10:14:00Z")]).ticks
    ]


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (None, "usd", ""),
        (math.nan, "s", ""),
        (0.0, "usd", "$0"),
        (-0.0123, "usd", "-$0.0123"),
        (0.0481, "s", "48.1 ms"),
        (-2.5, "s", "-2.50 s"),
        (0.0, "share", "0 %"),
        (0.953, "share", "95.3 %"),
        (1234567, "count", "1 234 567"),
        (3259.4, "count", "3 259"),
        (8.64, "count", "8.64"),
    ],
)
def test_a_figure_has_its_unit(value, kind, words) -> None:
    """Unknown is empty, not 0."""
    assert words == figure(value, kind)


def test_an_instant_that_is_none_is_not_guessed() -> None:
    """Neither words nor a number are an instant; without a zone it is UTC."""
    assert [None, None, None] == [moment_of("yesterday"), moment_of(12), moment_of(None)]
    assert moment_of("2026-11-23T10:00:00Z") == moment_of("2026-11-23T10:00:00")


@given(st.lists(st.floats(0, 250), min_size=1, max_size=8))
def test_labels_at_the_ends_of_lines_keep_apart(wanted) -> None:
    """As far as there is room, and in their order."""
    placed = svg.apart(wanted, 15, 12, 250)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])

    assert all(placed[b] - placed[a] >= 15 - 1e-6 for a, b in pairwise(order))


@given(st.text(min_size=1, max_size=80), st.floats(40, 260))
def test_a_shortened_label_fits(label, room) -> None:
    """Its middle goes, as names differ at their ends."""
    shown = svg.shortened(label, room)

    assert len(shown) <= max(1, (room - 14) / svg.CHAR + 1)
    assert shown == label or "…" in shown


AMOUNT = st.floats(1e-6, 1e6)
SERIES = st.lists(st.tuples(st.floats(1.7e9, 1.9e9), st.floats(-1e6, 1e6)), min_size=1, max_size=5)
ROW = st.builds(Row, st.text(max_size=30), AMOUNT, st.none() | AMOUNT, st.none() | AMOUNT, note=st.text(max_size=30))
PAIRS = st.lists(st.tuples(AMOUNT, AMOUNT), min_size=1, max_size=4)


@settings(max_examples=settings.default.max_examples // 5)
@given(SERIES, st.lists(ROW, min_size=1, max_size=3), PAIRS, st.text(max_size=30))
def test_every_chart_is_one_xml_element_with_a_title_and_a_description(series, rows, pairs, name) -> None:
    """Whatever it is called and whatever its values: nothing lies outside, nothing is not a number."""
    charts = [
        over_time(NAMES, [Line(name, series)], "usd", limit=(name, 1.0)),
        bars(NAMES, rows, "count"),
        intervals(NAMES, rows, Ruler("s", log=True)),
        intervals(NAMES, rows, Ruler("share", 0.95, (0.93, 0.97), zero=False)),
        scatter(NAMES, [Cloud(name, pairs)], "s"),
    ]
    for chart in charts:
        root = ElementTree.fromstring(chart)
        assert ("A <title>", 'It "says" & more') == (root.findtext("title"), root.findtext("desc"))
        assert "id-t id-d" == root.get("aria-labelledby")
        numbers = [mark.get(name) for mark in root.iter() for name in ("x", "y", "x1", "y2", "width") if mark.get(name)]
        assert all(math.isfinite(float(number)) for number in numbers)
        width, height = (float(each) for each in root.get("viewBox").split()[2:])
        for mark in root.iter("circle"):
            assert 0 <= float(mark.get("cx")) <= width
            assert 0 <= float(mark.get("cy")) <= height
