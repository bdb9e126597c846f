"""Reading the answers to the log's questions: rows of JSON as typed figures. What is missing is None, never 0."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from router.report.svg import Ink

Answer = dict[str, Any]
Rows = list[dict[str, Any]]


def rows_of(answer: Mapping[str, Any], name: str = "rows") -> Rows:
    """The rows of an answer."""
    found = answer.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def number(row: Mapping[str, Any], name: str) -> float | None:
    """A figure of a row."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def in_s(row: Mapping[str, Any], name: str) -> float | None:
    """A figure in milliseconds, in seconds."""
    value = number(row, name)
    return None if value is None else value / 1000


def said(row: Mapping[str, Any], name: str) -> str:
    """A name of a row; `(none)` where there is none."""
    value = row.get(name)
    return value if isinstance(value, str) and value else "(none)"


def total(rows: Iterable[Mapping[str, Any]], name: str) -> float | None:
    """The sum of the known figures; None where none is known."""
    known = [value for row in rows if (value := number(row, name)) is not None]
    return sum(known) if known else None


def side(row: Mapping[str, Any]) -> Ink:
    """What a row is drawn in: near or far, `sixth` where nobody knows."""
    near = row.get("near")
    if not isinstance(near, bool):
        return "sixth"
    return "near" if near else "far"
