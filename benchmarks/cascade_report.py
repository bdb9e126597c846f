"""The report of the cascade's benchmark as Markdown and as curves. Measures nothing."""

from __future__ import annotations

from typing import Any

from charts import Panel, Series, page

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
    lines = [title, "", ROUTING, _rule(ROUTING)]
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
    lines = [title, "", CASCADE, _rule(CASCADE)]
    for name, way in report["routing"]["ways"].items():
        lines += [_row(f"weak answers, by {name}", [kept]) for kept in way.get("cascade", [])]
    for name, one in report["near_and_far"].items():
        for kind, of in (("alike", "traffic"), ("unlike", "training texts")):
            kinds = zip(*one[kind], strict=True)
            lines += [_row(f"{name}, judged {of}", list(kept)) for kept in kinds]
    return "\n".join(lines)


def _row(name: str, draws: list[dict[str, Any]]) -> str:
    known = [draw["kept_quality"] for draw in draws if draw["kept_quality"] is not None]
    if len(draws) == 1 and known:
        low, high = draws[0]["kept_interval"]
        held = f"{known[0]:.3f} ({low:.3f}..{high:.3f})"
    else:
        met = len(draws) - sum(value < draws[0]["target"] for value in known)  # what keeps nothing breaks no promise
        held = f"{_between(known, 3)}, {met} of {len(draws)} hold" if known else "nothing is kept"
    thresholds = [draw["threshold"] for draw in draws if draw["threshold"] is not None]
    cells = [
        name, f"{draws[0]['target']:.2f}", _between(thresholds, 2) or "none", f"{_mean(draws, 'escalated'):.0%}", held,
        f"{_mean(draws, 'quality'):.3f}", f"{_mean(draws, 'first_alone'):.3f}, {_mean(draws, 'second_alone'):.3f}",
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


def _between(values: list[float], digits: int) -> str:
    """The 5th and the 95th percentile."""
    if not values:
        return ""
    ordered = sorted(values)
    ends = (ordered[round(0.05 * (len(ordered) - 1))], ordered[round(0.95 * (len(ordered) - 1))])
    return "..".join(dict.fromkeys(f"{value:.{digits}f}" for value in ends))


def _mean(draws: list[dict[str, Any]], name: str) -> float:
    return sum(draw[name] for draw in draws) / len(draws)


def _rule(columns: str) -> str:
    return "|---" * (columns.count("|") - 1) + "|"


def _cell(figure: dict[str, Any]) -> str:
    return f"{figure['mean']:.1%} ({figure['low']:.1%}..{figure['high']:.1%})"


def _number(figure: dict[str, Any]) -> str:
    return f"{figure['mean']:.3f} ({figure['low']:.3f}..{figure['high']:.3f})"
