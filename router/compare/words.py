"""Comparisons in words: who is quicker, cheaper or better and by how much, or what would have been seen. Values in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.base import dollars, significant
from router.compare.intervals import Bounds
from router.compare.pairs import FEW_UNITS
from router.compare.run import Closed
from router.compare.signs import ALPHA
from router.report.scales import figure

if TYPE_CHECKING:
    from router.compare.pairs import Pair
    from router.compare.run import Load, Metric
    from router.compare.votes import Standing
    from router.report.scales import Kind

THOUSAND = 1000
UNKNOWN = "unknown"
UNITS = {"s", "ms", "%"}
METRICS: dict[Metric, str] = {
    "exact_match": "exact match",
    "label_accuracy": "label accuracy",
    "cosine": "cosine",
    "word_error_rate": "1 - word error rate",
    "vote": "votes",
}
ALIKE = {
    "latency": "equally quick each time",
    "first_token": "equally soon each time",
    "cost": "the same cost each time",
    "quality": "equally good each time",
}


def verdict(pair: Pair) -> str:
    """What a comparison says, in a sentence without its full stop."""
    if pair.p_holm is None or pair.least is None:
        return f"{pair.one} and {pair.other}: not tested on {pair.units} {pair.unit}s, {FEW_UNITS} are the least"
    if pair.low == pair.high == pair.value == (1.0 if pair.measure in {"latency", "first_token"} else 0.0):
        return f"{pair.one} and {pair.other}: {ALIKE[pair.measure]}"
    if not pair.differs:
        return f"{pair.one} and {pair.other}: no difference shown ({_p(pair)}); {_seen(pair)} would have been seen"
    return f"{_difference(pair)}, {_p(pair)}"


def voted(standing: Standing) -> str:
    """What people said of two candidates."""
    share = f"{standing.candidate} won {between(standing.share, 'share')} of the votes against {standing.against}"
    count = f"{standing.wins} wins, {standing.ties} ties, {standing.losses} losses"
    if standing.p_holm is None:
        return f"{share} ({count}); not tested on so few inputs"
    shown = "" if standing.p_holm <= ALPHA else ": no difference shown"
    return f"{share} ({count}){shown}, {probability(standing.p_holm)}"


def between(bounds: Bounds | None, kind: Kind) -> str:
    """A figure and its interval: `12.1 ms (11.0 to 13.4 ms)`; unknown where nobody knows."""
    if bounds is None:
        return UNKNOWN
    value, low, high = (figure(each, kind) for each in (bounds.value, bounds.low, bounds.high))
    if low and high:
        amount, _, unit = low.rpartition(" ")
        alike = unit in UNITS and high.endswith(f" {unit}")
        return f"{value} ({amount if alike else low} to {high})"
    return f"{value} ({low} or more)" if low else f"{value} (up to {high})" if high else value


def thousand(bounds: Bounds | None) -> Bounds | None:
    """What a thousand of something cost."""
    if bounds is None:
        return None
    ends = (None if end is None else THOUSAND * end for end in (bounds.low, bounds.high))
    return Bounds(THOUSAND * bounds.value, *ends)


def load_told(load: Load) -> str:
    """How the trials were asked for."""
    if isinstance(load, Closed):
        return "one caller" if load.concurrency == 1 else f"{load.concurrency} callers"
    return f"{significant(load.rate_per_s)} requests/s, {load.process}"


def _difference(pair: Pair) -> str:
    """The better one first."""
    low, high = pair.low or 0.0, pair.high or 0.0
    if pair.measure in {"latency", "first_token"}:
        first, second, ratio, ends = pair.one, pair.other, 1 / pair.value, (1 / high, 1 / low)
        if pair.value > 1:
            first, second, ratio, ends = pair.other, pair.one, pair.value, (low, high)
        what = "is quicker" if pair.measure == "latency" else "begins sooner"
        return f"{first} {what}: {second} takes {_longer(ratio, ends)}"
    higher_is_better = pair.measure == "quality"
    turned = (pair.value > 0) != higher_is_better
    first, second = (pair.other, pair.one) if turned else (pair.one, pair.other)
    value, ends = abs(pair.value), (low, high) if pair.value > 0 else (-high, -low)
    show = _points if higher_is_better else _money
    what = "is better than" if higher_is_better else "is cheaper than"
    tail = "" if higher_is_better else " a thousand requests"
    return f"{first} {what} {second} by {show(value)} ({show(ends[0])} to {show(ends[1])}){tail}"


def _longer(ratio: float, ends: tuple[float, float]) -> str:
    """How much longer: in percent up to double the time."""
    if ratio >= 2:
        return f"{significant(ratio)} times as long ({significant(ends[0])} to {significant(ends[1])})"
    value, low, high = (significant((each - 1) * 100, 2) for each in (ratio, *ends))
    return f"{value} % longer ({low} to {high} %)"


def _seen(pair: Pair) -> str:
    least = pair.least or 0.0
    if pair.measure in {"latency", "first_token"}:
        return f"one of {significant((least - 1) * 100, 2)} %"
    return f"one of {_points(least)}" if pair.measure == "quality" else f"one of {_money(least)} a thousand requests"


def _points(value: float) -> str:
    return f"{significant(value * 100, 2)} points"


def _money(value: float) -> str:
    return f"-{dollars(-value * THOUSAND)}" if value < 0 else dollars(value * THOUSAND)


def _p(pair: Pair) -> str:
    family = f" after Holm over {pair.family} pairs" if pair.family > 1 else ""
    return f"{probability(pair.p_holm or 0.0)}{family}"


def probability(p: float | None) -> str:
    """A p-value: never 0; nothing where nothing was tested."""
    if p is None:
        return ""
    return "p < 0.0001" if p < 0.0001 else f"p = {significant(p, 2) if p < 0.1 else format(p, '.2f')}"
