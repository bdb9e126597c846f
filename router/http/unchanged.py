"""Answers that the asker holds already: told so, and not sent again (RFC 9110, 13.1.2); Litestar always sends files."""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_OF_A_BODY = frozenset({b"content-length", b"content-type", b"content-disposition"})


def unless_held(app: ASGIApp) -> ASGIApp:
    """A middleware: an answer with an `etag` that the request names in `if-none-match` is 304, without a body."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        named = _named(scope)
        same = False

        async def sending(message: Message) -> None:
            nonlocal same
            if message["type"] == "http.response.start" and message["status"] == 200:
                headers = [(name.lower(), value) for name, value in message["headers"]]
                same = any(name == b"etag" and _weak(value) in named for name, value in headers)
                if same:
                    message["status"] = 304
                    message["headers"] = [pair for pair in headers if pair[0] not in _OF_A_BODY]
            elif message["type"] == "http.response.body" and same:
                message["body"] = b""
            await send(message)

        await app(scope, receive, sending if named else send)

    return answered


def _named(scope: Scope) -> frozenset[bytes]:
    """The versions that the asker holds."""
    if scope["type"] != ScopeType.HTTP:
        return frozenset()
    held = [value for name, value in scope["headers"] if name == b"if-none-match"]
    return frozenset(_weak(tag) for value in held for tag in value.split(b","))


def _weak(tag: bytes) -> bytes:
    """What is compared: whether a proxy has called a version weak does not matter to a whole answer."""
    return tag.strip().removeprefix(b"W/")
