"""The report of the cascade's benchmark as Markdown and as curves. Measures nothing."""

from __future__ import annotations

from typing import Any

from charts import Panel, Series, page
from delivery import rule

ROUTING = (
    "| who goes to the strong model | strong calls for 50 % of its gain | for 80 % | for 95 % "
    "| for 95 %, by the weak one's figure alone | APGR | `min_quality` chosen before: share, gain |"
)
CASCADE = "| kept | target | threshold | asked again | quality of the kept | of all | near alone, far alone |"
MARKS = ("0", "", "", "", "20", "", "", "", "40", "", "", "", "60", "", "", "", "80", "", "", "", "100")


def table(report: dict[str, Any]) -> str:
    """What benchmarks/README.md holds."""
    return "\n\n".join([_routing(report["routing"]), _cascades(report)])


def _routing(one: dict[str, Any]) -> str:
    title = (
        f"Weak {one['weak']:.3f}, strong {one['strong']:.3f} on {one['held_out']} held-out prompts; learnt from "
        f"{one['seen']} others. 95 % intervals by bootstrap over prompts:"
    )
    lines = [title, "", ROUTING, rule(ROUTING)]
    for name, way in one["ways"].items():
        limit = way.get("min_quality")
        chosen = f"{limit['strong_share']:.0%}, {limit['gain']:.0%}" if limit else ""
        alone = _cell(way["by_weak_alone"]["95%"]) if "by_weak_alone" in way else ""
        calls = " | ".join(_cell(figure) for figure in way["calls_for"].values())
        lines.append(f"| {name} | {calls} | {alone} | {_number(way['apgr'])} | {chosen} |")
    return "\n".join(lines)


def _cascades(report: dict[str, Any]) -> str:
    title = (
        "The cascade: its threshold is chosen from judged answers, at a risk of 10 % (nominally 90 % of the choices "
        "hold the target), and what it keeps is measured. Of one choice Wilson's 95 % interval, of many the 5th and "
        "95th percentile and how many hold:"
    )
    lines = [title, "", CASCADE, rule(CASCADE)]
    for name, way in report["routing"]["ways"].items():
        lines += [_one(f"weak answers, by {name}", kept) for kept in way.get("cascade", [])]
    for name, one in report["near_and_far"].items():
        for kind, of in (("alike", "traffic"), ("unlike", "training texts")):
            lines += [_many(f"{name}, judged {of}", kept) for kept in one[kind]]
    return "\n".join(lines)


def _one(name: str, kept: dict[str, Any]) -> str:
    if kept["kept_quality"] is None:
        return _row(name, kept, "none", "nothing is kept")
    low, high = kept["kept_interval"]
    return _row(name, kept, f"{kept['threshold']:.2f}", f"{kept['kept_quality']:.3f} ({low:.3f}..{high:.3f})")


def _many(name: str, kept: dict[str, Any]) -> str:
    if kept["kept_quality"] is None:
        return _row(name, kept, "none", "nothing is kept")
    between = f"{_between(kept['kept_quality'], 3)}, {kept['hold']} of {kept['choices']} hold"
    return _row(name, kept, _between(kept["threshold"], 2), between)


def _row(name: str, kept: dict[str, Any], threshold: str, held: str) -> str:
    cells = [
        name, f"{kept['target']:.2f}", threshold, f"{kept['escalated']:.0%}", held, f"{kept['quality']:.3f}",
        f"{kept['first_alone']:.3f}, {kept['second_alone']:.3f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def drawn(report: dict[str, Any]) -> str:
    """Quality against the share that is asked again, as one SVG."""
    ways = report["routing"]["ways"]
    panels = [Panel("weak and strong: share right", MARKS, [Series(name, w["quality_at"]) for name, w in ways.items()])]
    for name, one in report["near_and_far"].items():
        means = [sum(values) / len(values) for values in zip(*one["curves"], strict=True)]
        ends = [one["near"] + (one["far"] - one["near"]) * share for share in report["shares"]]
        panels.append(Panel(f"{name}: accuracy", MARKS, [Series("least sure first", means), Series("random", ends)]))
    return page(panels, columns=3, below="asked again, %")


def _between(ends: list[float], digits: int) -> str:
    return "..".join(dict.fromkeys(f"{value:.{digits}f}" for value in ends))


def _cell(figure: dict[str, Any]) -> str:
    return f"{figure['mean']:.1%} ({figure['low']:.1%}..{figure['high']:.1%})"


def _number(figure: dict[str, Any]) -> str:
    return f"{figure['mean']:.3f} ({figure['low']:.3f}..{figure['high']:.3f})"
