"""`nearfar serve`: start the API."""

from __future__ import annotations

import gc
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click
import msgspec

from router.access.gate import check_tokens
from router.cli.console import config_option, configured, offline_option, opened_log, reported
from router.editing.editor import opened
from router.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from router.sections import Settings

BACKLOG = 2048


@click.command()
@config_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 picks a free one.")
@offline_option
def serve(config: Path | None, host: str | None, port: int | None, *, offline: bool) -> None:
    """Start the API (default http://127.0.0.1:8080). SIGTERM and Ctrl-C finish what runs and drain the log."""
    gc.disable()  # until the server has started: what a start makes stays, and would be looked through again and again
    try:
        with reported():
            settings, secrets = configured(config, offline=offline)
            changes = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
            settings = msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, **changes))
            opened(settings)
            check_tokens(settings, secrets)
            listener = _listen(settings)
            with ThreadPoolExecutor(1) as beside:
                opening = beside.submit(opened_log, settings)
                from router.cli import serving  # noqa: PLC0415 -- as long as opening the log takes, which goes on beside
            serving.run(settings, secrets, opening.result(), listener)
    finally:
        gc.enable()


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
