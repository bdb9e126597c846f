"""Servers on loopback that tell their health and load as engines do, and a house that has them for one provider."""

from __future__ import annotations

import time
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backends.types import GenerationInput, InferenceRequest, Message, Task
from router.decision_log.log import DecisionLog
from router.house import open_house
from router.request import Call, Routing
from router.sections import CandidateEntry, ModelEntry, ProviderSettings, RoutingSettings, Settings
from router.settings import Secrets
from tests.integration.far_side import FarSide, Reply, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from router.http.services import Services

MODEL = "org/m"
HEALTH = ("/health", "/v2/health/ready", "/api/version", "/health/ready")
TEXT = {"content-type": "text/plain; version=0.0.4"}


class EngineServer(FarSide):
    """One server of an engine. What it is asked to answer badly, it and its fellows share."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, bad: deque[Reply] | None = None) -> None:
        super().__init__(host, port)
        self.metrics = ""
        self.health: Reply | int = 200
        self._bad = bad

    def reply_to(self, request: Request) -> Reply:
        """Its state where that is asked; else a shared bad answer while there is one, or as every far side."""
        if request.path == "/metrics":
            return Reply(headers=TEXT, chunks=(self.metrics.encode(),))
        if request.path in HEALTH:
            return self.health if isinstance(self.health, Reply) else Reply(status=self.health, headers=TEXT)
        return self._bad.popleft() if self._bad else super().reply_to(request)

    @property
    def asked(self) -> list[Request]:
        """What it was asked beside its state."""
        return [request for request in self.requests if request.method == "POST"]


@asynccontextmanager
async def servers(count: int) -> AsyncIterator[tuple[list[EngineServer], deque[Reply]]]:
    """So many servers, and the bad answers that whichever is asked next gives."""
    bad: deque[Reply] = deque()
    async with AsyncExitStack() as running:
        yield [await running.enter_async_context(EngineServer(bad=bad)) for _ in range(count)], bad


def provider(*fleet: FarSide, **given: object) -> ProviderSettings:
    urls = tuple(f"{server.url}/v1" for server in fleet)
    return ProviderSettings(**({"name": "fleet", "protocol": "openai", "base_urls": urls} | given))  # type: ignore[arg-type]


def settings_for(entry: ProviderSettings, task: str = "text-generation", **routing: object) -> Settings:
    candidate = CandidateEntry(backend="remote", provider=entry.name, continues=True)
    model = ModelEntry(id=MODEL, task=task, candidates=(candidate,))
    return Settings(
        providers=(entry,),
        models=(model,),
        routing=RoutingSettings(**({"policy": "fastest"} | routing)),  # type: ignore[arg-type]
    )


@asynccontextmanager
async def house_of(entry: ProviderSettings, opening=open_house, **routing: object) -> AsyncIterator[Services]:
    """A house whose only candidate for `MODEL` is this provider."""
    log = DecisionLog.open(Path(":memory:"))
    async with opening(settings_for(entry, **routing), Secrets(), log) as house:
        yield house


def chat(*, stream: bool = False, **routing: object) -> Call:
    payload = GenerationInput(messages=(Message("user", "hello you"),))
    request = InferenceRequest(task=Task.TEXT_GENERATION, model=MODEL, payload=payload, stream=stream)
    return Call(request=request, routing=Routing(**routing), surface="t", received=time.monotonic())  # type: ignore[arg-type]
