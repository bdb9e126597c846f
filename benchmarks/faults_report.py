"""What the cells of `faults.py` say: pooled quantiles, shares of good answers, costs, as Markdown and as charts."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

from charts import Panel, Series, page
from faults_arms import ARMS, DIRECT

FALSE = "false success"
ORDER = (DIRECT, *(arm.name for arm in ARMS))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One arm under one share of faults in one round. What only a log could say is None where there was none."""

    round: int
    task: str
    share: float
    arm: str
    requests: int
    ends: dict[str, int]
    wall_s: float
    good_ms: list[float]
    cost_usd: float | None
    unknown_costs: int | None
    attempts: int | None
    hedges: int | None

    @property
    def good(self) -> int:
        """Whole answers."""
        return self.ends.get("ok", 0)


def summary(cells: list[Cell]) -> list[dict[str, Any]]:
    """Each task, share and arm over all rounds."""
    keys = sorted(
        {(cell.task, cell.share, cell.arm) for cell in cells}, key=lambda key: (*key[:2], ORDER.index(key[2]))
    )
    return [_line(*key, [cell for cell in cells if (cell.task, cell.share, cell.arm) == key]) for key in keys]


def _line(task: str, share: float, arm: str, cells: list[Cell]) -> dict[str, Any]:
    good, requests = sum(cell.good for cell in cells), sum(cell.requests for cell in cells)
    pooled = sorted(ms for cell in cells for ms in cell.good_ms)
    rates = [cell.good / cell.wall_s for cell in cells]
    cost = _sum(cell.cost_usd for cell in cells)
    return {
        "task": task,
        "share": share,
        "arm": arm,
        "requests": requests,
        "good": good,
        "false_successes": sum(cell.ends.get(FALSE, 0) for cell in cells),
        "ends": {
            end: sum(cell.ends.get(end, 0) for cell in cells) for end in sorted({e for c in cells for e in c.ends})
        },
        "goodput": {"median": statistics.median(rates), "min": min(rates), "max": max(rates)},
        "p50_ms": _quantile(pooled, 0.5),
        "p99_ms": _quantile(pooled, 0.99),
        "usd_per_1000_good": None if cost is None or not good else cost / good * 1000,
        "unknown_costs": _sum(cell.unknown_costs for cell in cells),
        "attempts_per_request": _ratio(_sum(cell.attempts for cell in cells), requests),
        "hedged": _ratio(_sum(cell.hedges for cell in cells), requests),
    }


def _sum(values: Any) -> Any:
    """Of nothing known, None."""
    found = list(values)
    return None if any(value is None for value in found) else sum(found)


def _ratio(value: float | None, of: int) -> float | None:
    return None if value is None else value / of


def _quantile(ranked: list[float], share: float) -> float | None:
    """Nearest rank; None of nothing."""
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None


# --- Markdown -----------------------------------------------------------------------------------

HEADINGS = (
    "| task | faults | arm | whole answers | goodput /s (min..max) | p50 / p99 ms | $ per 1000 good | of unknown cost "
    "| attempts a request | hedged | else |"
)


def table(report: dict[str, Any]) -> str:
    """What benchmarks/README.md holds."""
    rule = "|---" * (HEADINGS.count("|") - 1) + "|"
    return "\n".join([HEADINGS, rule, *(_row(line) for line in report["summary"])])


def _row(line: dict[str, Any]) -> str:
    others = ", ".join(f"{count} {end}" for end, count in line["ends"].items() if end != "ok")
    columns = [
        line["task"],
        f"{line['share']:g} %",
        line["arm"],
        f"{line['good']}/{line['requests']} ({line['good'] / line['requests']:.1%})",
        "{median:.1f} ({min:.1f}..{max:.1f})".format(**line["goodput"]),
        f"{_figure(line['p50_ms'], '.0f')} / {_figure(line['p99_ms'], '.0f')}",
        _figure(line["usd_per_1000_good"], ".4f"),
        _figure(line["unknown_costs"], "d"),
        _figure(line["attempts_per_request"], ".2f"),
        _figure(line["hedged"], ".1%"),
        others or "-",
    ]
    return f"| {' | '.join(columns)} |"


def _figure(value: float | None, shape: str) -> str:
    return "-" if value is None else format(value, shape)


# --- charts -------------------------------------------------------------------------------------

CHARTED = (
    ("whole answers, %", lambda line: 100 * line["good"] / line["requests"]),
    ("p99 of whole answers, ms", lambda line: line["p99_ms"]),
    ("$ per 1000 whole answers", lambda line: line["usd_per_1000_good"]),
)


def charts(report: dict[str, Any]) -> str:
    """A row of charts a task: each arm a line over the share of faults."""
    lines = report["summary"]
    shares = sorted({line["share"] for line in lines})
    panels = []
    for task in sorted({line["task"] for line in lines}):
        for title, value in CHARTED:
            found = {(line["arm"], line["share"]): value(line) for line in lines if line["task"] == task}
            series = [Series(arm, [found[arm, share] for share in shares]) for arm in ORDER]
            panels.append(Panel(f"{task}: {title}", [f"{share:g} %" for share in shares], series))
    return page(panels, columns=len(CHARTED), below="share of far requests that fail")
