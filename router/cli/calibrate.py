"""`nearfar calibrate`: measure the local models on this machine, once, so that estimates begin with figures."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from backends.errors import BackendError
from backends.reports import LoadReport
from router.cli.console import config_option, configured, json_option, ms, reported, show_json, show_table
from router.decision_log.log import DecisionLog
from router.errors import UnknownModel
from router.house import open_house

if TYPE_CHECKING:
    from backends.types import Usage
    from router.http.services import Services
    from router.sections import ModelEntry, Settings
    from router.settings import Secrets


class Row(msgspec.Struct, frozen=True):
    """One model, measured or not."""

    model: str
    candidate: str | None = None
    runtime: str | None = None
    report: LoadReport | None = None
    error: str | None = None


@click.command()
@click.argument("models", nargs=-1)
@config_option
@json_option
def calibrate(models: tuple[str, ...], config: Path | None, *, as_json: bool) -> None:
    """Measure MODELS (default: all that can run here): loading, requests of rising size, and which runtime is fastest.

    The figures are kept for this hardware and are the estimates' first source at the next start.
    """
    with reported():
        rows = asyncio.run(_calibrate(*configured(config), models))
        if as_json:
            show_json(msgspec.to_builtins(rows))
        else:
            _show(rows)
        if any(row.error for row in rows):
            raise click.exceptions.Exit(1)


async def _calibrate(settings: Settings, secrets: Secrets, models: tuple[str, ...]) -> list[Row]:
    async with open_house(settings, secrets, DecisionLog.open(Path(":memory:"))) as house:
        entries = _chosen(house, models)
        rows: list[Row] = []
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("calibrating", total=len(entries))
            for entry in entries:
                progress.update(task, description=entry.id)
                rows += await _measured(house, entry)
                progress.advance(task)
        return rows


def _chosen(house: Services, models: tuple[str, ...]) -> list[ModelEntry]:
    """The models named, or every one whose weights are here and fit."""
    if not models:
        return [
            entry
            for entry in house.catalog
            if any(
                c.target.backend == "local" and c.status.unavailable is None and c.status.does_not_fit is None
                for c in house.finder.of_model(entry)
            )
        ]
    entries = []
    for name in models:
        entry = house.catalog.find(name)
        if entry is None:
            raise UnknownModel(name, house.catalog.alternatives(name))
        entries.append(entry)
    return entries


async def _measured(house: Services, entry: ModelEntry) -> list[Row]:
    try:
        reports = await house.dispatcher.warm(entry.id, thorough=True)
    except BackendError as error:
        return [Row(entry.id, error=str(error))]
    if not reports:
        return [Row(entry.id, error="no candidate runs here")]
    runtimes = {candidate.id: candidate.status.runtime for candidate in house.finder.of_model(entry)}
    return [Row(entry.id, name, runtimes[name], report) for name, report in reports.items()]


def _show(rows: list[Row]) -> None:
    shown = [
        (row.model, "", "", "", row.error or "")
        if row.report is None
        else (
            row.model,
            "\n".join(filter(None, (row.runtime, row.report.note))),
            ms(row.report.load_s * 1000),
            "" if row.report.first_s is None else ms(row.report.first_s * 1000),
            "\n".join(f"{_size(each.usage)}: {ms(each.service_s * 1000)}" for each in row.report.measured),
        )
        for row in rows
    ]
    show_table("calibration", ("model", "runtime", "load", "first request", "requests"), shown)


def _size(usage: Usage) -> str:
    """A request's size in the units that its task has."""
    parts = (
        (usage.prompt_tokens, "tokens read"),
        (usage.completion_tokens, "written"),
        (usage.images, "images"),
        (usage.pixel_steps, "pixel-steps"),
        (None if usage.audio_s is None else round(usage.audio_s, 1), "s of sound"),
    )
    return ", ".join(f"{amount} {unit}" for amount, unit in parts if amount)
