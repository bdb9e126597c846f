"""Scales of a chart: from values to positions, with ticks that people would choose, and figures with their units."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING, Literal, NamedTuple

from policies.base import dollars, seconds, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["usd", "s", "share", "count", "time"]

_NICE = (1, 2, 2.5, 5, 10)
_NOTHING = 1e-290  # what is smaller is 0 on any axis, and has no steps of its own
_TIME_STEPS_S = (
    60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 14 * 86400, 28 * 86400,
    91 * 86400, 365 * 86400,
)  # fmt: skip


class Tick(NamedTuple):
    """A mark of an axis: its value, and what is written there."""

    value: float
    label: str


class Scale(NamedTuple):
    """One axis: the values at its two ends, its marks, and whether it is logarithmic."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    log: bool = False

    def at(self, value: float, start: float, end: float) -> float:
        """Where a value lies between two positions; values beyond an end lie on it."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = log10(low), log10(high), log10(max(value, self.low))
        share = (value - low) / (high - low)
        return start + (end - start) * min(1.0, max(0.0, share))


def linear(values: Sequence[float], kind: Kind, *, most: int = 5, zero: bool = True) -> Scale:
    """A scale from 0 (or from below the least value) to a round figure above the largest, with few round ticks."""
    known = [value if abs(value) > _NOTHING else 0.0 for value in values if isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 0:
        high = low + (abs(low) or 1.0)
    step = _step((high - low) / most)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    marks = [number * step for number in range(first, last + 1)]
    return Scale(marks[0], marks[-1], _labelled(marks, kind))


def logarithmic(values: Sequence[float], kind: Kind) -> Scale:
    """A scale over the positive values, with ticks at 1, 2 and 5 times powers of ten, or at the powers alone."""
    known = [value for value in values if isfinite(value) and value > 0]
    low, high = min(known, default=0.1), max(known, default=1.0)
    first, last = floor(log10(low)), ceil(log10(high))
    last = max(last, first + 1)
    steps = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 3 else (1,)
    marks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    lower = max((mark for mark in marks if mark <= low * (1 + 1e-9)), default=marks[0])
    upper = min((mark for mark in marks if mark >= high * (1 - 1e-9) and mark > lower), default=marks[-1])
    shown = [mark for mark in marks if lower <= mark <= upper]
    return Scale(lower, upper, tuple(tick for mark in shown for tick in _labelled([mark], kind)), log=True)


def timed(moments: Sequence[float], *, most: int = 6) -> Scale:
    """A scale over seconds since 1970, with ticks at whole minutes, hours, days or weeks, UTC."""
    low, high = min(moments, default=0.0), max(moments, default=86400.0)
    if high - low < 60:
        low, high = low - 30, high + 30
    least = 86400 if all(moment % 86400 == 0 for moment in moments) else 60  # of days only days are marked
    step = next((step for step in _TIME_STEPS_S if step >= least and (high - low) / step <= most), _TIME_STEPS_S[-1])
    first = ceil(low / step)
    marks = [mark for number in range(most + 1) if (mark := (first + number) * step) <= high]
    return Scale(low, high, tuple(Tick(mark, _moment(mark, step)) for mark in marks))


def figure(value: float | None, kind: Kind) -> str:
    """A figure for people, with its unit; empty where it is not known."""
    if value is None or not isfinite(value):
        return ""
    if kind == "usd":
        return f"-{dollars(-value)}" if value < 0 else dollars(value)
    if kind == "s":
        return f"-{seconds(-value)}" if value < 0 else seconds(value)
    if kind == "share":
        return f"{significant(value * 100)} %" if value else "0 %"
    if kind == "time":
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M}"
    whole = value == round(value) or abs(value) >= 1000
    return f"{value:,.0f}".replace(",", " ") if whole else significant(value)


def moment_of(text: object) -> float | None:
    """Seconds since 1970 of an ISO 8601 instant or date; a time without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _step(least: float) -> float:
    power = 10.0 ** floor(log10(least))
    return next(nice * power for nice in _NICE if nice * power >= least * (1 - 1e-9))


def _labelled(marks: Sequence[float], kind: Kind) -> tuple[Tick, ...]:
    """All ticks of an axis in one unit."""
    largest = max((abs(mark) for mark in marks), default=1.0)
    if kind == "s":
        unit, factor = ("s", 1.0) if largest >= 1 else ("ms", 1000.0)
        return tuple(Tick(mark, f"{_plain(mark * factor)} {unit}") for mark in marks)
    if kind == "usd":
        return tuple(Tick(mark, f"{'-' if mark < 0 else ''}${_plain(abs(mark))}") for mark in marks)
    if kind == "share":
        return tuple(Tick(mark, f"{_plain(mark * 100)} %") for mark in marks)
    return tuple(Tick(mark, figure(mark, kind)) for mark in marks)


def _plain(value: float) -> str:
    """A round figure without powers of ten or trailing zeros."""
    text = f"{value:.12f}".rstrip("0").rstrip(".")
    return "0" if text in {"", "-0"} else text


def _moment(mark: float, step_s: float) -> str:
    moment = datetime.fromtimestamp(mark, UTC)
    if step_s >= timedelta(days=1).total_seconds():
        return f"{moment.day} {moment:%b}"
    return f"{moment.day} {moment:%b}" if moment.hour == moment.minute == 0 else f"{moment:%H:%M}"
