"""`nearfar serve`: start the API."""

from __future__ import annotations

import gc
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.access.gate import check_tokens
from router.cli.console import config_option, configured, offline_option, opened_log, reported
from router.cli.rereading import Reading
from router.editing.editor import opened
from router.section import MOST_WORKERS
from router.telemetry.logs import logging_to
from router.workers.listening import listen
from router.workers.sharing import check

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from router.sections import Settings
    from router.settings import Secrets


@click.command()
@config_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 picks a free one.")
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS), help="Processes that serve (default 1).")
@offline_option
def serve(config: Path | None, host: str | None, port: int | None, workers: int | None, *, offline: bool) -> None:
    """Start the API (default http://127.0.0.1:8080).

    SIGTERM and Ctrl-C finish what runs and drain the log. SIGHUP reads the configuration again.
    """
    if hasattr(signal, "SIGHUP"):  # one that comes before anybody listens waits for that: `reloading.on_hangup`
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    gc.disable()  # until the server has started: what a start makes stays, and would be looked through again and again
    try:
        with reported():
            settings, secrets = configured(config, offline=offline)
            given = (("host", host), ("port", port), ("workers", workers))
            read = Reading(config, offline, {key: value for key, value in given if value is not None})
            settings = read.over(settings)
            opened(settings)
            check_tokens(settings, secrets)
            check(settings)
            listener = listen(settings)
            begun = partial(_told, settings, secrets, listener)
            serving = _supervise if settings.server.workers > 1 else _serve
            serving(settings, secrets, listener, begun, read)
    finally:
        gc.enable()


def _serve(
    settings: Settings, secrets: Secrets, listener: socket.socket, begun: Callable[[], None], read: Reading
) -> None:
    with ThreadPoolExecutor(1) as beside:
        opening = beside.submit(opened_log, settings)
        from router.cli import serving  # noqa: PLC0415 -- as long as opening the log takes, which goes on beside
    serving.run(settings, secrets, opening.result(), listener, begun, read)


def _supervise(
    settings: Settings, secrets: Secrets, listener: socket.socket, begun: Callable[[], None], read: Reading
) -> None:
    from router.workers.supervisor import Supervisor  # noqa: PLC0415 -- one process needs none of it

    gc.enable()
    supervisor = Supervisor(settings, secrets, listener, opened_log, read)
    with logging_to(sys.stderr, settings.telemetry.logs):
        ended_by = supervisor.run(begun)
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
