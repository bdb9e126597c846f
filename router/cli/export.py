"""`nearfar export`: the decision log as a file for other tools."""

from __future__ import annotations

from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from router.cli.console import (
    config_option,
    configured,
    instant_of,
    json_option,
    log_file,
    opened_log,
    reported,
    show_json,
)
from router.cli.reading import from_option, shipped_to
from router.decision_log.export import FORMATS, Format
from router.decision_log.export import export as write
from router.errors import InvalidRequest, LogError, LogLocked
from router.shipping.places import place_of
from router.shipping.reading import Segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from router.sections import Settings


@click.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@from_option
@click.option("--since", help="Only newer rows: an ISO 8601 instant, or an age such as 30m, 24h, 7d.")
@click.option("--until", help="Only older rows: the same.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Default: by the file's ending, else parquet.")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
@json_option
def export(  # noqa: PLR0913 - one argument per option
    path: Path,
    config: Path | None,
    shipped: str | None,
    since: str | None,
    until: str | None,
    kind: Format | None,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Write the decision log to PATH: a row per decision, with its candidates and attempts. Needs the log to itself."""
    with reported():
        settings, _ = configured(config)
        if path.exists() and not force:
            raise InvalidRequest(f"{path.name}: exists already; --force overwrites it.")
        if not path.absolute().parent.is_dir():
            raise InvalidRequest(f"{path.name}: its folder does not exist.")
        place = shipped_to(settings, shipped)
        span = (instant_of(since), instant_of(until))
        with _progress() as tell:
            wanted = Wanted(path, kind or _by_ending(path), span, tell)
            rows = _of_log(settings, wanted) if place is None else _of_segments(place, wanted)
        if as_json:
            show_json({"path": str(path), "decisions": rows})
        else:
            click.echo(f"{rows} decisions in {path}")


class Wanted(NamedTuple):
    """What is written, whichever log it comes from."""

    target: Path
    kind: Format
    span: tuple[datetime | None, datetime | None]
    tell: Callable[[float], None]


def _of_log(settings: Settings, wanted: Wanted) -> int:
    log = log_file(settings)
    try:
        opened_log(settings).close()  # takes in what a process that was killed left beside it
        return write(log, *wanted)
    except LogLocked as error:
        raise LogError(
            f"{log.name} is in use by a running server, which writes no files for others: stop it first, or read "
            "its log over POST /v1/analytics/sql and GET /v1/decisions."
        ) from error


def _of_segments(place: str, wanted: Wanted) -> int:
    with closing(Segments(place_of(place))) as segments:
        return segments.export(*wanted)


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("export"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("export", total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _by_ending(path: Path) -> Format:
    endings: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    return endings.get(path.suffix.lower(), "parquet")
