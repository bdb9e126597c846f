"""How many series one node has in Prometheus: a house of fakes is asked, and what its metrics then say is counted."""

from __future__ import annotations

import asyncio
import time
from functools import cache
from pathlib import Path

from backends.types import EmbeddingInput, InferenceRequest, Task
from router.decision_log.log import DecisionLog
from router.house import open_house
from router.request import Call, Routing
from router.sections import CandidateEntry, ModelEntry, Price, Settings
from router.settings import Secrets

PRICE = Price(per_request_usd=0.0)


@cache
def series_of(candidates: int) -> int:
    """Of a node whose candidates were all asked once: lines of `/metrics` that are no comments."""
    return asyncio.run(_counted(candidates))


async def _counted(candidates: int) -> int:
    models = tuple(
        ModelEntry(
            id=f"fleet/{number}",
            task="feature-extraction",
            candidates=(CandidateEntry(backend="fake", provider=f"provider-{number}", price=PRICE),),
        )
        for number in range(candidates)
    )
    async with open_house(Settings(models=models), Secrets(), DecisionLog.open(Path(":memory:"))) as house:
        for model in models:
            request = InferenceRequest(
                task=Task.FEATURE_EXTRACTION, model=model.id, payload=EmbeddingInput(texts=("hello",))
            )
            call = Call(request=request, routing=Routing(), surface="/v1/embeddings", received=time.monotonic())
            await house.dispatcher.infer(call)
        house.metrics.admitted(house.lessons.admission.states())
        breakers = house.lessons.breakers.states(time.monotonic())
        states, token = house.budgets.states(), house.far.health.state().state
        body = house.metrics.render(house.log.stats(), breakers, {}, states, token)
    return sum(not line.startswith(b"#") for line in body.splitlines())
