"""The HTTP server of one process."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import uvicorn

from router.app import served
from router.http.protocol import protocol_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.decision_log.taking import Log
    from router.reloading.reloader import Source
    from router.sections import Settings
    from router.settings import Secrets
    from router.telemetry.exchanges import App


TURN_S = 0.0005
"""So long a thread computes in Python while another waits to: ten times less than by default. A model's threads come
back from their libraries for an instant only, and a core stands idle until they have had it."""


def settle_in() -> None:
    """Set up this process for serving: what is there by now stays as long as the server does."""
    gc.freeze()  # no collection need look through it
    gc.enable()
    sys.setswitchinterval(TURN_S)


def config_of(
    settings: Settings,
    secrets: Secrets,
    log: Log,
    source: Source,
    before: Callable[[App], App] = lambda app: app,
    told: Callable[[int], None] = lambda _: None,
) -> uvicorn.Config:
    """The application under these settings, as uvicorn serves it.

    With whatever is to stand `before` it; `told` how many connections are open, whenever that changes.
    """
    return uvicorn.Config(
        before(served(settings, secrets, log, source)),
        log_config=None,
        access_log=False,
        server_header=False,
        http=protocol_of(settings.server, told),
        loop="router.egress.loop:sealed_loop" if settings.routing.offline else "auto",
        timeout_graceful_shutdown=round(settings.server.drain_timeout_s),
    )
