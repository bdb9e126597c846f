"""The elements of a chart as SVG text. Everything written passes through `text`, which escapes it; colours are classes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from router.report.scales import Scale

Anchor = Literal["start", "middle", "end"]

WIDTH = 640
CHAR = 6.6
"""How wide a character of the charts' text is, in their own units: an upper estimate for 12-unit sans-serif."""


class Frame(NamedTuple):
    """The inside of a chart: its edges, in the chart's own units."""

    left: float
    right: float
    top: float
    bottom: float


def chart(name: str, title: str, says: str, height: float, parts: Iterable[str]) -> str:
    """A whole chart, with its title and a description for those who cannot see it. `name` is unique in the page."""
    head = (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(says)}</desc>'
    )
    return "".join([head, *parts, "</svg>"])


def text(words: str, x: float, y: float, anchor: Anchor = "start", kind: str = "label") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


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
    """Ticks along the bottom; those that would run into the one before, or out of the chart, stay unlabelled."""
    free = -1.0
    for tick in scale.ticks:
        x = scale.at(tick.value, frame.left, frame.right)
        half = len(tick.label) * CHAR / 2
        yield line(x, frame.top if grid else frame.bottom, x, frame.bottom + 4, "grid")
        middle = min(max(x, half), WIDTH - half)
        if middle - half > free:
            yield text(tick.label, middle, frame.bottom + 18, "middle")
            free = middle + half + 6
    yield line(frame.left, frame.bottom, frame.right, frame.bottom, "axis")


def y_axis(frame: Frame, scale: Scale) -> Iterator[str]:
    """Ticks at the left, with lines across."""
    for tick in scale.ticks:
        y = scale.at(tick.value, frame.bottom, frame.top)
        yield line(frame.left, y, frame.right, y, "grid")
        yield text(tick.label, frame.left - 8, y + 4, "end")


def margin(labels: Iterable[str], least: float = 40, most: float = 250) -> float:
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
