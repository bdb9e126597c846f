"""The HTTP server of one process, and the socket that all of them accept connections from."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import uvicorn

from router.app import create_app, watched
from router.errors import SettingsError
from router.http.protocol import protocol_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.decision_log.taking import Log
    from router.sections import Settings
    from router.settings import Secrets
    from router.telemetry.exchanges import App

BACKLOG = 2048


def config_of(
    settings: Settings, secrets: Secrets, log: Log, before: Callable[[App], App] = lambda app: app
) -> uvicorn.Config:
    """The application under these settings, as uvicorn serves it, with whatever is to stand before it."""
    return uvicorn.Config(
        before(watched(create_app(settings, secrets, log), settings)),
        log_config=None,
        access_log=False,
        server_header=False,
        http=protocol_of(settings.server),
        loop="router.egress.loop:sealed_loop" if settings.routing.offline else "auto",
        timeout_graceful_shutdown=round(settings.server.drain_timeout_s),
    )


def listen(settings: Settings) -> socket.socket:
    """Listen before anything else is opened: a taken port is a clear refusal, and early callers wait.

    Several workers accept from this one socket, and not each from its own (SO_REUSEPORT): whoever is free takes the
    next connection. With a socket each, the kernel would deal connections out by their addresses, also to a worker that
    is busy, and those dealt to one that died would be lost with it.

    Raises:
        SettingsError: nobody can listen there.
    """
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
