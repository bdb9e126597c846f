"""`nearfar models refresh`: asks far sides what they serve and charge, and says what has changed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from router.cli.console import config_option, configured, json_option, reported, show_json, show_table
from router.decision_log.log import DecisionLog
from router.house import open_house

if TYPE_CHECKING:
    from router.drift import PriceDrift
    from router.renewal import Refreshed
    from router.sections import Settings
    from router.settings import Secrets

SHOWN = 20
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


@click.command()
@click.argument("providers", metavar="[PROVIDER]...", nargs=-1)
@config_option
@json_option
def refresh(providers: tuple[str, ...], config: Path | None, *, as_json: bool) -> None:
    """Ask far sides which models they serve, for what price; all of them, or those named. Spends nothing.

    A running server takes the answers over within a second.
    """
    with reported():
        found, drift = asyncio.run(_refreshed(*configured(config), providers))
        if as_json:
            show_json({"refreshed": found, "price_drift": drift})
        else:
            _show(found, drift)
        failures = [one.error for one in found if one.error is not None]
        if failures:
            raise click.ClickException("\n".join(failures))


async def _refreshed(
    settings: Settings, secrets: Secrets, providers: tuple[str, ...]
) -> tuple[list[Refreshed], list[PriceDrift]]:
    async with open_house(settings, secrets, DecisionLog.open(Path(":memory:"))) as house:
        with Progress(*_COLUMNS, console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("far sides", total=len(set(providers)) or len(list(house.far.listings)))
            found = await house.refresher.refresh(providers, lambda _: progress.advance(bar))
        return found, house.refresher.drift


def _show(found: list[Refreshed], drift: list[PriceDrift]) -> None:
    rows = [
        (one.provider, one.models, len(one.changes.new), len(one.changes.gone), len(one.changes.prices), one.as_of)
        for one in found
        if one.changes is not None
    ]
    show_table("listings", ("far side", "models", "new", "gone", "prices moved", "as of"), rows)
    for one in found:
        if one.changes is not None:
            _show_names(f"{one.provider}: new", one.changes.new)
            _show_names(f"{one.provider}: gone", one.changes.gone)
            moved = [
                (f"{c.provider}:{c.model}", c.unit, f"{c.before:g}", f"{c.after:g}", _percent(c.percent))
                for c in one.changes.prices
            ]
            if moved:
                show_table(f"{one.provider}: prices", ("candidate", "unit", "was", "is", "moved"), moved)
    for moved_price in drift:
        click.echo(f"warning: price of {moved_price}", err=True)


def _show_names(title: str, names: list[str]) -> None:
    if names:
        more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        click.echo(f"{title}: {', '.join(names[:SHOWN])}{more}")


def _percent(moved: float | None) -> str:
    return "from nothing" if moved is None else f"{moved:+.1f} %"
