"""`nearfar export`: the decision log as a file for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
from router.decision_log.export import FORMATS, Format
from router.decision_log.export import export as write
from router.errors import InvalidRequest, LogError, LogLocked

if TYPE_CHECKING:
    from datetime import datetime


@click.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@click.option("--since", help="Only newer rows: an ISO 8601 instant, or an age such as 30m, 24h, 7d.")
@click.option("--until", help="Only older rows: the same.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Default: by the file's ending, else parquet.")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
@json_option
def export(  # noqa: PLR0913 - one argument per option
    path: Path,
    config: Path | None,
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
        log = log_file(settings)
        if path.exists() and not force:
            raise InvalidRequest(f"{path.name}: exists already; --force overwrites it.")
        if not path.absolute().parent.is_dir():
            raise InvalidRequest(f"{path.name}: its folder does not exist.")
        try:
            opened_log(settings).close()  # takes in what a process that was killed left beside it
            span = (instant_of(since), instant_of(until))
            rows = _written(log, path, kind or _by_ending(path), span)
        except LogLocked as error:
            raise LogError(
                f"{log.name} is in use by a running server, which writes no files for others: stop it first, or read "
                "its log over POST /v1/analytics/sql and GET /v1/decisions."
            ) from error
        if as_json:
            show_json({"path": str(path), "decisions": rows})
        else:
            click.echo(f"{rows} decisions in {path}")


def _written(log: Path, path: Path, kind: Format, span: tuple[datetime | None, datetime | None]) -> int:
    console = Console(stderr=True)
    columns = (TextColumn("export"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("export", total=1.0)
        return write(log, path, kind, span, lambda share: bar.update(task, completed=share))


def _by_ending(path: Path) -> Format:
    endings: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    return endings.get(path.suffix.lower(), "parquet")
