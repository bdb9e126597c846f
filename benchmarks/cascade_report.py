"""The report of the cascade's benchmark as Markdown and as curves. Measures nothing."""

from __future__ import annotations

from typing import Any

from charts import Panel, Series, page

ROUTING = (
    "| who goes to the strong model | strong calls for 95 % of its gain | by the weak one's figure alone | APGR "
    "| `min_quality` chosen before: share, gain |"
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
    lines = [title, "", ROUTING, _rule(ROUTING)]
    for name, way in one["ways"].items():
        limit = way.get("min_quality")
        chosen = f"{limit['strong_share']:.0%}, {limit['gain']:.0%}" if limit else ""
        alone = _cell(way["by_weak_alone"]) if "by_weak_alone" in way else ""
        lines.append(f"| {name} | {_cell(way['calls_for_95'])} | {alone} | {_number(way['apgr'])} | {chosen} |")
    return "\n".join(lines)


def _cascades(report: dict[str, Any]) -> str:
    title = (
        "The cascade, its threshold chosen on other texts (risk 10 %), and what became of it on held-out ones; "
        "Wilson's 95 % intervals, over draws the range:"
    )
    lines = [title, "", CASCADE, _rule(CASCADE)]
    for name, way in report["routing"]["ways"].items():
        lines += [_row(f"weak answers, by {name}", [kept]) for kept in way.get("cascade", [])]
    for name, one in report["near_and_far"].items():
        draws = [draw["targets"] for draw in one["draws"]]
        lines += [_row(f"{name}, {one['shots']} examples", list(kept)) for kept in zip(*draws, strict=True)]
    return "\n".join(lines)


def _row(name: str, draws: list[dict[str, Any]]) -> str:
    known = [draw["kept_quality"] for draw in draws if draw["kept_quality"] is not None]
    if len(draws) == 1 and known:
        low, high = draws[0]["kept_interval"]
        held = f"{known[0]:.3f} ({low:.3f}..{high:.3f})"
    else:
        met = sum(value >= draws[0]["target"] for value in known)
        held = f"{min(known):.3f}..{max(known):.3f}, {met} of {len(draws)} hold" if known else "nothing is kept"
    thresholds = [draw["threshold"] for draw in draws if draw["threshold"] is not None]
    between = sorted({f"{value:.2f}" for value in (min(thresholds), max(thresholds))}) if thresholds else ["none"]
    cells = [
        name, f"{draws[0]['target']:.2f}", "..".join(between), f"{_mean(draws, 'escalated'):.0%}", held,
        f"{_mean(draws, 'quality'):.3f}", f"{_mean(draws, 'first_alone'):.3f}, {_mean(draws, 'second_alone'):.3f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def drawn(report: dict[str, Any]) -> str:
    """Quality against the share that is asked again, as one SVG."""
    ways = report["routing"]["ways"]
    panels = [Panel("weak and strong: share right", MARKS, [Series(name, w["quality_at"]) for name, w in ways.items()])]
    for name, one in report["near_and_far"].items():
        curves = [draw["curve"] for draw in one["draws"]]
        means = [sum(values) / len(values) for values in zip(*curves, strict=True)]
        ends = [one["near"] + (one["far"] - one["near"]) * share for share in report["shares"]]
        panels.append(Panel(f"{name}: accuracy", MARKS, [Series("least sure first", means), Series("random", ends)]))
    return page(panels, columns=3, below="asked again, %")


def _mean(draws: list[dict[str, Any]], name: str) -> float:
    return sum(draw[name] for draw in draws) / len(draws)


def _rule(columns: str) -> str:
    return "|---" * (columns.count("|") - 1) + "|"


def _cell(figure: dict[str, Any]) -> str:
    return f"{figure['mean']:.1%} ({figure['low']:.1%}..{figure['high']:.1%})"


def _number(figure: dict[str, Any]) -> str:
    return f"{figure['mean']:.3f} ({figure['low']:.3f}..{figure['high']:.3f})"
