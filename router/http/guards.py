"""Who may ask at all while nobody is asked who they are: this machine's own programs, and not a web page through them.

A browser sends some cross-origin requests without asking first, and a page may rebind its own name to a loopback
address. So a body must be JSON (which a browser asks about first), `Host` must be a name of this machine, and a foreign
`Origin` is refused unless the configuration allows it.
"""

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from router.errors import Forbidden, UnsupportedMediaType
from router.http.services import Services
from router.settings import Settings


def from_here(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let a request pass that this machine's own programs could have sent.

    Raises:
        Forbidden: its `Host` or `Origin` is foreign.
        UnsupportedMediaType: its body does not say that it is JSON.
    """
    house: Services = connection.app.state.services
    settings, headers = house.settings, connection.headers
    host, origin = headers.get("host", ""), headers.get("origin")
    if not (settings.server.allow_unauthenticated or _is_own(host, settings)):
        raise Forbidden(
            "This server asks nobody who they are and so answers to loopback names only; "
            "server.allow_unauthenticated = true lets every name in."
        )
    if origin is not None and urlsplit(origin).netloc != host and not _is_allowed(origin, settings):
        raise Forbidden("Pages of this origin may not ask here; see auth.cors_allow_origins.")
    if connection.scope.get("method") == "POST" and not headers.get("content-type", "").startswith("application/json"):
        raise UnsupportedMediaType("The body must be JSON, with content-type: application/json.")


def _is_allowed(origin: str, settings: Settings) -> bool:
    allowed = settings.auth.cors_allow_origins
    return origin in allowed or "*" in allowed


def _is_own(host: str, settings: Settings) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name in {"localhost", settings.server.host}:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
