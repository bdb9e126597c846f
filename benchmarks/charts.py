"""Line charts as one self-contained SVG, without a library: panels in rows, a legend, nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLOURS = ("#4e79a7", "#f28e2b", "#e15759", "#59a14f", "#b07aa1", "#9c755f")
WIDTH, HEIGHT, LEGEND = 360, 250, 30
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 34, 42


@dataclass(frozen=True)
class Series:
    """A line's name, and its value at each mark; None where there is none."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Panel:
    """One chart; its marks are evenly spaced."""

    title: str
    marks: Sequence[str]
    series: Sequence[Series]


def page(panels: Sequence[Panel], *, columns: int, below: str) -> str:
    """All panels, `below` under each."""
    rows = math.ceil(len(panels) / columns)
    width, height = columns * WIDTH, rows * HEIGHT + LEGEND
    names = list(dict.fromkeys(series.name for panel in panels for series in panel.series))
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    drawn = f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {drawn}>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for index, panel in enumerate(panels):
        x, y = index % columns * WIDTH, index // columns * HEIGHT
        parts += [f'<g transform="translate({x},{y})">', *_panel(panel, colours, below), "</g>"]
    parts += _legend(colours, height - LEGEND / 2, width)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, colours: dict[str, str], below: str) -> Iterator[str]:
    known = [value for series in panel.series for value in series.values if value is not None]
    top = _round_up(max(known, default=1.0))
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    step = (right - LEFT) / max(len(panel.marks) - 1, 1)
    yield _text(panel.title, LEFT, TOP - 14, "start", "bold")
    yield _text(below, (LEFT + right) / 2, HEIGHT - 8, "middle")
    for number in range(5):
        y = floor - (floor - TOP) * number / 4
        yield f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield _text(f"{top * number / 4:g}", LEFT - 6, y + 4, "end")
    for number, mark in enumerate(panel.marks):
        yield _text(mark, LEFT + step * number, floor + 16, "middle")
    for series in panel.series:
        points = [
            (LEFT + step * number, floor - (floor - TOP) * value / top)
            for number, value in enumerate(series.values)
            if value is not None
        ]
        colour = colours[series.name]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)


def _legend(colours: dict[str, str], y: float, width: int) -> Iterator[str]:
    step = width / max(len(colours), 1)
    for number, (name, colour) in enumerate(colours.items()):
        x = 20 + number * step
        yield f'<rect x="{x:.1f}" y="{y - 8:.1f}" width="12" height="12" fill="{colour}"/>'
        yield _text(name, x + 18, y + 2, "start")


def _text(text: str, x: float, y: float, anchor: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 4, 5 or 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(round(step * power, 12) for step in (1, 2, 2.5, 4, 5, 10) if step * power >= value * (1 - 1e-9))
