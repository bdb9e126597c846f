"""What one process has to do alone: requests for it are handed to the first worker, whichever worker they came to.

Files and batches lie in a folder that one process owns; of comparisons and replays one at a time runs; a page's plan
waits in memory for its report; and the catalogue and sets of intents have one writer, whom the others follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from router.workers.peers import Begun, Peer, PeerGone, asked, is_private, target_of

if TYPE_CHECKING:
    from pathlib import Path

    from router.telemetry.exchanges import App, Receive, Scope, Send

OWN = (
    "/v1/files", "/v1/batches", "/v1/compare", "/v1/replay", "/v1/route", "/v1/decisions/browser", "/v1/models",
    "/v1/aliases", "/v1/routes", "/v1/catalog", "/v1/intents", "/v1/loaded", "/v1/pulls", "/v1/system",
)  # fmt: skip
"""These paths, and all below them."""
AGAIN_S = b"2"

logger = logging.getLogger("nearfar.workers")


def is_own(path: str) -> bool:
    """Whether the first worker serves this path."""
    return any(path == own or path.startswith(f"{own}/") for own in OWN)


class Forwarding:
    """An application that hands over what the first worker must do. It must not stand before the first one's own."""

    def __init__(self, app: App, first: Path) -> None:
        self._app = app
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or hand over."""
        if scope["type"] != "http" or is_private(scope) or not is_own(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            async with asked(self._first) as peer:
                await _handed(peer, scope, receive, send)
        except _Unanswered as error:
            logger.warning("the first worker did not answer: %s", error)
            await _refuse(send)
        except OSError as error:
            logger.warning("the first worker cannot be reached (%s)", type(error).__name__)
            await _refuse(send)


class _Unanswered(Exception):
    """The first worker ended before it began an answer."""


async def _handed(peer: Peer, scope: Scope, receive: Receive, send: Send) -> None:
    peer.begin(scope["method"], target_of(scope), scope["headers"])
    sending = asyncio.create_task(_sent(peer, receive))
    begun = False
    try:
        async for event in peer.events():
            if isinstance(event, Begun):
                await send({"type": "http.response.start", "status": event.status, "headers": event.headers})
                begun = True
            else:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except PeerGone as error:
        if not begun:
            raise _Unanswered(str(error)) from error
        logger.warning("an answer of the first worker broke off")  # as it does for the client: it is not ended
    finally:
        sending.cancel()
        await asyncio.wait([sending])


async def _sent(peer: Peer, receive: Receive) -> None:
    """Pass the body on, and then that the client went away."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            peer.close()
            return
        more = message.get("more_body", False)
        with contextlib.suppress(OSError):  # it reads no more: it has answered
            await peer.send(message.get("body", b""), more=more)


async def _refuse(send: Send) -> None:
    told: dict[str, Any] = {
        "message": "The worker that does this is being started again; ask again in a moment.",
        "type": "overloaded_error",
        "param": None,
        "code": "overloaded",
        "decision_id": None,
    }
    headers = [(b"content-type", b"application/json"), (b"retry-after", AGAIN_S)]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode({"error": told}), "more_body": False})
