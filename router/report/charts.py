"""The charts of the report. Each says in a sentence what it shows, and in words where there is nothing to show."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from router.report import svg
from router.report.scales import Kind, figure, linear, logarithmic, timed
from router.report.svg import Frame, Ink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.report.scales import Scale

HEIGHT = 280
ROW = 30


class Names(NamedTuple):
    """What a chart is called: its id in the page, its title, and a sentence on what it shows."""

    id: str
    title: str
    says: str


class Line(NamedTuple):
    """A series over time: its points as seconds since 1970 and value, and its class."""

    name: str
    points: Sequence[tuple[float, float]]
    kind: Ink = "near"


class Row(NamedTuple):
    """A bar or an interval: who, how much, between which bounds."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    kind: Ink = "near"
    note: str = ""


class Ruler(NamedTuple):
    """What rows are measured in, the line they are held against, and the band in which they should end."""

    kind: Kind
    against: float | None = None
    band: tuple[float, float] | None = None
    log: bool = False
    zero: bool = True


def over_time(names: Names, lines: Sequence[Line], kind: Kind, *, limit: tuple[str, float] | None = None) -> str:
    """Lines over time, each labelled at its end; `limit` is a level with its name."""
    values = [value for line in lines for _, value in line.points] + ([limit[1]] if limit else [])
    axes = Axes(timed([moment for line in lines for moment, _ in line.points]), linear(values, kind))
    return curves(names, lines, axes, limit=limit)


class Axes(NamedTuple):
    """The scales of a chart across and up, and whether lines are drawn up from the one across."""

    across: Scale
    up: Scale
    grid: bool = False


def curves(names: Names, lines: Sequence[Line], axes: Axes, *, limit: tuple[str, float] | None = None) -> str:
    """Lines, each labelled at its end."""
    shown = [line for line in lines if line.points]
    labels = [line.name for line in shown] + ([limit[0]] if limit else [])
    frame = Frame(svg.margin(tick.label for tick in axes.up.ticks), svg.WIDTH - svg.margin(labels), 14, HEIGHT - 30)
    parts = [*svg.y_axis(frame, axes.up), *svg.x_axis(frame, axes.across, grid=axes.grid)]
    ends: list[tuple[float, str, str]] = []
    for each in shown:
        points = [
            (axes.across.at(x, frame.left, frame.right), axes.up.at(y, frame.bottom, frame.top)) for x, y in each.points
        ]
        if len(points) > 1:
            parts.append(svg.path(points, f"line {each.kind}"))
        if len(points) <= 40:
            parts += [svg.circle(x, y, 2.6, f"dot {each.kind}") for x, y in points]
        ends.append((points[-1][1], each.name, each.kind))
    if limit is not None:
        y = axes.up.at(limit[1], frame.bottom, frame.top)
        parts.append(svg.line(frame.left, y, frame.right, y, "limit"))
        ends.append((y, limit[0], "limited"))
    parts += _end_labels(frame, ends)
    return svg.chart(*names, HEIGHT, parts)


def _end_labels(frame: Frame, ends: Sequence[tuple[float, str, str]]) -> Iterator[str]:
    room = svg.WIDTH - frame.right
    for y, (_, name, kind) in zip(svg.apart([end[0] for end in ends], 15, 12, HEIGHT - 30), ends, strict=True):
        yield svg.text(svg.shortened(name, room), frame.right + 8, y + 4, "start", f"name {kind}")


def bars(names: Names, rows: Sequence[Row], kind: Kind) -> str:
    """Bars from 0, with names at the left and figures at the right."""
    scale, frame = linear([row.value for row in rows], kind), _frame(rows, kind)
    parts, zero = [*svg.x_axis(frame, scale)], scale.at(0.0, frame.left, frame.right)
    for y, row in _placed(frame, rows):
        end = scale.at(row.value, frame.left, frame.right)
        parts.append(svg.rect(min(zero, end), y - ROW / 2 + 6, abs(end - zero), ROW - 12, f"bar {row.kind}"))
        parts += _beside(frame, row, kind, y)
    return svg.chart(*names, frame.bottom + 28, parts)


def intervals(names: Names, rows: Sequence[Row], ruler: Ruler) -> str:
    """A forest of points with their intervals, against a line."""
    bounds = [bound for row in rows for bound in (row.low, row.value, row.high) if bound is not None]
    bounds += [*([] if ruler.against is None else [ruler.against]), *(ruler.band or ())]
    scale = logarithmic(bounds, ruler.kind) if ruler.log else linear(bounds, ruler.kind, zero=ruler.zero)
    frame, parts = _frame(rows, ruler.kind), []
    if ruler.band is not None:
        x1, x2 = (scale.at(value, frame.left, frame.right) for value in ruler.band)
        parts.append(svg.rect(x1, frame.top, x2 - x1, frame.bottom - frame.top, "band"))
    parts += svg.x_axis(frame, scale)
    if ruler.against is not None:
        x = scale.at(ruler.against, frame.left, frame.right)
        parts.append(svg.line(x, frame.top, x, frame.bottom, "limit"))
    for y, row in _placed(frame, rows):
        parts += _interval(frame, scale, row, y)
        parts += _beside(frame, row, ruler.kind, y)
    return svg.chart(*names, frame.bottom + 28, parts)


def _frame(rows: Sequence[Row], kind: Kind) -> Frame:
    left = svg.margin(row.name for row in rows)
    right = svg.margin((_figure(row, kind) for row in rows), most=210)
    return Frame(left, svg.WIDTH - right, 8, 8 + ROW * len(rows))


def _placed(frame: Frame, rows: Sequence[Row]) -> Iterator[tuple[float, Row]]:
    return ((frame.top + ROW * number + ROW / 2, row) for number, row in enumerate(rows))


def _figure(row: Row, kind: Kind) -> str:
    return row.note or figure(row.value, kind)


def _beside(frame: Frame, row: Row, kind: Kind, y: float) -> Iterator[str]:
    """The row's name at its left, its figure at its right."""
    yield svg.text(svg.shortened(row.name, frame.left), frame.left - 8, y + 4, "end")
    shown = svg.shortened(_figure(row, kind), svg.WIDTH - frame.right)
    yield svg.text(shown, frame.right + 8, y + 4, "start", "figure")


def _interval(frame: Frame, scale: Scale, row: Row, y: float) -> Iterator[str]:
    if row.low is not None and row.high is not None:
        x1, x2 = (scale.at(bound, frame.left, frame.right) for bound in (row.low, row.high))
        yield svg.line(x1, y, x2, y, f"range {row.kind}")
        yield from (svg.line(x, y - 5, x, y + 5, f"range {row.kind}") for x in (x1, x2))
    yield svg.circle(scale.at(row.value, frame.left, frame.right), y, 4.5, f"dot {row.kind}")


class Cloud(NamedTuple):
    """A series of a scatter: its points as predicted and observed."""

    name: str
    points: Sequence[tuple[float, float]]
    kind: Ink = "near"


def scatter(names: Names, clouds: Sequence[Cloud], kind: Kind) -> str:
    """Predicted (across) against observed (up), both logarithmic and of one scale, with the line where they agree."""
    values = [value for cloud in clouds for point in cloud.points for value in point]
    scale = logarithmic(values, kind)
    left = svg.margin(tick.label for tick in scale.ticks)
    size = 330.0
    frame = Frame(left, left + size, 12, 12 + size)
    parts = [*svg.y_axis(frame, scale), *svg.x_axis(frame, scale)]
    parts.append(svg.line(frame.left, frame.bottom, frame.right, frame.top, "limit"))
    radius = 3.2 if sum(len(cloud.points) for cloud in clouds) <= 300 else 2.0
    for cloud in clouds:
        for predicted, observed in cloud.points:
            x, y = scale.at(predicted, frame.left, frame.right), scale.at(observed, frame.bottom, frame.top)
            parts.append(svg.circle(x, y, radius, f"point {cloud.kind}"))
    parts.append(svg.text("predicted", frame.right, frame.bottom + 36, "end", "quiet"))
    parts.append(svg.text("observed ↑", frame.left + 6, frame.top + 12, "start", "quiet"))
    room = svg.WIDTH - frame.right - 24
    for number, cloud in enumerate(clouds):
        y = frame.top + 16 + 20 * number
        parts.append(svg.circle(frame.right + 20, y, 5, f"dot {cloud.kind}"))
        parts.append(svg.text(svg.shortened(cloud.name, room), frame.right + 32, y + 4, "start"))
    y = frame.top + 16 + 20 * len(clouds)
    parts += [
        svg.line(frame.right + 13, y, frame.right + 27, y, "limit"),
        svg.text("as predicted", frame.right + 32, y + 4),
    ]
    return svg.chart(*names, frame.bottom + 44, parts)
