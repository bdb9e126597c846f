"""The owner's door: a small HTTP application, for routers alone. Whoever knows the shared secret is one."""

import asyncio
import hmac
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from litestar import Litestar, Request, Response, get, post, put
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from router.cluster.owner import Owner
from router.cluster.wire import DOCUMENTS, EXCHANGE, MAX_BYTES, STATE, Change, Exchange, decode, encode

T = TypeVar("T")
_OPEN = "/health/live"


class _Desk:
    """The owner with the one thread that it is used from: its commits wait for a disk."""

    def __init__(self, owner: Owner, secret: str | None) -> None:
        self.owner = owner
        self.thread = ThreadPoolExecutor(1, "owner")
        self.secret = None if secret is None else f"Bearer {secret}".encode()

    async def ask(self, work: Callable[[], T]) -> T:
        """What the owner says.

        Raises:
            HTTPException: it cannot be written down.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, work)
        except sqlite3.Error as error:
            raise HTTPException(f"The state cannot be written ({type(error).__name__}).", status_code=503) from error


def create_owner_app(owner: Owner, secret: str | None) -> Litestar:
    """The application. Without a secret everybody who reaches it is let in: it may listen on this machine only."""
    desk = _Desk(owner, secret)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        app.state.desk = desk
        yield
        desk.thread.shutdown()

    return Litestar(
        route_handlers=[live, exchange, document, change, state],
        lifespan=[lifespan],
        guards=[_known],
        request_max_body_size=MAX_BYTES,
        openapi_config=None,
        logging_config=None,
    )


def _known(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    secret: bytes | None = connection.app.state.desk.secret
    if secret is None or connection.scope["path"] == _OPEN:
        return
    shown = connection.headers.get("authorization", "").encode()
    if not hmac.compare_digest(shown, secret):
        raise NotAuthorizedException("Routers of this cluster show its secret.")


@get(_OPEN)
async def live() -> dict[str, str]:
    """Always `ok` while the process can answer at all."""
    return {"status": "ok"}


@post(EXCHANGE, status_code=200)
async def exchange(request: Request[Any, Any, Any]) -> Response[bytes]:
    """What a router says, and what the owner answers."""
    said, desk = await _read(request, Exchange), _desk(request)
    return _json(encode(await desk.ask(lambda: desk.owner.exchange(said))))


@get(DOCUMENTS + "/{name:str}")
async def document(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A document as it is."""
    desk = _desk(request)
    found = await desk.ask(lambda: desk.owner.document(name))
    if found is None:
        raise HTTPException("There is no such document.", status_code=404)
    return _json(encode(found))


@put(DOCUMENTS + "/{name:str}")
async def change(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """Another body for a document; 409 where somebody was faster."""
    wanted, desk = await _read(request, Change), _desk(request)
    if await desk.ask(lambda: desk.owner.document(name)) is None:
        raise HTTPException("There is no such document.", status_code=404)
    made = await desk.ask(lambda: desk.owner.change(name, wanted))
    if made is None:
        raise HTTPException("It has changed since.", status_code=409)
    return _json(encode(made))


@get(STATE)
async def state(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Who is there and how the accounts stand, for people."""
    desk = _desk(request)
    return _json(msgspec.json.encode(await desk.ask(desk.owner.state)))


def _desk(request: Request[Any, Any, Any]) -> _Desk:
    found: _Desk = request.app.state.desk
    return found


async def _read(request: Request[Any, Any, Any], kind: type[T]) -> T:
    try:
        return decode(await request.body(), kind)
    except msgspec.DecodeError as error:
        raise HTTPException(f"This is no {kind.__name__}: {error}", status_code=400) from error


def _json(body: bytes) -> Response[bytes]:
    return Response(body, media_type="application/json")
