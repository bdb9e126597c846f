"""Serving, once there is something to serve and somebody listens: the server around the application.

A module of its own, because what it imports takes as long as opening the log does, which goes on beside.
"""

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import uvicorn

from router.app import create_app, watched
from router.http.protocol import protocol_of
from router.telemetry.logs import logging_to

if TYPE_CHECKING:
    import socket

    from router.decision_log.log import DecisionLog
    from router.sections import Settings
    from router.settings import Secrets


class _Server(uvicorn.Server):
    """A server that looks for garbage from its start on, and never in its house, which stays as long as it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the house and begin to answer."""
        await super().startup(sockets)
        gc.freeze()
        gc.enable()


def run(settings: Settings, secrets: Secrets, log: DecisionLog, listener: socket.socket) -> None:
    """Serve until a signal ends it, and close the log."""
    server = _Server(
        uvicorn.Config(
            watched(create_app(settings, secrets, log), settings),
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
    try:
        with logging_to(sys.stderr, settings.telemetry.logs):
            server.run(sockets=[listener])
    finally:
        log.close()
    if not server.started:
        raise click.ClickException("the server could not start; the error is above")
