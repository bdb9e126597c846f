"""`nearfar models`: the catalogue, what of it can run here, fetching weights, and what far sides serve."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from router.cli import catalogue
from router.cli.console import config_option, configured, json_option, ms, reported, show_json, show_table, size
from router.cli.pull import pull
from router.cli.refresh import refresh
from router.decision_log.log import DecisionLog
from router.errors import InvalidRequest, UnknownModel
from router.house import open_house
from router.http.openai import model_answer

if TYPE_CHECKING:
    from router.http.services import Services
    from router.sections import Settings
    from router.settings import Secrets


@click.group()
def models() -> None:
    """List, inspect, change, fetch and warm models; ask far sides what they serve."""


for command in (catalogue.add, catalogue.remove, catalogue.enable, catalogue.disable, catalogue.price):
    models.add_command(command)
models.add_command(pull)
models.add_command(refresh)


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
    return [
        msgspec.to_builtins(model_answer(house.finder, house.lessons.judgement.quality, entry))
        for entry in house.catalog
    ]


async def _warm(house: Services, name: str) -> list[dict[str, Any]]:
    reports = await house.dispatcher.warm(name)
    if not reports:
        raise InvalidRequest(f"{name} has no candidate that runs here.")
    return [
        {
            "candidate": candidate,
            "load_ms": report.load_s * 1000,
            "service_ms": report.measured[0].service_s * 1000 if report.measured else None,
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
