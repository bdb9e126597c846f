"""From a line of a batch to its answer: the endpoint's own handler, asked in this process instead of through a socket.

So a line is checked, refused, decided, logged and answered by the same code as a request, and in the same shape. What
differs: who asks was settled when the batch was made, its surface in the log is `/v1/batches`, and it runs in the
background.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from litestar.types import HTTPScope, Message

from router.batches.service import Batches
from router.batches.store import Store
from router.batches.types import Answer, Question
from router.http import completions, errors, inference, openai
from router.http.application import Application, Silent
from router.http.services import BATCHED, FIRM, NAMED, Services
from router.identity import Identity
from router.settings import batches_dir

SURFACE = "/v1/batches"
HANDLERS = (inference.inference, openai.chat, openai.embeddings, completions.completions)
ENDPOINTS = frozenset(path for handler in HANDLERS for path in handler.paths)


@asynccontextmanager
async def batching(house: Services, grace_s: float) -> AsyncGenerator[Batches, None]:
    """The batches of a house, running inside. Lines under way at the end have so many seconds to finish."""
    settings = house.settings
    store = await asyncio.to_thread(Store.opened, batches_dir(settings), settings.batches, time.time)
    batches = Batches(store, Asker(house).ask, ENDPOINTS, settings.server.max_body_bytes)
    async with batches.running(grace_s):
        yield batches


class Asker:
    """Asks the handlers of a house."""

    def __init__(self, house: Services) -> None:
        self._app = Application(
            route_handlers=list(HANDLERS),
            exception_handlers={Exception: errors.handle},
            request_max_body_size=house.settings.server.max_body_bytes + 4096,  # what `wishes` may add
            openapi_config=None,
            logging_config=None,
            event_emitter_backend=Silent,
        )
        self._app.state.services = house

    async def ask(self, question: Question) -> Answer:
        """The answer, whatever it is."""
        exchange = _Exchange(question)
        await self._app(exchange.scope(), exchange.receive, exchange.send)
        return exchange.answer()


class _Exchange:
    """One request and its answer, in the words of ASGI."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._sent = False
        self._status = 500
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()

    def scope(self) -> HTTPScope:
        asked = self._question
        headers = [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(asked.body)).encode()),
            (b"x-request-id", asked.request_id.encode()),
        ]
        state: dict[str, Any] = {NAMED: Identity(asked.tenant, frozenset({"infer"})), BATCHED: SURFACE}
        if asked.firm:
            state[FIRM] = True
        scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": asked.endpoint,
            "raw_path": asked.endpoint.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": None,
            "server": None,
            "state": state,
        }
        return scope  # type: ignore[no-any-return]  # Litestar adds the rest itself

    async def receive(self) -> Any:
        """The body, once; then nothing: whoever asks does not go away."""
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._question.body, "more_body": False}
        return await asyncio.get_running_loop().create_future()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {name.lower(): value for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            self._body += message["body"]

    def answer(self) -> Answer:
        said = self._headers.get
        wait = said(b"retry-after", b"")
        return Answer(
            status=self._status,
            body=bytes(self._body),
            decision_id=_text(said(b"x-nearfar-decision-id")),
            backend=_text(said(b"x-nearfar-backend")),
            cost_usd=_amount(said(b"x-nearfar-cost-usd")),
            retry_after_s=float(wait) if wait.isdigit() else None,
        )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _amount(value: bytes | None) -> float | None:
    return None if value in {None, b"unknown"} else float(value or b"")
