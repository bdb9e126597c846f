"""A report as tables for people: what the terminal prints, and Markdown and the page use too. Values in, text out."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from router.compare.words import METRICS, UNKNOWN, between, load_told, thousand, verdict, voted
from router.report.page import Table
from router.report.scales import figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.compare.figures import Figures
    from router.compare.intervals import Bounds
    from router.compare.report import Report
    from router.report.scales import Kind

TITLES = {"latency": "Latency", "first_token": "First token", "cost": "Cost", "quality": "Quality"}


def tables(report: Report) -> list[Table]:
    """The figures under each load, the comparisons of each measure, and the votes."""
    found = [_measured(report, load) for load in range(len(report.run.loads))]
    found += [_compared(report, *key) for key, _ in groupby(report.pairs, key=lambda pair: (pair.load, pair.measure))]
    if report.votes:
        found.append(_votes(report))
    return found


def notes(report: Report) -> list[str]:
    """What to know before the figures are believed."""
    return [doubt.words for doubt in report.doubts]


def heading(report: Report) -> str:
    """What was compared, in one line."""
    run = report.run
    loads = "; ".join(load_told(load) for load in run.loads)
    return (
        f"{run.suite} ({run.task}): {len(run.candidates)} candidates, {run.inputs} inputs, {run.repeats} repeats after "
        f"{run.warm_up} warm-up trials each; {loads}; seed {run.seed}; {run.started_at:%Y-%m-%d %H:%M} UTC"
    )


def _measured(report: Report, load: int) -> Table:
    rows = report.under(load)
    shown = [column for column in _columns(report) if any(column[1](each) for each in rows)]
    cells = [[each.candidate, *(write(each) for _, write in shown)] for each in rows]
    where = f" under {load_told(report.run.loads[load])}" if len(report.run.loads) > 1 else ""
    return Table(
        f"Measured{where}, with 95 % intervals", ["candidate", *(name for name, _ in shown)], cells, most=len(cells)
    )


def _columns(report: Report) -> list[tuple[str, Callable[[Figures], str]]]:
    """Each with what it writes; a column of nothing is left out."""
    tokens = {each.tokens for each in report.figures if each.tokens}
    metric = METRICS[report.run.metric] if report.run.metric else "quality"
    return [
        ("answered", lambda each: f"{each.answered} of {each.trials}"),
        *((f"latency {name}", _latency(name)) for name in ("p50", "p95", "p99")),
        ("first token p50", lambda each: cell(each.first_token_s.get("p50"), "s")),
        ("requests/s", lambda each: cell(each.requests_per_s, "count")),
        (f"{'/'.join(sorted(tokens))} tokens/s", lambda each: cell(each.tokens_per_s, "count")),
        ("cost of 1 000", _cost),
        (metric, lambda each: cell(each.quality, "share")),
    ]


def _latency(name: str) -> Callable[[Figures], str]:
    return lambda each: cell(each.latency_s.get(name), "s")


def _cost(each: Figures) -> str:
    """Of a thousand answers; and of how many it is not known."""
    known = cell(thousand(each.cost_usd), "usd") or UNKNOWN
    return f"{known}\n{each.unknown_cost} unknown" if each.cost_usd is not None and each.unknown_cost else known


def cell(bounds: Bounds | None, kind: Kind) -> str:
    """The figure, and in a second line its interval; nothing where nothing is known."""
    return "" if bounds is None else between(bounds, kind).replace(" (", "\n(", 1)


def _compared(report: Report, load: int, measure: str) -> Table:
    pairs = [pair for pair in report.pairs if (pair.load, pair.measure) == (load, measure)]
    where = f" under {load_told(report.run.loads[load])}" if len(report.run.loads) > 1 else ""
    rows = [[verdict(pair), f"{pair.pairs} pairs, {pair.units} {pair.unit}s"] for pair in pairs]
    return Table(f"{TITLES[measure]} compared{where}", ["finding", "from"], rows, most=len(rows))


def _votes(report: Report) -> Table:
    everybody = [each for each in report.votes if each.against is None]
    rows = [
        [each.candidate, *(figure(count, "count") for count in (each.wins, each.ties, each.losses)),
         between(each.share, "share")]
        for each in everybody
    ]  # fmt: skip
    rows += [[voted(each), "", "", "", ""] for each in report.votes if each.against is not None]
    return Table("Votes", ["candidate", "wins", "ties", "losses", "share won"], rows, most=len(rows))
