"""A report as one HTML page that needs nothing else: findings, doubts, charts and tables. Values in, a page out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.compare.markdown import again, machine_told
from router.compare.parts import compared, fronts, latency, over_the_run, throughputs
from router.compare.table import heading, notes, tables
from router.compare.words import METRICS, UNKNOWN, between, thousand
from router.report.page import Page, Part, Story, Tile, html
from router.report.scales import figure

if TYPE_CHECKING:
    from router.compare.report import Report
    from router.compare.run import Run, Served


def page(run: Run, report: Report, made: str) -> str:
    """The page, whole; `run` has the trials that the charts are drawn of, and `made` says by what and when."""
    parts = [_findings(report)]
    for load in range(len(run.loads)):
        if report.under(load):
            parts += [latency(run, report, load), *compared(report, load), *fronts(run, report, load)]
            parts.append(over_the_run(run, report, load))
    if len(run.loads) > 1:
        parts.append(throughputs(run, report))
    parts.append(_method(report))
    return html(Page(f"Comparison: {run.suite}", heading(report), _tiles(report), parts, made))


def _tiles(report: Report) -> list[Tile]:
    run, first = report.run, report.under(0)
    answered, trials = (sum(getattr(each, name) for each in report.figures) for name in ("answered", "trials"))
    tiles = [Tile("Answered", f"{figure(answered, 'count')}", f"of {figure(trials, 'count')} trials that count")]
    if report.ranking and report.ranking[0]:
        quickest = next(each for each in first if each.candidate == report.ranking[0][0])
        tiles.append(Tile("Lowest median latency", quickest.candidate, between(quickest.latency_s["p50"], "s")))
    priced = [each for each in first if each.cost_usd is not None and not each.unknown_cost]
    if priced:
        cheapest = min(priced, key=lambda each: each.cost_usd.value if each.cost_usd else 0.0)
        told = between(thousand(cheapest.cost_usd), "usd")
        tiles.append(Tile("Lowest known cost", cheapest.candidate, f"{told} a thousand"))
    judged = [each for each in first if each.quality is not None and each.candidate != run.reference]
    if judged and run.metric is not None:
        best = max(judged, key=lambda each: each.quality.value if each.quality else 0.0)
        tiles.append(Tile(f"Highest {METRICS[run.metric]}", best.candidate, between(best.quality, "share")))
    spent = [each.spent_usd for each in report.figures if each.spent_usd is not None]
    tiles.append(Tile("Spent, as far as known", figure(sum(spent), "usd") if spent else UNKNOWN, "warm-up included"))
    return tiles


def _findings(report: Report) -> Part:
    doubts = Story("Before you believe it", "", notes(report)) if report.doubts else None
    says = "What differs and by how much, or what would have been seen. How this is known stands at the end."
    return Part(
        "Findings",
        says,
        tables=tables(report),
        stories=[doubts] if doubts else [],
        empty="" if report.figures else "No trial has counted yet.",
    )


def _method(report: Report) -> Part:
    run = report.run
    how = [
        f"Machine: {machine_told(run)}.",
        *map(_told, run.candidates),
        f"To run it again: {again(run)}",
        f"Run {run.run_id}, {run.planned} trials planned, seed {run.seed}.",
    ]  # fmt: skip
    return Part("How it was done", report.method, stories=[Story("Where and with what", "", how)])


def _told(served: Served) -> str:
    """Who a candidate was; far, nobody tells us what it ran on."""
    known = (("runtime", served.runtime), ("device", served.device), ("revision", served.revision))
    return ", ".join([f"{served.name}: {served.candidate_id}", *(f"{name} {value}" for name, value in known if value)])
