"""Who asks: looked at before anything of the body is read. What is found is put into the request's state."""

from functools import partial
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import Headers
from litestar.handlers import BaseRouteHandler

from router.http import scopes
from router.http.guards import from_here
from router.http.services import NAMED, Services
from router.identity import Identity

NOBODY = Identity()


async def let_in(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request in that may come from where it comes, and whose sender may ask for this. Raises as these two do.

    They are one guard, as Litestar makes a copy of the route's handler for each.
    """
    await from_here(connection, handler)
    await who_asks(connection, handler)


async def who_asks(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Find who sends this request, and let them in if they may do this, and no more often than they may.

    Puts into the state: `nearfar_identity`; `nearfar_standing`, which tells their limits; and `nearfar_place`, which
    the door frees when the answer has been sent.

    Raises:
        Unauthenticated: nobody knows who this is.
        Forbidden: they lack the scope that this route asks for.
        TooManyRequests: they are over a limit of theirs.
    """
    house: Services = connection.app.state.services
    access, state = house.access, connection.scope["state"]
    asked = scopes.needed(str(connection.scope.get("method")), connection.scope["path_template"], handler.opt)
    if not asked:
        if access.asks:
            state[NAMED] = NOBODY
        return
    address = "" if connection.client is None else connection.client.host
    sender = await access.sender(credential_of(connection.headers), address)
    state[NAMED] = sender.identity
    scopes.check(sender.identity, asked)
    tenant = sender.identity.tenant
    state["nearfar_standing"] = partial(access.limits.standing, tenant)
    state["nearfar_place"] = access.limits.enter(tenant, sender.limits)


def credential_of(headers: Headers) -> str | None:
    """The key or token that was sent: `Authorization: Bearer ...`, or else `x-api-key`. None where there is none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-api-key", "").strip() or None
