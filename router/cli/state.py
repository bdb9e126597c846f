"""`nearfar state`: the owner of what several routers share."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import uvicorn

from router.cli.console import config_option, configured, reported
from router.cluster.app import create_owner_app
from router.cluster.owner import Owner
from router.cluster.store import Store
from router.cluster.wire import CATALOGUE, KEYS, Change
from router.editing import keeping
from router.errors import SettingsError
from router.section import ClusterSettings
from router.settings import CLUSTER_SECRET, keys_file, state_file

if TYPE_CHECKING:
    from router.sections import Settings

UNIX = "unix:"
DRAIN_S, KEPT_S = 5, 60  # routers ask twice a second
BACKLOG = 256


@click.command()
@config_option
@click.option("--listen", metavar="HOST:PORT|unix:PATH", help="Where routers find it [cluster.listen].")
def state(config: Path | None, listen: str | None) -> None:
    """Own what several routers share: budgets, rate limits, breakers, keys and catalogue.

    Routers find it by cluster.state. All of them, and the owner, need the same NEARFAR_CLUSTER_SECRET and [[budgets]].
    """
    with reported():
        settings, secrets = configured(config)
        where = listen or settings.cluster.listen
        secret = secrets.cluster_secret
        _check(where, secret)
        os.umask(0o077)
        path = state_file(settings)
        owner = Owner(settings.budgets, Store(path), settings.cluster.survive_s, time.time, time.monotonic)
        try:
            _take_over(owner, settings)
            _serve(where, owner, secret, path)
        finally:
            owner.close()


def _check(where: str, secret: str | None) -> None:
    """Nobody but this machine may reach an owner that asks nobody for a secret.

    Raises:
        SettingsError: it would listen beyond loopback without one.
    """
    if where.startswith(UNIX) or secret is not None:
        return
    host, _, port = where.rpartition(":")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    if not port.isdecimal() or not loopback:
        raise SettingsError(
            f"cluster.listen: {where!r} is not on this machine alone, so {CLUSTER_SECRET} must be set: whoever reaches "
            "the owner without it could spend your money and make keys."
        )


def _take_over(owner: Owner, settings: Settings) -> None:
    """At its very first start, the keys and the changes of the catalogue that a single router has kept here."""
    alone = msgspec.structs.replace(settings, cluster=ClusterSettings())
    for name, path in ((KEYS, keys_file(alone)), (CATALOGUE, keeping.path_of(alone))):
        document = owner.document(name)
        if document is not None and document.version == 0 and path is not None and path.exists():
            owner.change(name, Change(0, path.read_text(encoding="utf-8")))
            click.echo(f"nearfar state begins with the {name} of {path.name}")


def _serve(where: str, owner: Owner, secret: str | None, path: Path) -> None:
    listener = _listen(where)
    told = where if where.startswith(UNIX) else f"http://{where.rpartition(':')[0]}:{listener.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(
            create_owner_app(owner, secret),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
            timeout_keep_alive=KEPT_S,
        )
    )
    let_in = "routers with the secret" if secret is not None else "anybody on this machine"
    click.echo(f"nearfar state on {told}  (state {path.name}, for {let_in})")
    # uvicorn hands the signal on once it has shut down: then, as before it started, SIGTERM is an orderly exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.run(sockets=[listener])
    if not server.started:
        raise click.ClickException("the owner could not start; the error is above")


def _listen(where: str) -> socket.socket:
    """Listen there, and nowhere that somebody listens already.

    Raises:
        SettingsError: it cannot be.
    """
    name, _, port = where.rpartition(":")
    host, unix = name.strip("[]"), where.startswith(UNIX)
    family = socket.AF_UNIX if unix else socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY on what it accepts, and no answer waits for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, 0 if unix else socket.IPPROTO_TCP)
    try:
        if unix:
            _unlink_left(Path(where.removeprefix(UNIX)))
            listener.bind(where.removeprefix(UNIX))
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, int(port)))
        listener.listen(BACKLOG)
    except (OSError, ValueError) as error:
        listener.close()
        said = error.strerror if isinstance(error, OSError) else "not HOST:PORT"
        raise SettingsError(f"cluster.listen: cannot listen on {where!r}: {said}.") from error
    return listener


def _unlink_left(path: Path) -> None:
    """Take away a socket's file that a killed owner has left."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        try:
            left.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            return
