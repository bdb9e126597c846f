"""`nearfar keys`: make, list, rotate and revoke API keys. A running server sees a change about a second later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from router.access import keys as values
from router.access.audit import AuditLog
from router.access.keys import Issued, Key, Limits, Wanted
from router.access.store import KeyFile
from router.access.told import issued, told
from router.cli.auditing import audited
from router.cli.console import config_option, configured, json_option, reported, show_json, show_table
from router.identity import SCOPES
from router.settings import audit_file, keys_file, read_secrets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.sections import Settings

COLUMNS = ("name", "prefix", "state", "scopes", "created", "expires", "last used", "limits")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """A duration such as 90s, 30m, 12h or 7d, as seconds; nothing stays nothing.

    Raises:
        click.BadParameter: it is none.
    """
    if value is None:
        return None
    number, unit = value[:-1], value[-1:]
    if not (number.isdecimal() and number.isascii() and unit in UNITS and len(number) < 10):
        raise click.BadParameter(f"{value!r} is no duration such as 90s, 30m, 12h or 7d.")
    return float(int(number) * UNITS[unit])


@click.group()
def keys() -> None:
    """Create, list, rotate and revoke API keys (auth.mode = "keys")."""


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="May be repeated [infer, read].")
@click.option("--expires", callback=seconds_of, help="After which it opens nothing, e.g. 90d (default: never).")
@click.option("--requests-per-minute", type=click.IntRange(1))
@click.option("--tokens-per-minute", type=click.IntRange(1))
@click.option("--concurrency", type=click.IntRange(1), help="Requests at once.")
@config_option
@json_option
def create(config: Path | None, name: str, scopes: tuple[str, ...], expires: float | None, **options: Any) -> None:
    """Make a key called NAME. Its secret is shown this once, and never again."""
    as_json = options.pop("as_json")
    wanted = Wanted(name=name, scopes=scopes or ("infer", "read"), expires_in_s=expires, limits=Limits(**options))
    with reported():
        settings, _ = configured(config)
        made = _issue(settings, "keys.create", name, lambda known: values.created(known, wanted, time.time()))
        _show(made, as_json=as_json)
        if "keys" not in settings.auth.mode:
            click.echo(f"auth.mode is {settings.auth.mode!r}, so nobody is asked for it yet.", err=True)


@keys.command()
@click.argument("name")
@click.option("--overlap", callback=seconds_of, default="1h", help="How long the old secret still works [1h].")
@config_option
@json_option
def rotate(name: str, overlap: float, config: Path | None, *, as_json: bool) -> None:
    """Give the key NAME a new secret, shown this once; the old one still works for a while."""
    with reported():
        settings, _ = configured(config)
        made = _issue(settings, "keys.rotate", name, lambda known: values.rotated(known, name, overlap, time.time()))
        _show(made, as_json=as_json)


@keys.command()
@click.argument("name")
@config_option
@json_option
def revoke(name: str, config: Path | None, *, as_json: bool) -> None:
    """End the key NAME, at once and for ever."""
    with reported():
        settings, _ = configured(config)
        key: Key = _changed(settings, "keys.revoke", name, lambda known: values.revoked(known, name, time.time()))
        if as_json:
            show_json(told(key, time.time()))
        else:
            click.echo(f"{name} is revoked.")


@keys.command("list")
@config_option
@json_option
def list_(config: Path | None, *, as_json: bool) -> None:
    """List the keys, without their secrets."""
    with reported():
        settings, _ = configured(config)
        found = [told(key, time.time()) for key in _file(settings).read()]
        if as_json:
            show_json(found)
        else:
            show_table("keys", COLUMNS, [_row(key) for key in found])


@keys.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=50, help="How many, newest first.")
@config_option
@json_option
def audit(limit: int, config: Path | None, *, as_json: bool) -> None:
    """Show what admins did, here and through the API, newest first."""
    with reported():
        settings, _ = configured(config)
        found = AuditLog(audit_file(settings)).newest(limit)
        if as_json:
            show_json(found)
        else:
            rows = [(one.at, one.who, one.action, one.subject, one.surface, one.result) for one in found]
            show_table("what admins did", ("at", "who", "action", "subject", "surface", "result"), rows)


def _issue(settings: Settings, action: str, name: str, work: Callable[[tuple[Key, ...]], Issued]) -> Issued:
    def change(known: tuple[Key, ...]) -> tuple[tuple[Key, ...], Issued]:
        made = work(known)
        return made.keys, made

    made: Issued = _changed(settings, action, name, change)
    return made


def _changed(settings: Settings, action: str, name: str, work: Callable[[tuple[Key, ...]], Any]) -> Any:
    """Change the file of keys, and write down who did, also where it was refused."""
    with audited(settings, action, name):
        return _file(settings).change(work)


def _file(settings: Settings) -> KeyFile:
    """Where the keys are: here, or where the owner of the cluster keeps them."""
    address = settings.cluster.state
    if address is None:
        return KeyFile(keys_file(settings))
    from router.cluster.copies import SharedKeys  # noqa: PLC0415 -- what a single router needs nothing of
    from router.cluster.link import Link  # noqa: PLC0415

    return SharedKeys(keys_file(settings), Link(address, read_secrets(settings).cluster_secret))


def _show(made: Issued, *, as_json: bool) -> None:
    """The secret stands alone on standard output, so that a script can take it; what is said about it does not."""
    if as_json:
        show_json(issued(made, time.time()))
        return
    click.echo(f"The secret of {made.key.name} ({', '.join(made.key.scopes)}), shown this once:", err=True)
    click.echo(made.secret)


def _row(key: dict[str, Any]) -> tuple[Any, ...]:
    limits = ", ".join(f"{what} {limit}" for what, limit in key["limits"].items() if limit is not None)
    scopes = ", ".join(key["scopes"])
    whole = (key["name"], key["prefix"] + "...", key["state"], scopes, key["created_at"], key["expires_at"])
    return (*whole, key["last_used_at"], limits)
