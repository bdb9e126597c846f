"""The charts of a comparison, from a run and its report: spread, curves, fronts and forests. Values in, SVG out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from router.compare.figures import answers
from router.compare.intervals import STRETCHES, quantile
from router.compare.rates import ended
from router.report import svg
from router.report.charts import Axes, Line, curves
from router.report.scales import linear, logarithmic
from router.report.svg import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from router.compare.intervals import Bounds
    from router.compare.run import Run, Trial
    from router.report.charts import Names
    from router.report.scales import Kind, Scale
    from router.report.svg import Ink

POINTS = 120
"""Of a curve of shares: more would not be seen."""
WIDE = 20.0
"""Figures further apart than that are drawn on a logarithmic scale."""
COOL: tuple[Ink, ...] = ("near", "third", "sixth")
WARM: tuple[Ink, ...] = ("far", "fourth", "fifth")


def inks(run: Run) -> dict[str, Ink]:
    """The colour of each candidate: cool near, warm far."""
    found: dict[str, Ink] = {}
    for near, colours in ((True, COOL), (False, WARM)):
        mine = [served.name for served in run.candidates if served.near is near]
        found |= {name: colours[at % len(colours)] for at, name in enumerate(mine)}
    return found


def spread(names: Names, run: Run, load: int, value: Callable[[Trial], float | None]) -> str:
    """The share of answers that took at most so long, on a logarithmic scale."""
    colours, lines = inks(run), []
    for name, trials in _answered(run, load):
        known = sorted(found for trial in trials if (found := value(trial)))
        if known:
            shares = [at / POINTS for at in range(POINTS + 1)]
            lines.append(Line(name, [(quantile(known, share), share) for share in shares], colours[name]))
    across = logarithmic([x for line in lines for x, _ in line.points], "s")
    return curves(names, lines, Axes(across, linear([0.0, 1.0], "share"), grid=True))


def course(names: Names, run: Run, load: int) -> str:
    """The median latency of each candidate over the run, stretch by stretch."""
    colours, lines = inks(run), []
    for name, trials in _answered(run, load):
        stretches = [each for each in _stretches(trials) if each]
        points = [
            (quantile([trial.sent_s for trial in each], 0.5), quantile([trial.total_s or 0.0 for trial in each], 0.5))
            for each in stretches
        ]
        lines.append(Line(name, points, colours[name]))
    across = linear([x for line in lines for x, _ in line.points], "s")
    return curves(names, lines, Axes(across, linear([y for line in lines for _, y in line.points], "s")))


def throughput(names: Names, run: Run, load: int) -> str:
    """Answers in a second of each candidate over the run."""
    trials = [trial for _, each in _answered(run, load) for trial in each]
    first, last = min(trial.sent_s for trial in trials), max(map(ended, trials))
    width = (last - first) / STRETCHES or 1.0
    colours, lines = inks(run), []
    for name, mine in _answered(run, load):
        counts = [0] * STRETCHES
        for trial in mine:
            counts[min(STRETCHES - 1, int((ended(trial) - first) / width))] += 1
        points = [(first + (at + 0.5) * width, count / width) for at, count in enumerate(counts)]
        lines.append(Line(name, points, colours[name]))
    across = linear([x for line in lines for x, _ in line.points], "s")
    return curves(names, lines, Axes(across, linear([y for line in lines for _, y in line.points], "count")))


def curve(names: Names, run: Run, points: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """What each candidate gets done against what is asked of it: one point a load."""
    colours = inks(run)
    lines = [Line(name, each, colours[name]) for name, each in points.items() if each]
    across = linear([x for line in lines for x, _ in line.points], "count")
    return curves(names, lines, Axes(across, linear([y for line in lines for _, y in line.points], "count"), grid=True))


class Point(NamedTuple):
    """A candidate by two figures."""

    name: str
    across: Bounds
    up: Bounds
    kind: Ink


class Ways(NamedTuple):
    """What two figures are, in which unit, and whether more of the second is better; less of the first always is."""

    across: str
    across_kind: Kind
    up: str
    up_kind: Kind
    more_is_better: bool


def front(names: Names, points: Sequence[Point], ways: Ways) -> str:
    """Candidates by two figures with their intervals, and the line of those that nobody beats in both."""
    across = _scale([point.across for point in points], ways.across_kind)
    up = _scale([point.up for point in points], ways.up_kind)
    left, size = svg.margin(tick.label for tick in up.ticks), 330.0
    frame = Frame(left, left + size, 12, 12 + size)
    parts = [*svg.y_axis(frame, up), *svg.x_axis(frame, across)]
    best = unbeaten(points, more_is_better=ways.more_is_better)
    places = [
        (across.at(p.across.value, frame.left, frame.right), up.at(p.up.value, frame.bottom, frame.top)) for p in best
    ]
    if len(places) > 1:
        parts.append(svg.path(places, "limit front"))
    for point in points:
        parts += _crossed(frame, across, up, point)
    parts.append(svg.text(f"{ways.across} →", frame.right, frame.bottom + 36, "end", "quiet"))
    parts.append(svg.text(f"{ways.up} ↑", frame.left + 6, frame.top + 12, "start", "quiet"))
    parts += _legend(frame, [(point.name, point.kind) for point in points])
    return svg.chart(*names, frame.bottom + 44, parts)


def unbeaten(points: Sequence[Point], *, more_is_better: bool) -> list[Point]:
    """The points that no other beats or equals in one figure and beats in the other, from left to right."""
    sign = 1 if more_is_better else -1

    def beats(one: Point, other: Point) -> bool:
        better = (other.across.value - one.across.value, sign * (one.up.value - other.up.value))
        return min(better) >= 0 and max(better) > 0

    best = [point for point in points if not any(beats(other, point) for other in points)]
    return sorted(best, key=lambda point: (point.across.value, point.up.value))


def _scale(bounds: Sequence[Bounds], kind: Kind) -> Scale:
    values = [end for each in bounds for end in (each.value, each.low, each.high) if end is not None]
    middle = [each.value for each in bounds]
    if min(middle) > 0 and max(middle) / min(middle) > WIDE:
        return logarithmic([value for value in values if value >= min(middle) / WIDE], kind)
    return linear(values, kind, zero=kind != "share")


def _crossed(frame: Frame, across: Scale, up: Scale, point: Point) -> Iterator[str]:
    """A point with a bar for each interval that it has."""
    x = across.at(point.across.value, frame.left, frame.right)
    y = up.at(point.up.value, frame.bottom, frame.top)
    if point.across.low is not None and point.across.high is not None:
        x1, x2 = (across.at(end, frame.left, frame.right) for end in (point.across.low, point.across.high))
        yield svg.line(x1, y, x2, y, f"range {point.kind}")
    if point.up.low is not None and point.up.high is not None:
        y1, y2 = (up.at(end, frame.bottom, frame.top) for end in (point.up.low, point.up.high))
        yield svg.line(x, y1, x, y2, f"range {point.kind}")
    yield svg.circle(x, y, 4.5, f"dot {point.kind}")


def _legend(frame: Frame, entries: Sequence[tuple[str, Ink]]) -> Iterator[str]:
    room = svg.WIDTH - frame.right - 24
    for number, (name, kind) in enumerate(entries):
        y = frame.top + 16 + 20 * number
        yield svg.circle(frame.right + 20, y, 5, f"dot {kind}")
        yield svg.text(svg.shortened(name, room), frame.right + 32, y + 4, "start")


def _answered(run: Run, load: int) -> list[tuple[str, list[Trial]]]:
    """The answers of each candidate that has any."""
    mine = [trial for trial in answers(run.trials) if trial.load == load]
    found = [(served.name, [trial for trial in mine if trial.candidate == served.name]) for served in run.candidates]
    return [(name, trials) for name, trials in found if trials]


def _stretches(trials: Sequence[Trial]) -> list[Sequence[Trial]]:
    count = max(1, min(STRETCHES, len(trials) // 5))
    return [trials[at * len(trials) // count : (at + 1) * len(trials) // count] for at in range(count)]
