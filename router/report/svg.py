"""The elements of a chart as SVG text. All words pass through `text`, which escapes them; a class is a colour."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from router.report.scales import Scale

Anchor = Literal["start", "middle", "end"]
Ink = Literal["near", "far", "third", "fourth", "fifth", "sixth"]
"""What a series is drawn in: a colour of the page, and for lines a dash, so that print tells them apart."""

WIDTH = 640
CHAR = 7.3
"""How wide a character of the charts' text is, in their own units: the mean of wide sans-serif fonts at 12 units."""


class Frame(NamedTuple):
    """The inside of a chart: its edges, in the chart's own units."""

    left: float
    right: float
    top: float
    bottom: float


def written(words: str) -> str:
    """Words as they may stand in the page: escaped, and without what cannot be printed."""
    return escape("".join(c if c.isprintable() else " " for c in words))


def chart(name: str, title: str, says: str, height: float, parts: Iterable[str]) -> str:
    """A whole chart, with its title and a description for those who cannot see it. `name` is unique in the page."""
    head = (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{written(title)}</title><desc id="{name}-d">{written(says)}</desc>'
    )
    return "".join([head, *parts, "</svg>"])


def text(words: str, x: float, y: float, anchor: Anchor = "start", kind: str = "label") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{written(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A rectangle."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}" class="{kind}"/>'
    )


def circle(x: float, y: float, radius: float, kind: str) -> str:
    """A dot."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}"/>'


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through points."""
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" class="{kind}"/>'


def x_axis(frame: Frame, scale: Scale, *, grid: bool = True) -> Iterator[str]:
    """Ticks along the bottom; every second or third is labelled where all labels would run into each other."""
    places = [(scale.at(tick.value, frame.left, frame.right), tick.label) for tick in scale.ticks]
    stride = next((n for n in range(1, len(places)) if _fit(places[::n])), max(1, len(places)))
    for number, (x, label) in enumerate(places):
        yield line(x, frame.top if grid else frame.bottom, x, frame.bottom + 4, "grid")
        if number % stride == 0:
            half = len(label) * CHAR / 2
            yield text(label, min(max(x, half), WIDTH - half), frame.bottom + 18, "middle")
    yield line(frame.left, frame.bottom, frame.right, frame.bottom, "axis")


def _fit(places: Sequence[tuple[float, str]]) -> bool:
    return all(
        right - left > (len(one) + len(other)) * CHAR / 2 + 4 for (left, one), (right, other) in pairwise(places)
    )


def y_axis(frame: Frame, scale: Scale) -> Iterator[str]:
    """Ticks at the left, with lines across."""
    for tick in scale.ticks:
        y = scale.at(tick.value, frame.bottom, frame.top)
        yield line(frame.left, y, frame.right, y, "grid")
        yield text(tick.label, frame.left - 8, y + 4, "end")


def margin(labels: Iterable[str], least: float = 40, most: float = 260) -> float:
    """Room for labels beside a chart."""
    return min(most, max(least, 14 + CHAR * max(map(len, labels), default=0)))


def shortened(label: str, room: float) -> str:
    """A label that fits into a margin; names differ at their ends, so that the middle goes."""
    chars = round((room - 14) / CHAR + 1e-6)
    if len(label) <= chars:
        return label
    tail = (chars - 1) // 2
    return f"{label[: chars - 1 - tail]}…{label[len(label) - tail :]}"


def apart(wanted: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, at least so far from each other, between two ends as far as they allow."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    at = low - least
    for i in order:
        at = placed[i] = max(wanted[i], at + least)
    limit = high
    for i in reversed(order):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - least
    return placed
