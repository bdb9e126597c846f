"""How a comparison is shown: tables on the terminal, JSON, Markdown, one HTML page; and what of it routing took."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

import router
from router.cli.auditing import audited
from router.cli.changing import AUTHOR
from router.cli.console import show_json, show_table
from router.compare import saving
from router.compare.markdown import markdown
from router.compare.page import page
from router.compare.report import report_of
from router.compare.table import heading, notes, tables
from router.editing.changes import CHANGE, ModelPatch, patch_model
from router.errors import RouterError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from router.compare.report import Report
    from router.compare.run import Run
    from router.compare.votes import Vote
    from router.http.services import Services


def show(
    run: Run, votes: Sequence[Vote], taken: Sequence[str], *, as_json: bool, out: Path | None, readme: Path | None
) -> None:
    """Tell what a run says, in every form that is wanted; as tables where none is.

    Raises:
        RouterError: a file cannot be written.
    """
    report = report_of(run, votes)
    made = f"Made by nearfar {router.__version__} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    if out is not None:
        _write(out, page(run, report, made))
    if readme is not None:
        _write(readme, markdown(report, made))
    if as_json:
        found: dict[str, Any] = msgspec.to_builtins(report)
        show_json(found | {"taken": taken})
        return
    if out is None and readme is None:
        _print(report)
    for line in taken:
        click.echo(line, err=True)


async def taken(house: Services, run: Run) -> list[str]:
    """Let routing begin with what was measured, and say what was done: speed goes to the estimates, quality to models.

    Raises:
        RouterError: the catalogue cannot be changed.
    """
    told = saving.learn(house.lessons.estimator, house.finder, run)
    for one in saving.judged(run):
        entry = house.catalog.find(one.model)
        if entry is None:
            continue
        quality = round(one.quality, 3)
        by_intent = entry.quality if isinstance(entry.quality, dict) else None
        change = patch_model(
            one.model, ModelPatch(quality=quality if by_intent is None else by_intent | {"default": quality})
        )
        with audited(house.settings, CHANGE, change.said):
            await house.in_force.change(change, AUTHOR)
        told.append(f"{one.model}: quality {quality:g}, from {one.inputs} inputs, in the catalogue from now on")
    if not saving.judged(run):
        told.append("no quality taken: it is where the suite says what a right answer is")
    return told


def _print(report: Report) -> None:
    click.echo(heading(report))
    for table in tables(report):
        show_table(table.caption, table.columns, table.rows)
    for note in notes(report):
        click.echo(f"note: {note}")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RouterError(f"{file.name}: cannot be written ({type(error).__name__}).") from error
    click.echo(str(file), err=True)
