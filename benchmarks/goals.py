"""Figures over rounds, and whether they meet their goals: what the reports of several benchmarks are made of."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from delivery import rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Spread = dict[str, float]
HEAD = "| figure | goal | median (min..max) | |"


def spread(values: Iterable[float]) -> Spread | None:
    """The median over the rounds, and how far they lie apart; None of nothing."""
    found = list(values)
    if not found:
        return None
    return {"median": statistics.median(found), "min": min(found), "max": max(found)}


def goal(
    what: str,
    value: Spread | None,
    limit: float,
    *,
    most: bool = False,
    against: Mapping[str, Spread | None] | None = None,
) -> dict[str, Any]:
    """A figure beside its goal, at least or at `most` the limit; `met` is None where it was not measured.

    `against` has the same figure of others in the same run, by their names.
    """
    met = None if value is None else value["median"] <= limit if most else value["median"] >= limit
    found = {"what": what, "goal": f"{'<=' if most else '>='} {limit:g}", "value": value, "met": met}
    return found | ({"against": dict(against)} if against else {})


def shown(value: Spread | None) -> str:
    """A spread as it stands in a table, with as many digits as its size deserves."""
    if value is None:
        return "not measured"
    median, low, high = (number(value[name]) for name in ("median", "min", "max"))
    return median if low == high else f"{median} ({low}..{high})"


def number(value: float) -> str:
    """Three digits that count, and never fewer than a whole number has."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def verdict(met: bool | None) -> str:  # noqa: FBT001 - it is what is told
    """What a table says of a goal."""
    return {True: "met", False: "**not met**", None: "not measured"}[met]


def told(goals: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table of goals."""
    rows = [f"| {each['what']} | {each['goal']} | {shown(each['value'])} | {verdict(each['met'])} |" for each in goals]
    return [HEAD, rule(HEAD), *rows]
