"""Who may ask at all: while nobody is asked who they are, this machine's own programs, and not a web page through them.

Where senders are asked who they are (`auth.mode`), any `Host` will do: a page that rebinds its name has no key. Else
a page may rebind its own name to a loopback address, so `Host` must be a name of this machine. And a browser sends some
requests of a foreign page without asking the server first, so two things stand in their way:

* `Origin`. A browser puts it on every cross-origin POST, no script can change it, and a page without an origin of its
  own (a sandbox, a file, a hidden referrer) is `null`. A foreign one is refused unless the configuration allows it.
  `Sec-Fetch-Site` says the same in other words and is believed too, should `Origin` ever be missing.
* The kind of body. What goes out unasked is text/plain, a form, multipart/form-data, and a body without any
  content-type (a Blob that has none, a beacon). So a body must be JSON: a browser asks about that first, and hears no.

Files cannot be JSON. A route that takes them names their kinds in its `opt["bodies"]`, and takes no others: two take
multipart/form-data (OpenAI's clients send files so), one takes image/*, audio/*, video/*, application/octet-stream
and bodies without a content-type (the hub's client sends bytes so). Of these, multipart and the missing content-type
have lost the second defence, and `Origin` and `Sec-Fetch-Site` alone hold pages off; they hold for every route.
"""

from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from router.errors import Forbidden, InvalidRequest, UnsupportedMediaType
from router.http.services import Services
from router.sections import Settings

JSON = "application/json"
READING = frozenset({"GET", "HEAD", "OPTIONS"})  # a link from elsewhere may lead here; what it shows stays with us
LONGEST_HOST = 260  # a name of 253 letters and a port
FOREIGN_SITES = frozenset({"cross-site", "same-site"})  # same-site: another port or subdomain, hence another program


async def from_here(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request pass that this machine's own programs could have sent.

    Raises:
        InvalidRequest: its path holds a null byte, which names nothing, and at which file systems raise.
        Forbidden: its `Host` or `Origin` is foreign, or its `Sec-Fetch-Site` says so.
        UnsupportedMediaType: its body is not of a kind that this route takes.
    """
    if "\0" in connection.scope["path"]:
        raise InvalidRequest("The path holds a null byte.")
    house: Services = connection.app.state.services
    settings, headers = house.settings, connection.headers
    host, origin = headers.get("host", ""), headers.get("origin")
    anywhere = settings.auth.mode != "none" or settings.server.allow_unauthenticated
    if not (anywhere or (len(host) <= LONGEST_HOST and _is_own(host, settings.server.host))):
        raise Forbidden(
            "This server asks nobody who they are and so answers to loopback names only; "
            "server.allow_unauthenticated = true lets every name in."
        )
    if origin is not None and urlsplit(origin).netloc != host and not _is_allowed(origin, settings):
        raise Forbidden("Pages of this origin may not ask here; see auth.cors_allow_origins.")
    method = connection.scope.get("method")
    foreign = headers.get("sec-fetch-site") in FOREIGN_SITES and not _is_allowed(origin, settings)
    if foreign and method not in READING:
        raise Forbidden("Pages of other sites may not ask here; see auth.cors_allow_origins.")
    if method == "POST":
        _check_kind(headers.get("content-type", ""), tuple(handler.opt.get("bodies", ())))


def _check_kind(content_type: str, bodies: tuple[str, ...]) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind != JSON and kind not in bodies and f"{kind.partition('/')[0]}/*" not in bodies:
        taken = ", ".join([JSON, *(body for body in bodies if body)])
        raise UnsupportedMediaType(f"The body must say what it is, with one of these as its content-type: {taken}.")


def _is_allowed(origin: str | None, settings: Settings) -> bool:
    allowed = settings.auth.cors_allow_origins
    return origin is not None and (origin in allowed or "*" in allowed)


@lru_cache(maxsize=256)
def _is_own(host: str, bound: str) -> bool:
    """Whether a `Host` header names this machine as itself; `bound` is what the server listens at."""
    name = urlsplit(f"//{host}").hostname or ""
    if name in {"localhost", bound}:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
