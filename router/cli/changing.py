"""How the command line changes the catalogue: through a running server, or on what is kept beside the log."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from router.cli import client
from router.cli.auditing import audited
from router.cli.console import config_option, configured, opened_log, server_option
from router.editing import editor
from router.editing.changes import CHANGE
from router.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.editing.changes import Change

AUTHOR = "command line"
PRICES = {
    "input": "input_per_1m_usd",
    "output": "output_per_1m_usd",
    "cached-input": "cached_input_per_1m_usd",
    "request": "per_request_usd",
    "image": "per_image_usd",
    "audio-minute": "per_audio_minute_usd",
    "second": "per_second_usd",
    "step": "per_step_usd",
}
T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")


def where_options(command: F) -> F:
    """`--config` and `--server`: which catalogue is meant."""
    return config_option(server_option(command))


def price_options(command: F) -> F:
    """An option for every unit of a price, in US dollars."""
    for name, field in reversed(PRICES.items()):
        per = field.removesuffix("_usd").replace("_", " ").replace("per 1m", "per million tokens")
        command = click.option(f"--{name}", field, type=float, metavar="USD", help=f"{per.capitalize()}.")(command)
    return command


def price_in(given: dict[str, Any]) -> dict[str, float] | None:
    """The price among the options given, taken out of them; None where there is none."""
    found = {field: usd for field in PRICES.values() if (usd := given.pop(field)) is not None}
    return found or None


def carry_out(
    config: Path | None, server: str | None, asked: tuple[str, str, dict[str, Any] | None], change: Change
) -> None:
    """Make a change, and say what came of it: `asked` is its method, path and body at a server, `change` itself here.

    Raises:
        RouterError: it is refused; or a server owns the log, and has to be asked itself.
    """
    if server is not None:
        told = client.send(server, *asked)
        snapshot, warnings, changed = told["snapshot"], told["warnings"], told["changed"]
    else:
        settings, _ = configured(config)
        if settings.cluster.state is not None:
            raise InvalidRequest("The owner of the cluster keeps the catalogue: ask a router that runs, with --server.")
        log = opened_log(settings)
        try:
            with audited(settings, CHANGE, change.said):
                made, changed = editor.change_kept(settings, log, change, AUTHOR)
        finally:
            log.close()
        snapshot, warnings = made.snapshot.id, made.warnings
    click.echo(f"{change.said}: the catalogue is {snapshot}" if changed else f"nothing to change: it is {snapshot}")
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def tables_of(file: Path, table: str, kind: type[T]) -> tuple[T, ...]:
    """The `[[TABLE]]` entries of a TOML file, as the configuration has them.

    Raises:
        InvalidRequest: it cannot be read, or holds something else.
    """
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        told = str(error) if isinstance(error, tomllib.TOMLDecodeError) else type(error).__name__
        raise InvalidRequest(f"{file.name}: {told}.") from error
    if set(tree) != {table}:
        there = ", ".join(sorted(tree)) or "nothing"
        raise InvalidRequest(f"{file.name}: [[{table}]] is expected, and nothing else; it has {there}.")
    return read_as(tree[table], tuple[kind, ...], file.name)  # type: ignore[valid-type]


def read_as(value: object, kind: type[T], where: str) -> T:
    """A value in its type, as the configuration would read it.

    Raises:
        InvalidRequest: naming what is wrong with it.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{where}: {error}.") from error
