"""The outermost layer, around everything that is answered: time for the body, headers that protect, places freed.

Pure ASGI. What is decided by who asks is decided further in (`router.http.access`), and only carried out here.
"""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from router.access.limits import Place, Standing
from router.errors import BodyTimeout
from router.http.description.headers import HEADERS

# Scripts and styles of the API's viewer stand in its page; the other pages load all of theirs from here, and may run
# WebAssembly; whatever else comes from here is no page at all.
_VIEWER = b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
_PAGE = (
    b"default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
    b"worker-src 'self'; manifest-src 'self'; media-src 'self' blob:; "
)
_IN_PAGES = (
    b"img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
)
_PLAIN = b"default-src 'none'; frame-ancestors 'none'"
POLICIES = (("/schema", _VIEWER + _IN_PAGES), ("/v1/", _PLAIN), ("/models/", _PLAIN), ("/", _PAGE + _IN_PAGES))

FIXED = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),  # with the next: pages may use threads
    (b"cross-origin-embedder-policy", b"require-corp"),
)
_LIMITS = tuple(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens"))
EXPOSED = (*HEADERS, *_LIMITS)
"""The headers that a script of an allowed origin may read."""


SLOWEST_BYTES_S = 65_536
"""A body that comes has so much more time than `server.body_timeout_s` as it would need at this pace: a large file is
let in over a slow line, and whoever sends a byte now and then gains nothing."""


class Door:
    """Wraps an ASGI application."""

    def __init__(self, app: ASGIApp, body_timeout_s: float) -> None:
        self._app = app
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; free its sender's place when that is done, however it ends."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope["state"]
        fixed = [*FIXED, (b"content-security-policy", _policy_of(scope["path"]))]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *fixed, *_limits_of(state)]
            await send(message)

        try:
            await self._app(scope, _Body(receive, self._body_timeout_s), sending)
        finally:
            place: Place | None = state.pop("nearfar_place", None)
            if place is not None:
                place.end()


class _Body:
    """Receives a body that must arrive in time. What comes after it (that the client leaves) may take for ever."""

    def __init__(self, receive: Receive, timeout_s: float) -> None:
        self._receive = receive
        self._timeout_s = timeout_s
        self._ends_at: float | None = None
        self._over = False
        self._late = False

    async def __call__(self) -> Any:
        """The next message.

        Raises:
            BodyTimeout: the body did not arrive in time; from then on the client counts as gone.
        """
        if self._late:
            return {"type": "http.disconnect"}
        if self._over:
            return await self._receive()
        if self._ends_at is None:
            self._ends_at = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(self._ends_at):
                message = await self._receive()
        except TimeoutError:
            self._late = True
            pace = f"{SLOWEST_BYTES_S // 1024} KiB of it that came"
            raise BodyTimeout(
                f"The body did not arrive within server.body_timeout_s: {self._timeout_s:g} s, and 1 s for each {pace}."
            ) from None
        body: bytes = message.get("body", b"")  # type: ignore[assignment]
        self._ends_at += len(body) / SLOWEST_BYTES_S
        self._over = message["type"] != "http.request" or not message.get("more_body", False)
        return message


@lru_cache(maxsize=1024)
def _policy_of(path: str) -> bytes:
    return next(policy for start, policy in POLICIES if path.startswith(start) or start == "/")


def _limits_of(state: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """How the sender's limits stand, in OpenAI's names."""
    standing = state.get("nearfar_standing")
    limits: Mapping[str, Standing] = {} if standing is None else standing()
    headers = []
    for name, limit in limits.items():
        headers += [
            (f"x-ratelimit-limit-{name}".encode(), str(limit.limit).encode()),
            (f"x-ratelimit-remaining-{name}".encode(), str(limit.remaining).encode()),
            (f"x-ratelimit-reset-{name}".encode(), duration(limit.reset_s).encode()),
        ]
    return headers


def duration(seconds: float) -> str:
    """Seconds as OpenAI writes them: `20ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{round(seconds, 3):g}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s"
