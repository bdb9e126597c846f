"""`nearfar serve`: start the API."""

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import uvicorn

from router.access.gate import check_tokens
from router.cli.console import config_option, configured, offline_option, opened_log, reported
from router.editing.editor import opened
from router.section import MOST_WORKERS
from router.telemetry.logs import logging_to
from router.workers.serving import config_of, listen
from router.workers.sharing import check

if TYPE_CHECKING:
    import socket

    from router.sections import Settings
    from router.settings import Secrets


@click.command()
@config_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 picks a free one.")
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS), help="Processes that serve (default 1).")
@offline_option
def serve(config: Path | None, host: str | None, port: int | None, workers: int | None, *, offline: bool) -> None:
    """Start the API (default http://127.0.0.1:8080). SIGTERM and Ctrl-C finish what runs and drain the log."""
    with reported():
        settings, secrets = configured(config, offline=offline)
        given = (("host", host), ("port", port), ("workers", workers))
        changes = {key: value for key, value in given if value is not None}
        settings = msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, **changes))
        opened(settings)
        check_tokens(settings, secrets)
        check(settings)
        listener = listen(settings)
        if settings.server.workers > 1:
            _supervise(settings, secrets, listener)
        else:
            _serve(settings, secrets, listener)


def _serve(settings: Settings, secrets: Secrets, listener: socket.socket) -> None:
    log = opened_log(settings)
    server = uvicorn.Server(config_of(settings, secrets, log))
    _told(settings, secrets, listener)
    # uvicorn hands the signal on once it has shut down: then, as before it started, SIGTERM is an orderly exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    gc.freeze()  # what is there by now stays as long as the server does: no collection need look through it again
    try:
        log.gather()  # what the workers of an earlier server had left
        with logging_to(sys.stderr, settings.telemetry.logs):
            server.run(sockets=[listener])
    finally:
        log.close()
    if not server.started:
        raise click.ClickException("the server could not start; the error is above")


def _supervise(settings: Settings, secrets: Secrets, listener: socket.socket) -> None:
    from router.workers.supervisor import Supervisor  # noqa: PLC0415 -- one process needs none of it

    supervisor = Supervisor(settings, secrets, listener, opened_log)
    with logging_to(sys.stderr, settings.telemetry.logs):
        ended_by = supervisor.run(lambda: _told(settings, secrets, listener))
    if ended_by == signal.SIGINT:
        raise KeyboardInterrupt


def _told(settings: Settings, secrets: Secrets, listener: socket.socket) -> None:
    """Say where the API is, and what it will do."""
    url = f"http://{settings.server.host}:{listener.getsockname()[1]}"
    far = "offline" if settings.routing.offline else "on" if secrets.hf_token else "no hub token"
    workers = f", {settings.server.workers} workers" if settings.server.workers > 1 else ""
    click.echo(
        f"nearfar on {url}  (policy {settings.routing.policy}, far side {far}, log {Path(settings.log.path).name}"
        f"{workers})"
    )
