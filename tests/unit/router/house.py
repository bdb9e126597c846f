"""A whole house on fakes: every part is real, the log is in memory, and scripts say how each candidate behaves."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from backends.fake import FakeBackend
from backends.types import Delta, EmbeddingInput, GenerationInput, InferenceRequest, Message, Task
from router.decision_log.log import DecisionLog
from router.house import open_house
from router.http.services import Services
from router.outcome import Begun, Outcome
from router.request import Call, Routing
from router.section import CacheSettings
from router.section_of_routing import RoutingSettings
from router.sections import (
    AliasEntry,
    BudgetEntry,
    CandidateEntry,
    LocalSettings,
    LogSettings,
    ModelEntry,
    Price,
    RouteEntry,
    Settings,
)
from router.settings import Secrets

CHAT, VECTORS = "test/chat", "test/vectors"
ORDER = ("a", "b", "c", "d")  # candidates are tried in this order, whatever was learnt about them
PRICE = Price(per_request_usd=0.001, input_per_1m_usd=1.0, output_per_1m_usd=2.0)


class House(Struct):
    """The parts of an open house, and its log for reading."""

    services: Services

    @property
    def dispatcher(self):
        return self.services.dispatcher

    @property
    def fake(self) -> FakeBackend:
        return self.services.backends["fake"]

    @property
    def breakers(self):
        return self.services.lessons.breakers

    @property
    def patience(self):
        return self.services.lessons.patience

    async def row(self, decision_id: str) -> dict[str, Any]:
        """One decision with its candidates, attempts and outcome, once everything appended so far is committed."""
        await asyncio.to_thread(self.services.log.flush)
        row = self.services.log.reader().decision(decision_id)
        assert row is not None
        return row

    async def select(self, query: str) -> list[tuple]:
        """The rows of a query over the log's views, once everything appended so far is committed."""
        await asyncio.to_thread(self.services.log.flush)
        return [tuple(row) for row in self.services.log.reader().sql(query).rows]

    async def only_row(self) -> dict[str, Any]:
        """The one decision there is."""
        [(decision_id,)] = await self.select("SELECT decision_id::VARCHAR FROM decisions")
        return await self.row(decision_id)


def fake(
    provider: str = "a",
    *,
    model: str | None = None,
    price: Price | None = PRICE,
    continues: bool = False,
    **script: Any,
) -> CandidateEntry:
    """A candidate that pretends to be served by `provider`, as its script says."""
    return CandidateEntry(
        backend="fake", provider=provider, model=model, price=price, continues=continues, script=script
    )


def chat_model(*candidates: CandidateEntry, model: str = CHAT) -> ModelEntry:
    return ModelEntry(id=model, task="text-generation", candidates=candidates or (fake(),))


def vector_model(*candidates: CandidateEntry) -> ModelEntry:
    return ModelEntry(id=VECTORS, task="feature-extraction", candidates=candidates or (fake(),))


@asynccontextmanager
async def opened(
    *models: ModelEntry,
    backend: FakeBackend | None = None,
    aliases: Sequence[AliasEntry] = (),
    budgets: Sequence[BudgetEntry] = (),
    routes: Sequence[RouteEntry] = (),
    local: LocalSettings = LocalSettings(),  # noqa: B008 -- immutable
    cache: CacheSettings = CacheSettings(),  # noqa: B008
    logged: LogSettings = LogSettings(),  # noqa: B008
    **routing: Any,
) -> AsyncIterator[House]:
    """A house with these models beside the built-in ones; `routing` are the settings of that section."""
    settings = Settings(
        models=models or (chat_model(),),
        aliases=tuple(aliases),
        budgets=tuple(budgets),
        routes=tuple(routes),
        local=local,
        cache=cache,
        log=logged,
        routing=RoutingSettings(**{"policy": "fastest"} | routing),
    )
    async with open_house(settings, Secrets(), DecisionLog.open(Path(":memory:"))) as services:
        if backend is not None:
            services.backends["fake"] = backend
        yield House(services)


def chat(
    *,
    model: str = CHAT,
    prompt: str = "hello there",
    max_tokens: int = 8,
    stream: bool = False,
    talks: bool = False,
    **routing: Any,
) -> Call:
    """A call that generates text; with `talks` the prompt is a user's message."""
    payload = GenerationInput(prompt=prompt, max_tokens=max_tokens)
    if talks:
        payload = GenerationInput(messages=(Message("user", prompt),), max_tokens=max_tokens)
    return _call(InferenceRequest(task=Task.TEXT_GENERATION, model=model, payload=payload, stream=stream), routing)


def embed(*texts: str, model: str = VECTORS, **routing: Any) -> Call:
    """A call that embeds texts."""
    payload = EmbeddingInput(texts=texts or ("hello",))
    return _call(InferenceRequest(task=Task.FEATURE_EXTRACTION, model=model, payload=payload), routing)


def _call(request: InferenceRequest, routing: dict[str, Any]) -> Call:
    wanted = Routing(**{"order": ORDER} | routing)
    return Call(request=request, routing=wanted, surface="test", received=time.monotonic())


async def drained(pieces: AsyncGenerator[Begun | Delta | Outcome, None]) -> list[Begun | Delta | Outcome]:
    """Everything a stream yields."""
    async with aclosing(pieces):
        return [piece async for piece in pieces]
