"""The parts of the report that judge decisions: predictions, regret, savings, break-even, and decisions told."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from router.report.charts import Cloud, Names, Row, Ruler, bars, intervals, scatter
from router.report.page import Part, Plot, Story, Table
from router.report.reading import in_s, number, rows_of, said, side
from router.report.scales import figure
from router.report.sections import MOST_CANDIDATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.report.reading import Answer, Rows
    from router.report.scales import Kind
    from router.report.svg import Ink

CALIBRATED, BAND = 0.95, (0.93, 0.97)
FEW = 20
"""Of fewer observations a share says nothing, and its interval would be the whole axis."""

Z = 1.959964


def predictions(errors: Answer, near: dict[str, bool]) -> Part:
    """Predicted against observed latency, and how often the predicted 95th percentile held."""
    title = "Predicted against observed"
    says = (
        "First attempts of the chosen candidate that succeeded. Calibrated predictions lie along the dotted line, and "
        "95 % of observations at or below the predicted p95: the band is 93 to 97 %, the bars are 95 % intervals "
        "(Wilson)."
    )
    rows = sorted(rows_of(errors), key=lambda row: -(number(row, "n") or 0.0))[:MOST_CANDIDATES]
    plots = [plot for plot in (_pairs(rows_of(errors, "sample"), near), _coverage(rows, near)) if plot is not None]
    names = ("median_error", "p90_error", "bias", "within_p50", "within_p90", "within_p95", "within_p99")
    columns = ("candidate", "n", "median error", "p90 error", "bias", "within p50", "p90", "p95", "p99")
    table = Table("Error is |predicted - observed| / observed; bias above 0 means slower than predicted.", columns, [
        (said(row, "candidate"), figure(number(row, "n"), "count"), *(figure(number(row, n), "share") for n in names))
        for row in rows
    ])  # fmt: skip
    empty = "" if rows else "No prediction can be compared with an answer in this window."
    return Part(title, says, plots, [table] if rows else [], empty=empty)


def _pairs(sample: Rows, near: dict[str, bool]) -> Plot | None:
    pairs: dict[Ink, list[tuple[float, float]]] = {"near": [], "far": [], "sixth": []}
    for row in sample:
        predicted, observed = in_s(row, "predicted_ms"), in_s(row, "observed_ms")
        if predicted and observed:
            pairs[_side(said(row, "candidate"), near)].append((predicted, observed))
    clouds = [
        Cloud({"sixth": "not known where"}.get(kind, kind), found, kind) for kind, found in pairs.items() if found
    ]
    if not clouds:
        return None
    count = sum(len(cloud.points) for cloud in clouds)
    heard = Names("scatter", "Predicted against observed latency", f"The newest {count} answers, near and far.")
    table = Table("Of the pairs shown.", ("", "pairs", "slower than predicted", "median ratio"), [
        (
            cloud.name,
            figure(len(cloud.points), "count"),
            figure(sum(seen > guess for guess, seen in cloud.points) / len(cloud.points), "share"),
            figure(sorted(seen / guess for guess, seen in cloud.points)[len(cloud.points) // 2], "count"),
        )
        for cloud in clouds
    ])  # fmt: skip
    return Plot(f"The newest {count} predictions", scatter(heard, clouds, "s"), table)


def _coverage(rows: Rows, near: dict[str, bool]) -> Plot | None:
    marks, cells = [], []
    for row in rows:
        share, count = number(row, "within_p95"), number(row, "n")
        if share is None or not count:
            continue
        name, (low, high) = said(row, "candidate"), wilson(share, count)
        if count >= FEW:
            marks.append(Row(name, share, low, high, _side(name, near)))
        interval = f"{figure(low, 'share')} to {figure(high, 'share')}"
        cells.append((name, figure(count, "count"), figure(share, "share"), interval))
    if not marks:
        return None
    heard = Names("coverage", "Coverage of the predicted p95", f"Of {len(marks)} candidates, against 95 %.")
    chart = intervals(heard, marks, Ruler("share", CALIBRATED, BAND, zero=False))
    columns = ("candidate", "n", "covered", "interval")
    table = Table(f"Drawn where at least {FEW} were observed.", columns, cells)
    return Plot("Coverage of the predicted p95", chart, table)


def wilson(share: float, count: float) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson, J. Am. Stat. Assoc. 22, 1927): never beyond 0 or 1."""
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z * sqrt(share * (1 - share) / count + Z * Z / (4 * count * count)) / (1 + Z * Z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def regret(answer: Answer) -> Part:
    """How much better the best other candidate would have been."""
    by, rows = str(answer.get("by", "policy")), rows_of(answer)
    note = answer.get("note")
    says = f"Means over answered decisions. {note if isinstance(note, str) else ''}".strip()
    plots = []
    for kind, column, what in (("s", "mean_s", "seconds"), ("usd", "mean_usd", "dollars")):
        marks = [Row(said(row, by), value, kind="third") for row in rows if (value := number(row, column)) is not None]
        if marks:
            heard = Names(f"regret-{kind}", f"Regret in {what}", f"Mean per decision, by {by}.")
            plots.append(Plot(f"Mean regret in {what}", bars(heard, marks, kind), _regrets(rows, by, kind)))  # type: ignore[arg-type]  # one of the two
    return Part("Regret", says, plots, empty="" if plots else "Nothing was answered that had a choice in this window.")


def _regrets(rows: Rows, by: str, kind: Kind) -> Table:
    mean, tail, all_of_it, elsewhere = (
        ("mean_s", "p95_s", "total_s", "faster_elsewhere")
        if kind == "s"
        else ("mean_usd", "p95_usd", "total_usd", "cheaper_elsewhere")
    )
    columns = (by, "decisions", "mean", "p95", "sum", "better")
    return Table("Better: decisions where another candidate would have been.", columns, [
        (
            said(row, by),
            figure(number(row, "decisions"), "count"),
            *(figure(number(row, name), kind) for name in (mean, tail, all_of_it)),
            figure(number(row, elsewhere), "share"),
        )
        for row in rows
    ])  # fmt: skip


def savings(answer: Answer) -> Part:
    """What was saved against simple ways to decide, with sign and interval."""
    rows, note = rows_of(answer), answer.get("note")
    says = (
        "Right of the line it was saved, left of it the simple way would have been better. Bars are 95 % intervals; "
        "grey where they include 0."
    )
    plots = [plot for plot in (_saved(rows, "usd", "dollars"), _saved(rows, "s", "seconds")) if plot is not None]
    empty = "" if plots else "Nothing was answered in this window that can be compared with another choice."
    return Part(
        "Savings against simple ways to decide",
        f"{says} {note if isinstance(note, str) else ''}".strip(),
        plots,
        empty=empty,
    )


def _saved(rows: Rows, kind: Kind, what: str) -> Plot | None:
    marks, cells = [], []
    for row in rows:
        value, low, high = (number(row, f"saved_{kind}{end}") for end in ("", "_low", "_high"))
        if value is None:
            continue
        sign = "+" if value > 0 else ""
        certain = low is not None and high is not None
        ink: Ink = "third" if value > 0 else "far"
        if low is not None and high is not None and low <= 0 <= high:
            ink = "sixth"
        marks.append(Row(said(row, "baseline"), value, low, high, ink, f"{sign}{figure(value, kind)}"))
        count = number(row, "priced" if kind == "usd" else "timed")
        range_ = f"{figure(low, kind)} to {figure(high, kind)}" if certain else "not known"
        cells.append((said(row, "baseline"), f"{sign}{figure(value, kind)}", range_, figure(count, "count")))
    if not marks:
        return None
    heard = Names(f"saved-{kind}", f"Savings in {what}", f"Against {len(marks)} baselines, with 95 % intervals.")
    table = Table("Sums over the decisions that count.", ("baseline", "saved", "95 % interval", "decisions"), cells)
    return Plot(f"Saved {what}", intervals(heard, marks, Ruler(kind, 0.0)), table)


def break_even(answer: Answer) -> Part:
    """How busy this machine must be before near wins."""
    says = (
        "Of this machine's time: the share that each model breaks even at (near is cheaper above it), and the share "
        "that the window's requests would take if all were answered near. Beyond 100 % it cannot be reached."
    )
    rows = rows_of(answer)
    marks, short = [], []
    for row in rows:
        even, busy, name = (
            number(row, "break_even_utilisation"),
            number(row, "utilisation_all_near"),
            said(row, "model"),
        )
        if even and busy:
            marks += [Row(f"{name} breaks even", even, kind="third"), Row(f"{name} if all near", busy, kind="near")]
        short.append((name, figure(even, "share"), figure(busy, "share"), _wins(even, busy)))
    columns = ("model", "far, a request", "near, a request", "breaks even at", "asked")
    prices = Table("Far: the cheapest far candidate. Near: device time. Requests by the hour.", columns, [
        (
            said(row, "model"),
            figure(number(row, "far_usd_per_request"), "usd") or "unknown",
            figure(number(row, "device_s_per_request"), "s") or "unknown",
            *(figure(number(row, name), "count") for name in ("break_even_per_hour", "requests_per_hour")),
        )
        for row in rows
    ])  # fmt: skip
    if not marks:
        empty = "No model has both a near time and a far price in this window."
        return Part("Break-even", says, tables=[prices] if rows else [], empty=empty)
    heard = Names("even", "Break-even utilisation by model", "Share of the machine's time above which near is cheaper.")
    table = Table("Of this machine's time.", ("model", "breaks even", "if all near", "wins"), short)
    plot = Plot("Utilisation", intervals(heard, marks[:24], Ruler("share", 1.0, log=True)), table)
    return Part("Break-even", says, [plot], [prices])


def _wins(even: float | None, busy: float | None) -> str:
    if even is None or busy is None:
        return "unknown"
    return "far" if even > 1 or busy < even else "near"


def regretted(told: Sequence[Answer]) -> Part:
    """The most regretted decisions, each with its explanation."""
    says = (
        "Those of the newest decisions where another candidate would have saved the most seconds or dollars, if what "
        "was predicted of it is right."
    )
    stories = [_story(each) for each in told]
    return Part(
        "Most regretted decisions",
        says,
        stories=stories,
        empty="" if stories else "No decision is regretted in this window.",
    )


def _story(told: Answer) -> Story:
    hindsight = told.get("hindsight") or {}
    lost = [figure(number(hindsight, f"regret_{kind}") or None, kind) for kind in ("s", "usd")]
    title = f"{said(told, 'decision_id')}: regret {' and '.join(filter(None, lost)) or 'unknown'}"
    details = [f"{said(each, 'candidate')}: {said(each, 'words')}" for each in rows_of(told, "candidates")]
    happened = told.get("happened") or {}
    for attempt in rows_of(happened, "attempts"):
        start = in_s(attempt, "start_ms")
        when = "" if start is None else f"After {figure(start, 's')}: "
        details.append(f"{when}{said(attempt, 'words')}")
    return Story(title, said(told, "summary"), details)


def _side(candidate: str, near: dict[str, bool]) -> Ink:
    return side({"near": near.get(candidate)})
