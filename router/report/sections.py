"""The parts of the report about traffic, money and time, each from one answer. Answers in, parts out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.report.charts import Line, Names, Row, Ruler, bars, intervals, over_time
from router.report.page import Part, Plot, Table
from router.report.reading import in_s, number, rows_of, said, side, total
from router.report.scales import figure, moment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from router.report.reading import Answer, Rows
    from router.report.scales import Kind
    from router.report.svg import Ink

SIDES: tuple[Ink, Ink] = ("near", "far")
STEPS_S = {"minute": 60, "hour": 3600, "day": 86400}
MOST_STEPS = 2000
MOST_CANDIDATES = 12


def traffic(summary: Answer) -> Part:
    """What was asked, answered and spent, by one column."""
    by, rows = str(summary.get("by", "backend")), rows_of(summary)
    columns = (
        by,
        "requests",
        "answered",
        "failed",
        "refused",
        "cost",
        "of unknown cost",
        "p50",
        "p95",
        "near",
        "error",
    )
    table = Table("Each request is one decision; error is the median of |predicted - observed| / observed.", columns, [
        (
            said(row, by),
            *(figure(number(row, name), "count") for name in ("requests", "ok", "failed", "refused")),
            figure(number(row, "cost_usd"), "usd") or "unknown",
            figure(number(row, "unknown_cost"), "count"),
            *(figure(in_s(row, name), "s") for name in ("p50_ms", "p95_ms")),
            *(figure(number(row, name), "share") for name in ("near_share", "estimate_error")),
        )
        for row in rows
    ])  # fmt: skip
    empty = "" if rows else "No request in this window."
    return Part(f"Requests by {by}", "What was asked, answered and spent.", tables=[table] if rows else [], empty=empty)


def spending(series: Answer) -> Part:
    """Cost over time, near and far."""
    says = "What answers cost, step by step. Steps without a request cost nothing; of unknown costs nothing is drawn."
    lines = _lines(series, "cost_usd", idle=0.0)
    if not lines:
        return Part("Cost over time", says, empty="No answered request whose cost is known in this window.")
    chart = over_time(Names("cost", "Cost over time", _spoken(lines, "usd")), lines, "usd")
    return Part("Cost over time", says, [Plot(f"Cost per {_step(series)}", chart, _over_time(lines, "usd"))])


def sharing(series: Answer) -> Part:
    """The part of the answered requests that this machine served, and the rest, over time."""
    says = "Who answered, step by step, of all answered requests."
    answered = {line.name: dict(line.points) for line in _lines(series, "ok", idle=0.0)}
    moments = sorted({moment for points in answered.values() for moment in points})
    if not moments:
        return Part("Near and far", says, empty="Nothing was answered in this window.")
    everybody = {moment: sum(points.get(moment, 0.0) for points in answered.values()) for moment in moments}
    lines = [
        Line(name, [(t, answered.get(name, {}).get(t, 0.0) / everybody[t]) for t in moments if everybody[t]], name)
        for name in SIDES
    ]
    chart = over_time(Names("share", "Share near and far", _spoken(lines, "share")), lines, "share")
    return Part(
        "Near and far", says, [Plot(f"Share of answers per {_step(series)}", chart, _over_time(lines, "share"))]
    )


def latencies(models: Answer) -> Part:
    """Latency quantiles of each candidate that answered."""
    says = "From the median of each candidate (dot) to its 99th percentile. The scale is logarithmic."
    rows = _most(rows_of(models), "ok", lambda row: in_s(row, "p50_ms") is not None)
    if not rows:
        return Part("Latency by candidate", says, empty="Nobody answered in this window.")
    marks = [
        Row(said(row, "candidate"), in_s(row, "p50_ms") or 0.0, in_s(row, "p50_ms"), in_s(row, "p99_ms"), side(row))
        for row in rows
    ]
    names = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")
    table = Table("Of answered requests, within 2 %.", ("candidate", "answers", "p50", "p90", "p95", "p99"), [
        (said(row, "candidate"), figure(number(row, "ok"), "count"), *(figure(in_s(row, name), "s") for name in names))
        for row in rows
    ])  # fmt: skip
    heard = Names("latency", "Latency by candidate", f"Median to 99th percentile of {len(rows)} candidates.")
    return Part(
        "Latency by candidate",
        says,
        [Plot("Latency, p50 to p99", intervals(heard, marks, Ruler("s", log=True)), table)],
    )


def top_models(models: Answer) -> Part:
    """The models that were asked most, with what they cost."""
    says = "Which models were asked for most, near and far together."
    by_model: dict[str, Rows] = {}
    for row in rows_of(models):
        by_model.setdefault(said(row, "model"), []).append(row)
    if not by_model:
        return Part("Top models", says, empty="No request in this window.")
    ranked = sorted(by_model.items(), key=lambda item: -(total(item[1], "requests") or 0.0))[:MOST_CANDIDATES]
    chart = bars(
        Names("models", "Requests by model", f"The {len(ranked)} models that were asked most."),
        [Row(name, total(rows, "requests") or 0.0, kind="third") for name, rows in ranked],
        "count",
    )
    table = Table("Cost is the sum of what is known.", ("model", "requests", "answered", "near", "cost"), [
        (
            name,
            *(figure(total(rows, column), "count") for column in ("requests", "ok")),
            figure(_near_share(rows), "share"),
            figure(total(rows, "cost_usd"), "usd") or "unknown",
        )
        for name, rows in ranked
    ])  # fmt: skip
    return Part("Top models", says, [Plot("Requests", chart, table)])


def budget_burn(spent: Answer, limits: Sequence[Answer]) -> Part:
    """What was spent far, day by day and within the month, against the budgets of everybody."""
    says = "What answers from far cost, against the budgets that concern everything (scope global)."
    rows = rows_of(spent)
    plots = [
        plot
        for period, column in (("day", "spent_usd"), ("month", "month_usd"))
        if (plot := _burn(rows, period, column, limits)) is not None
    ]
    columns = ("scope", "period", "limit", "spent", "when it is spent")
    table = Table("All budgets, as configured.", columns, [
        (said(each, "scope"), said(each, "period"), figure(number(each, "limit_usd"), "usd"),
         figure(number(each, "spent_usd"), "usd"), said(each, "on_exceeded"))
        for each in limits
    ])  # fmt: skip
    empty = "" if plots else _unburnt(rows)
    return Part("Budget burn", says, plots, [table] if limits else [], empty=empty)


def _unburnt(rows: Rows) -> str:
    """Why there is no spending to draw: it was nothing, or nobody knows it."""
    requests, unknown = total(rows, "requests"), total(rows, "unknown_cost")
    if unknown:
        return f"Of {figure(unknown, 'count')} answers from far the cost is unknown; no other cost anything."
    if requests:
        return f"{figure(requests, 'count')} requests were answered far in this window, at no cost."
    return "Nothing was answered far in this window, so nothing was burnt."


def _burn(rows: Rows, period: str, column: str, limits: Sequence[Answer]) -> Plot | None:
    points = _points(rows, "day", column)
    if not any(value for _, value in points):
        return None
    entry = next((each for each in limits if (said(each, "scope"), said(each, "period")) == ("global", period)), None)
    limit = None if entry is None else number(entry, "limit_usd")
    line = Line("far", points, "far")
    what = "Spent far per day" if period == "day" else "Spent far since the first of the month"
    against = "no budget of everybody is set" if limit is None else f"the budget is {figure(limit, 'usd')}"
    heard = Names(f"burn-{period}", what, f"{_spoken([line], 'usd')} For a {period}, {against}.")
    chart = over_time(heard, [line], "usd", limit=None if limit is None else ("budget", limit))
    return Plot(f"{what} ({against})", chart, _over_time([line], "usd", dates=True))


# --- what several parts share ------------------------------------------------------------------------


def _lines(series: Answer, column: str, *, idle: float) -> list[Line]:
    """A line for near and one for far; a step without a row is `idle`."""
    rows, step_s = rows_of(series), STEPS_S.get(str(series.get("step")), 0)
    moments = [moment for row in rows if (moment := moment_of(row.get("at"))) is not None]
    found = []
    for name in SIDES:
        mine = [row for row in rows if row.get("side") == name]
        known = {moment: number(row, column) for row in mine if (moment := moment_of(row.get("at"))) is not None}
        if any(value is not None for value in known.values()):
            points = [(t, value) for t in _steps(moments, step_s) if (value := known.get(t, idle)) is not None]
            found.append(Line(name, points, name))
    return found


def _steps(moments: Sequence[float], step_s: int) -> list[float]:
    """Every step from the first to the last, unless there would be too many to draw."""
    known = sorted(set(moments))
    count = round((known[-1] - known[0]) / step_s) + 1 if step_s and known else 0
    return [known[0] + number * step_s for number in range(count)] if 0 < count <= MOST_STEPS else known


def _points(rows: Rows, when: str, column: str) -> list[tuple[float, float]]:
    found = ((moment_of(row.get(when)), number(row, column)) for row in rows)
    return [(moment, value) for moment, value in found if moment is not None and value is not None]


def _over_time(lines: Sequence[Line], kind: Kind, *, dates: bool = False) -> Table:
    """The lines' figures, one row a step, the newest last."""
    values = [dict(line.points) for line in lines]
    moments = sorted({moment for points in values for moment in points})
    rows = [
        (figure(t, "time")[: 10 if dates else None], *(figure(points.get(t), kind) for points in values))
        for t in moments
    ]
    return Table("Times are UTC.", ("from", *(line.name for line in lines)), rows)


def _spoken(lines: Sequence[Line], kind: Kind) -> str:
    """What lines show, for those who cannot see them."""
    parts = []
    for line in lines:
        values = [value for _, value in line.points]
        if values:
            low, high, last = (figure(value, kind) for value in (min(values), max(values), values[-1]))
            parts.append(f"{line.name}: between {low} and {high}, at last {last}.")
    return " ".join(parts)


def _step(series: Answer) -> str:
    step = series.get("step")
    return step if isinstance(step, str) else "step"


def _most(rows: Iterable[Answer], column: str, known: Callable[[Answer], bool]) -> Rows:
    """The rows with the largest figures of a column, as many as a chart can show."""
    return sorted(filter(known, rows), key=lambda row: -(number(row, column) or 0.0))[:MOST_CANDIDATES]


def _near_share(rows: Rows) -> float | None:
    answered = total(rows, "ok")
    return (total([row for row in rows if row.get("near") is True], "ok") or 0.0) / answered if answered else None
