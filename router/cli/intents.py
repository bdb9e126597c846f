"""`nearfar intents`: define sets of intents by example, here, and see what was measured of them.

A running server sees sets that were changed here when it starts again; its own routes change them while it runs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from backends.local.intents.definition import BadIntents, read_toml
from router.cli.console import config_option, configured, json_option, reported, show_json, show_table
from router.decision_log.log import DecisionLog
from router.errors import InvalidRequest
from router.house import open_house

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.http.services import Services

COLUMNS = ("set", "labels", "examples", "accuracy (95 %)", "calibration error", "known kept", "unknown found")


@click.group()
def intents() -> None:
    """Define intents by example, and classify by them."""


@intents.command("list")
@config_option
@json_option
def list_(config: Path | None, *, as_json: bool) -> None:
    """List the sets, with what was measured of each out of fold."""
    with reported():
        found = _with_house(config, lambda house: house.intents.all())
        if as_json:
            show_json(found)
        else:
            show_table("intents", COLUMNS, [_row(told) for told in found])


@intents.command()
@click.argument("name")
@config_option
def show(name: str, config: Path | None) -> None:
    """Show a set with its examples and what was measured of it, as JSON."""
    with reported():
        show_json(_with_house(config, lambda house: house.intents.one(name)))


@intents.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", help="Name of the set (default: the file's).")
@config_option
@json_option
def add(file: Path, name: str | None, config: Path | None, *, as_json: bool) -> None:
    """Fit the intents of a TOML FILE, with a table a label, and keep them as the model intents/NAME."""
    with reported():
        try:
            wanted = read_toml(file.read_text(encoding="utf-8"), name or file.stem)
        except (BadIntents, OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(
                f"{file.name}: {error if isinstance(error, BadIntents) else 'cannot be read'}."
            ) from error
        told = _with_house(config, lambda house: house.intents.define(wanted))
        if as_json:
            show_json(told)
            return
        show_table(told["model"], COLUMNS, [_row(told)])
        pairs = [(c["label"], c["taken_for"], c["texts"], f"{c['share']:.0%}") for c in told["confusions"]]
        if pairs:
            show_table("most confused", ("label", "taken for", "texts", "of the label"), pairs)


@intents.command()
@click.argument("name")
@config_option
def remove(name: str, config: Path | None) -> None:
    """Forget a set, and delete its file."""
    with reported():
        _with_house(config, lambda house: house.intents.remove(name))


def _with_house(config: Path | None, work: Callable[[Services], Awaitable[Any]]) -> Any:
    async def opened() -> Any:
        settings, secrets = configured(config)
        plain = msgspec.structs.replace(settings, local=msgspec.structs.replace(settings.local, warm=()))
        async with open_house(plain, secrets, DecisionLog.open(Path(":memory:"))) as house:
            return await work(house)

    return asyncio.run(opened())


def _row(told: dict[str, Any]) -> tuple[Any, ...]:
    if not told["fitted"]:
        labels = len(told["labels"]) if "labels" in told else None
        return told["name"], labels, told.get("examples"), told.get("unavailable") or "not fitted yet", None, None, None
    low, high = told["accuracy_interval"]
    found = told["unknown_recall"]
    return (
        told["name"],
        len(told["labels"]),
        told["examples"],
        f"{told['accuracy']:.3f} ({low:.3f} to {high:.3f})",
        f"{told['ece']:.3f}",
        f"{told['known_kept']:.3f}",
        None if found is None else f"{found:.3f}",
    )
