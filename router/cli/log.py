"""`nearfar log`: ship this machine's decision log, and look after what all nodes have shipped."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from router.cli.console import (
    config_option,
    configured,
    json_option,
    log_file,
    opened_log,
    reported,
    show_json,
    show_table,
)
from router.errors import InvalidRequest
from router.shipping.checking import checked
from router.shipping.compacting import compact as compact_it
from router.shipping.places import place_of
from router.shipping.shipper import Shipper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from router.shipping.checking import Checked
    from router.shipping.places import Place

place_argument = click.argument("place", metavar="[DIR]", required=False)


@click.group()
def log() -> None:
    """Ship this machine's decision log, and look after what all nodes have shipped to DIR (default: log.ship.to)."""


@log.command()
@config_option
@json_option
def ship(config: Path | None, *, as_json: bool) -> None:
    """Ship what waits, once. Needs the log to itself: a running server ships its own."""
    with reported():
        settings, _ = configured(config)
        place = _place(settings.log.ship.to, None)
        log_file(settings)
        opened = opened_log(settings)
        opened.leave()
        try:
            opened.flush()
            shipper = Shipper(opened, place, settings.log.ship)
            with _progress("ship") as tell:
                shipper.ship(tell)
            state = shipper.state()
        finally:
            opened.close()
        if as_json:
            show_json({"rows": state.rows, "segments": state.segments})
        else:
            click.echo(f"{state.rows} rows taken out of the log, {state.segments} segments shipped")


@log.command()
@place_argument
@config_option
@click.option("--keep-days", type=click.IntRange(1), help="Delete rows of days before so many, today not counted.")
@json_option
def compact(place: str | None, config: Path | None, keep_days: int | None, *, as_json: bool) -> None:
    """Join the segments of past days into few. Segments are deleted by the first run a quarter of an hour later."""
    with reported():
        settings, _ = configured(config)
        with _progress("compact") as tell:
            done = compact_it(_place(settings.log.ship.to, place), keep_days=keep_days, progress=tell)
        if as_json:
            show_json(done)
            return
        click.echo(f"{done.joined} segments joined into {done.into} ({done.rows} rows), {done.left} to read")
        click.echo(f"deleted: {done.deleted} that were joined before, {done.expired} that were too old")


@log.command()
@place_argument
@config_option
@json_option
def check(place: str | None, config: Path | None, *, as_json: bool) -> None:
    """Count rows by node: every number is there once. Exit code 1 where one is missing, or there twice."""
    with reported():
        settings, _ = configured(config)
        found = checked(_place(settings.log.ship.to, place))
        if as_json:
            show_json([msgspec.to_builtins(one) for one in found])
        else:
            columns = ("table", "node", "segments", "rows", "numbers", "missing", "twice")
            show_table("What was shipped", columns, [_row(one) for one in found])
        if any(one.missing or one.doubled for one in found):
            raise click.exceptions.Exit(1)


def _row(one: Checked) -> tuple[object, ...]:
    return one.table, one.node, one.segments, one.rows, f"{one.first}..{one.last}", one.missing, one.doubled


def _place(configured_to: str | None, named: str | None) -> Place:
    to = named or configured_to
    if to is None:
        raise InvalidRequest("Nobody says where: name a folder (or URL), or set log.ship.to.")
    return place_of(to)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, on standard error; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
