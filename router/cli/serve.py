"""`nearfar serve`: start the API."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import uvicorn

from router.access.gate import check_tokens
from router.app import served
from router.cli.console import config_option, configured, loaded, offline_option, opened_log, reported
from router.editing.editor import opened
from router.errors import SettingsError
from router.http.protocol import protocol_of
from router.telemetry.logs import logging_to

if TYPE_CHECKING:
    from router.sections import Settings
    from router.settings import Secrets
    from router.telemetry.exchanges import Watched


BACKLOG = 2048


@click.command()
@config_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 picks a free one.")
@offline_option
def serve(config: Path | None, host: str | None, port: int | None, *, offline: bool) -> None:
    """Start the API (default http://127.0.0.1:8080).

    SIGTERM and Ctrl-C finish what runs and drain the log. SIGHUP reads the configuration again.
    """
    if hasattr(signal, "SIGHUP"):  # one that comes before anybody listens waits for that: `reloading.on_hangup`
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    changes = {key: value for key, value in (("host", host), ("port", port)) if value is not None}

    def listening(settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, **changes))

    with reported():
        settings, secrets = configured(config, offline=offline)
        settings = listening(settings)
        opened(settings)
        check_tokens(settings, secrets)
        listener = _listen(settings)
        log = opened_log(settings)
        app = served(settings, secrets, log, lambda: listening(loaded(config, offline=offline)))
        try:
            _serve(app, settings, secrets, listener)
        finally:
            log.close()


def _serve(app: Watched, settings: Settings, secrets: Secrets, listener: socket.socket) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            http=protocol_of(settings.server),
            loop="router.egress.loop:sealed_loop" if settings.routing.offline else "auto",
            timeout_graceful_shutdown=round(settings.server.drain_timeout_s),
        )
    )
    url = f"http://{settings.server.host}:{listener.getsockname()[1]}"
    far = "offline" if settings.routing.offline else "on" if secrets.hf_token else "no hub token"
    click.echo(
        f"nearfar on {url}  (policy {settings.routing.policy}, far side {far}, log {Path(settings.log.path).name})"
    )
    # uvicorn hands the signal on once it has shut down: then, as before it started, SIGTERM is an orderly exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    gc.freeze()  # what is there by now stays as long as the server does: no collection need look through it again
    with logging_to(sys.stderr, settings.telemetry.logs):
        server.run(sockets=[listener])
    if not server.started:
        raise click.ClickException("the server could not start; the error is above")


def _listen(settings: Settings) -> socket.socket:
    """Listen before anything else is opened: a taken port is a clear refusal, and early callers wait."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY on what it accepts; without, each answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(f"server: cannot listen on {host}:{port}: {error.strerror}.") from error
    return listener
