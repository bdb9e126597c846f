"""What every command shares: options, tables, JSON, and how an error ends a command."""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from backends.errors import BackendError
from router.decision_log.log import DecisionLog
from router.decision_log.retention import Retention
from router.egress.guard import GUARD
from router.errors import LogError, RouterError
from router.settings import Secrets, load, read_secrets, tame_libraries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.sections import Settings

WIDTH_WITHOUT_TERMINAL = 160
UNITS = {"m": "minutes", "h": "hours", "d": "days"}  # of ages

config_option = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="Configuration file (default: ./nearfar.toml)."
)


def sealed(context: click.Context, _option: object, offline: bool) -> bool:  # noqa: FBT001 -- click's way
    """From here to the end of the command nothing leaves this machine, if `offline`; libraries and children hear so."""
    if offline:
        context.with_resource(GUARD.sealed())
        tame_libraries(offline=True)
    return offline


offline_option = click.option("--offline", is_flag=True, callback=sealed, help="Nothing may leave this machine.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
server_option = click.option("--server", metavar="URL", help="Ask a running server instead of doing it here.")


@contextmanager
def reported() -> Iterator[None]:
    """Turn an error of ours into one line on standard error and exit code 1; Ctrl-C into exit code 130."""
    try:
        yield
    except (RouterError, BackendError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None


def loaded(config: Path | None, *, offline: bool) -> Settings:
    """The effective settings, read now.

    Raises:
        SettingsError: the configuration is broken.
    """
    settings = load(config)
    if offline:
        settings = msgspec.structs.replace(settings, routing=msgspec.structs.replace(settings.routing, offline=True))
    return settings


def configured(config: Path | None, *, offline: bool = False) -> tuple[Settings, Secrets]:
    """The effective settings and secrets. Where they say offline, the command is sealed from here on.

    Raises:
        SettingsError: the configuration is broken.
    """
    settings = loaded(config, offline=offline)
    context = click.get_current_context(silent=True)
    if settings.routing.offline and context is not None:
        sealed(context, None, settings.routing.offline)
    return settings, read_secrets(settings)


def opened_log(settings: Settings) -> DecisionLog:
    """The configured decision log; the files it makes are readable by their owner only.

    Raises:
        LogError: another process owns it, or it cannot be opened.
    """
    os.umask(0o077)
    log = settings.log
    retention = Retention(
        days=log.retention_days,
        inputs_days=log.inputs_retention_days,
        inputs_by_tenant=log.inputs_retention_by_tenant,
        until_shipped=log.ship.to is not None,
    )
    return DecisionLog.open(Path(log.path), durability=log.durability, queue_rows=log.queue_rows, retention=retention)


def log_file(settings: Settings) -> Path:
    """Where the configured decision log is.

    Raises:
        LogError: there is none yet.
    """
    path = Path(settings.log.path).expanduser()
    if not path.exists():
        raise LogError(f"There is no log {path.name} here yet: serve or run something first.")
    return path


@contextmanager
def existing_log(settings: Settings) -> Iterator[DecisionLog]:
    """The configured decision log, to be read only.

    Raises:
        LogError: there is none yet, another process owns it, or it cannot be opened.
    """
    log_file(settings)
    log = opened_log(settings)
    log.leave()  # a reader that takes minutes deletes nothing
    try:
        yield log
    finally:
        log.close()


def show_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; wide enough for a terminal, plain when there is none. NO_COLOR is respected."""
    from rich.console import Console  # noqa: PLC0415 -- a twentieth of a server's start, which shows no table
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=escape(title), title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL).print(table)


def usd(amount: float | None) -> str:
    """An amount in US dollars; `unknown` when it is."""
    return "unknown" if amount is None else f"${amount:.10f}".rstrip("0").rstrip(".") if amount else "$0"


def ms(milliseconds: float | None) -> str:
    """Milliseconds in the unit that reads best."""
    if milliseconds is None:
        return ""
    return f"{milliseconds / 1000:.2f} s" if milliseconds >= 1000 else f"{milliseconds:.1f} ms"


def size(count: int | None) -> str:
    """Bytes in binary units."""
    if count is None:
        return ""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def instant_of(text: str | None) -> datetime | None:
    """An ISO 8601 instant or an age such as 24h, in UTC and without a zone, as the log keeps it.

    Raises:
        click.BadParameter: it is neither.
    """
    if text is None:
        return None
    age = re.fullmatch(r"(\d+)([mhd])", text)
    try:
        moment = datetime.now(UTC) - timedelta(**{UNITS[age[2]]: int(age[1])}) if age else datetime.fromisoformat(text)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo is not None else moment
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{text!r} is neither an ISO 8601 instant nor an age like 24h.") from error
