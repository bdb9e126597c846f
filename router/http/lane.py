"""The short way of the busiest routes: inference that is asked for in JSON, by no page.

Litestar has these routes too: it describes them, and answers whoever asks in another way (a page of another origin,
say, of whose rights it knows). Here the same guard and the same handler are called, and the same function tells errors.
What is passed by is what would be found out anew for each request; and a body is decoded at once into what the handler
takes.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.datastructures import Headers
from litestar.exceptions import InternalServerException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, Scope, Send
from multidict import CIMultiDict

from router.errors import InvalidRequest
from router.http.access import let_in
from router.http.answers import Whole
from router.http.errors import handle
from router.http.schemas import invalid

TAKEN = {"request", "data"}  # what a handler takes that is called here


class Lane:
    """Wraps an application and answers its routes of inference itself."""

    def __init__(self, app: Litestar, around: ASGIApp) -> None:
        self._app = around
        self._routes = {path: (handler, _decoder(handler)) for path, handler in _found(app)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the framework do it."""
        found = self._routes.get(scope["path"]) if scope.get("method") == "POST" else None
        if found is None or any(name == b"origin" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        handler, decode = found
        scope["route_handler"], scope["path_template"], scope["path_params"] = handler, scope["path"], {}
        request = _Asked(scope, receive, send)
        try:
            await let_in(request, handler)
            said = await handler.fn(request, decode(await _body(request, handler)))
            answer: ASGIApp = said
            if not isinstance(said, Whole):
                answer = await handler.to_response(app=request.app, data=said, request=request)
        except Exception as error:  # noqa: BLE001 -- as around every route, whatever it is, is told
            answer = handle(request, error).to_asgi_response(app=None, request=request)
        await answer(scope, receive, send)


class _Asked(Request[Any, Any, Any]):
    """A request whose headers are read once."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        sent = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        self._sent = Headers(CIMultiDict(sent))

    @property
    def headers(self) -> Headers:
        """As they came."""
        return self._sent


async def _body(request: _Asked, handler: HTTPRouteHandler) -> bytes:
    """The whole body, read as the framework reads it, without a generator of its pieces.

    Raises:
        RequestEntityTooLarge: it is, or says so.
        InternalServerException: its sender went away.
    """
    most = handler.resolve_request_max_body_size() or math.inf
    if (request.content_length or 0) > most:
        raise RequestEntityTooLarge
    pieces: list[bytes] = []
    more, size = True, 0
    while more:
        event: Any = await request.receive()
        if event["type"] != "http.request":
            raise InternalServerException("client disconnected prematurely")
        pieces.append(event["body"])
        size += len(event["body"])
        if size > most:
            raise RequestEntityTooLarge
        more = event.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _found(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    """The routes that can be taken the short way, each with its handler as it was registered."""
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            if handler.opt.get("inference") and set(handler.parsed_fn_signature.parameters) == TAKEN:
                yield route.path, handler


def _decoder(handler: HTTPRouteHandler) -> Callable[[bytes], Any]:
    """What makes a body into what the handler takes, as lenient as the framework is."""
    shape = handler.parsed_fn_signature.parameters["data"].annotation
    decode = msgspec.json.Decoder(shape, strict=False).decode

    def decoded(body: bytes) -> Any:
        if not body:
            raise InvalidRequest("The body is empty; a JSON object is expected.")
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            raise invalid(error, shape) from error
        except msgspec.DecodeError as error:
            raise InvalidRequest(str(error)) from error

    return decoded
