"""`nearfar report`: what was spent, how long it took and how good the choices were, from the decision log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import router
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
    usd,
)
from router.cli.reading import from_option, read_log
from router.cli.sources import LogSource, ServerSource
from router.decision_log.questions import QUESTIONS
from router.errors import RouterError
from router.report.gather import Report, Window, gathered, page
from router.report.page import html
from router.report.reading import number, rows_of
from router.report.scales import figure

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command()
@config_option
@click.option("--since", help="Only newer rows: an ISO 8601 instant, or an age such as 30m, 24h, 7d.")
@click.option("--until", help="Only older rows, likewise.")
@click.option(
    "--by", type=click.Choice(QUESTIONS["summary"].by), default="backend", help="What the first table is grouped by."
)
@click.option(
    "--html", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write one HTML page with plots to FILE."
)
@from_option
@server_option
@json_option
def report(
    config: Path | None, file: Path | None, shipped: str | None, server: str | None, *, as_json: bool, **window: str
) -> None:
    """Show requests, cost, latency, predictions, regret and savings, and the most regretted decisions."""
    with reported():
        asked = Window(_instant(window["since"]), _instant(window["until"]), window["by"])
        found = _found(config, (shipped, server), asked)
        if file is not None:
            _write(found, file)
        if as_json:
            show_json(found.data())
        elif file is None:
            _show(found)


def _found(config: Path | None, whom: tuple[str | None, str | None], window: Window) -> Report:
    shipped, server = whom
    if server is not None:
        return gathered(ServerSource(server), window)
    settings, _ = configured(config)
    with read_log(settings, shipped) as reader:
        return gathered(LogSource(reader, settings.budgets), window)


def _write(found: Report, file: Path) -> None:
    made = f"Made by nearfar {router.__version__} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, from the decision log."
    try:
        file.write_text(html(page(found, made)), encoding="utf-8")
    except OSError as error:
        raise RouterError(f"{file.name}: cannot be written ({type(error).__name__}).") from error
    click.echo(str(file), err=True)


def _show(found: Report) -> None:
    by, answers = found.window.by, found.answers
    show_table(
        f"Decisions by {by}. {found.window.words()}",
        (by, "requests", "ok", "failed", "cost", "of unknown cost", "p50", "p95", "near", "estimate error"),
        [_row(row, by) for row in rows_of(answers["summary"])],
    )
    show_table(
        "Saved against simple ways to decide, with 95 % intervals",
        ("baseline", "dollars", "interval", "seconds", "interval"),
        [_saving(row) for row in rows_of(answers["savings"])],
    )
    if found.told:
        click.echo("The most regretted of the newest decisions (nearfar explain DECISION_ID tells each whole):")
    for told in found.told:
        click.echo(f"\n{told['decision_id']}\n{told['summary']}")


def _row(row: Mapping[str, Any], by: str) -> tuple[Any, ...]:
    return (
        row[by] or "(none)",
        row["requests"],
        row["ok"],
        row["failed"],
        usd(row["cost_usd"]),
        row["unknown_cost"],
        ms(row["p50_ms"]),
        ms(row["p95_ms"]),
        figure(number(row, "near_share"), "share"),
        figure(number(row, "estimate_error"), "share"),
    )


def _saving(row: Mapping[str, Any]) -> tuple[str, ...]:
    ends = [tuple(figure(number(row, f"saved_{kind}_{end}"), kind) for end in ("low", "high")) for kind in ("usd", "s")]
    amounts = [figure(number(row, f"saved_{kind}"), kind) or "unknown" for kind in ("usd", "s")]
    dollars, seconds = (f"{low} to {high}" if low and high else "" for low, high in ends)
    return str(row["baseline"]), amounts[0], dollars, amounts[1], seconds


def _instant(text: str | None) -> str | None:
    instant = instant_of(text)
    return None if instant is None else instant.isoformat()
