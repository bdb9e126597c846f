"""Serving, once there is something to serve and somebody listens: the server around the application.

A module of its own, because what it imports takes as long as opening the log does, which goes on beside.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import click
import uvicorn

from router.reloading.reloader import Source
from router.telemetry.logs import logging_to
from router.workers.serving import config_of, settle_in

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from router.decision_log.log import DecisionLog
    from router.sections import Settings
    from router.settings import Secrets


class _Server(uvicorn.Server):
    """A server that looks for garbage from its start on, and never in its house, which stays as long as it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the house and begin to answer."""
        await super().startup(sockets)
        settle_in()


def run(
    settings: Settings,
    secrets: Secrets,
    log: DecisionLog,
    listener: socket.socket,
    begun: Callable[[], None],
    read: Callable[[], Settings],
) -> None:
    """Serve until a signal ends it, and close the log. `begun` is called when nothing but the house is to be opened."""
    server = _Server(config_of(settings, secrets, log, Source(read)))
    begun()
    # uvicorn hands the signal on once it has shut down: then, as before it started, SIGTERM is an orderly exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        log.gather()  # what the workers of an earlier server had left
        with logging_to(sys.stderr, settings.telemetry.logs):
            server.run(sockets=[listener])
    finally:
        log.close()
    if not server.started:
        raise click.ClickException("the server could not start; the error is above")
