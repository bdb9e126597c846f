"""Watches every HTTP exchange from outside the application: which route was asked, how it ended, how long it took.

Pure ASGI, and outermost, so it also sees what no route took. Of a request it tells the route's pattern and never its
path: paths, queries and bodies are whatever a client wrote.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from router.telemetry.logs import fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    # As loosely typed as ASGI itself: servers and frameworks each have types of their own for these.
    Scope = Any
    Message = MutableMapping[str, Any]
    Receive = Any
    Send = Any
    App = Callable[[Any, Any, Any], Awaitable[None]]

UNMATCHED = "unmatched"
_IDS = frozenset({b"x-request-id", b"x-nearfar-decision-id"})
_LENGTHS = frozenset(map(len, _IDS))  # no other header's name need be looked at
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

logger = logging.getLogger("nearfar.access")


class Exchange(Struct, frozen=True, kw_only=True):
    """One exchange that ended. `status` is 0 where nothing was answered: its client went away."""

    method: str
    route: str
    status: int
    seconds: float
    request_id: str | None
    decision_id: str | None
    tenant: str | None


class Watched:
    """An application whose exchanges are told, each once, when it has ended."""

    def __init__(self, app: App, tell: Callable[[Exchange], None]) -> None:
        self._app = app
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as the application does."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        start: Message = {}

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._tell(_exchange(scope, start, time.perf_counter() - began))


def log_line(exchange: Exchange) -> None:
    """Log it: a line with these fields and no other."""
    told = {
        "method": exchange.method,
        "route": exchange.route,
        "status": exchange.status,
        "ms": round(exchange.seconds * 1000, 3),
        "request_id": exchange.request_id,
        "decision_id": exchange.decision_id,
        "tenant": exchange.tenant,
    }
    logger.info("request", extra=fields(told))


def _exchange(scope: Scope, start: Message, seconds: float) -> Exchange:
    told = [(name.lower(), value) for name, value in start.get("headers", ()) if len(name) in _LENGTHS]
    headers = {name: value.decode("latin-1") for name, value in told if name in _IDS}
    state = scope.get("state") or {}
    identity = state.get("nearfar_identity")
    return Exchange(
        method=scope["method"] if scope["method"] in METHODS else "other",
        route=scope.get("path_template") or UNMATCHED,
        status=start.get("status", 0),
        seconds=seconds,
        request_id=headers.get(b"x-request-id") or state.get("nearfar_request_id"),
        decision_id=headers.get(b"x-nearfar-decision-id"),
        tenant=getattr(identity, "tenant", None) or None,
    )
