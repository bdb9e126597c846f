"""`nearfar replay`: what another policy would have cost and taken on the logged traffic, or why that cannot be said."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from policies.base import dollars
from router.cli.client import post
from router.cli.console import (
    config_option,
    configured,
    instant_of,
    json_option,
    ms,
    reported,
    server_option,
    show_json,
    show_table,
)
from router.cli.reading import from_option, read_log
from router.decision_log.windows import Window
from router.planning import parameters_of
from router.replay.replayed import Asked, Clock, Stage
from router.replay.replayed import replay as replay_it
from router.replay.verdict import Replay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.replay.verdict import Figure, Verdict

MAX_ROWS = 100_000
NAMES = {
    "price": "price per request",
    "errors": "requests that fail",
    "quality": "quality",
    "latency_mean": "latency, mean",
    "latency_p50": "latency, p50",
    "latency_p95": "latency, p95",
    "latency_p99": "latency, p99",
    "deadline_misses": "deadlines missed",
}
METHODS = {
    "dr": "doubly robust",
    "snips": "SNIPS",
    "ips": "IPS",
    "paired": "shadow pairs",
    "events": "event replay",
    "observed": "observed",
}


@click.command()
@click.option("--policy", required=True, help="A policy, or a baseline: all-near, all-far, random, oracle, logged.")
@click.option("--since", help="Only newer decisions: an ISO 8601 instant, or an age such as 30m, 24h, 7d.")
@click.option("--until", help="Only older decisions, likewise.")
@click.option("--task", help="Only this task.")
@click.option("--model", help="Only this model.")
@click.option("--deadline-ms", type=click.FloatRange(0, min_open=True), help="What counts as late (default: each own).")
@click.option("--baselines", is_flag=True, help="Show the named baselines beside it.")
@click.option("--watched", is_flag=True, help="You look again and again: intervals that hold at every look, and wider.")
@click.option("--max-rows", type=click.IntRange(1), default=MAX_ROWS, show_default=True, help="The newest so many.")
@config_option
@from_option
@server_option
@json_option
def replay(*, config: Path | None, server: str | None, as_json: bool, **given: Any) -> None:
    """Show what another policy would have cost and taken on the logged traffic.

    Each figure comes with its 95 % interval, or with the reason why this log cannot support one.
    """
    with reported():
        for name in ("since", "until"):
            given[name] = instant_of(given[name])
        answer = _ask(server, given) if server is not None else _read(config, given)
        if as_json:
            show_json(answer)
            return
        _show(answer)


def _ask(server: str, given: dict[str, Any]) -> Replay:
    body = {name: value for name, value in given.items() if value is not None and name != "shipped"}
    for name in ("since", "until"):
        if name in body:
            body[name] = body[name].isoformat()
    return msgspec.convert(post(server, "/v1/replay", body), Replay)


def _read(config: Path | None, given: dict[str, Any]) -> Replay:
    settings, _ = configured(config)
    window = Window(
        since=given["since"],
        until=given["until"],
        task=given["task"],
        model=given["model"],
        max_rows=given["max_rows"],
    )
    asked = Asked(
        policy=given["policy"],
        given=parameters_of(settings.routing),
        baselines=given["baselines"],
        deadline_ms=given["deadline_ms"],
        watched=given["watched"],
    )
    with read_log(settings, given["shipped"]) as reader, _progress() as bar:
        return replay_it(reader, window, asked, Clock(tell=_telling(bar)))


def _progress() -> Progress:
    """A bar on a terminal, on standard error; nothing elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed} requests"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)


def _telling(bar: Progress) -> Callable[[Stage, str, int], None]:
    """Tell the bar how far it is. How many requests there are is known once they are read."""
    line = bar.add_task("reading", total=None)
    last: list[Any] = ["reading", None]

    def tell(stage: Stage, what: str, count: int) -> None:
        if stage == "reading":
            last[1] = count
        bar.update(line, description=f"{stage} {what}", completed=count, total=None if stage == "reading" else last[1])

    return tell


def _show(answer: Replay) -> None:
    when = "" if answer.since is None else f", {_minute(answer.since)} to {_minute(answer.until or '')} UTC"
    for verdict in answer.verdicts:
        agrees = "" if verdict.agreement is None else f"; it agrees with the log at {verdict.agreement:.0%} of them"
        show_table(
            f"{verdict.policy} on {answer.requests} logged requests{when}{agrees}",
            ("per request", "logged", verdict.policy, "95 % interval", "difference", "95 % interval", "by", "worth"),
            [_row(figure) for figure in verdict.figures],
        )
        _remarks(verdict)
    for warning in answer.warnings:
        click.echo(f"note: {warning}")


def _remarks(verdict: Verdict) -> None:
    """Refusals and warnings, each once, with what they are about."""
    said: dict[str, list[str]] = {}
    for figure in verdict.figures:
        for remark in ([f"refused: {figure.refusal}"] if figure.refusal else []) + list(figure.warnings):
            said.setdefault(remark, []).append(NAMES[figure.quantity])
    for remark, about in said.items():
        click.echo(f"{'; '.join(about)}: {remark}")


def _row(figure: Figure) -> tuple[str, ...]:
    ess = "" if figure.ess is None or figure.refusal else f"{figure.ess:.0f} requests"
    sign = "" if figure.difference is None or figure.difference < 0 else "+"
    return (
        NAMES[figure.quantity],
        _amount(figure.observed, figure.unit),
        "refused" if figure.refusal else _amount(figure.estimate, figure.unit),
        _between(figure.low, figure.high, figure.unit),
        sign + _amount(figure.difference, figure.unit) if figure.difference is not None else "",
        _between(figure.difference_low, figure.difference_high, figure.unit),
        METHODS[figure.method] + (", at every look" if figure.anytime else ""),
        ess,
    )


def _between(low: float | None, high: float | None, unit: str) -> str:
    return "" if low is None or high is None else f"{_amount(low, unit)} .. {_amount(high, unit)}"


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    sign, size = ("-", -value) if value < 0 else ("", value)
    if unit == "usd":
        return sign + dollars(size)
    if unit == "ms":
        return sign + ms(size)
    return f"{sign}{size:.2%}" if unit == "share" else f"{sign}{size:.3f}"


def _minute(iso: str) -> str:
    return iso[:16].replace("T", " ")
