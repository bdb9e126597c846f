"""Asks a real house, in this process, for embeddings and text of many sizes, and keeps what was predicted and came."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backends.types import EmbeddingInput, GenerationInput, InferenceRequest, Task
from router.decision_log.log import DecisionLog
from router.house import open_house
from router.request import Call, Routing
from router.section_of_routing import RoutingSettings
from router.sections import LocalSettings, Settings
from router.settings import Secrets, tame_libraries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from policies.types import Quantiles
    from router.dispatch import Dispatcher

EMBEDDER, CHAT = "sentence-transformers/all-MiniLM-L6-v2", "HuggingFaceTB/SmolLM2-135M-Instruct"
WORDS = re.findall(r"[a-z]{2,}", Path(argparse.__file__).read_text(encoding="utf-8"))
MOST_TEXTS, MOST_WORDS, MOST_TOKENS = 16, 150, 48


class Arm(NamedTuple):
    """One kind of traffic: so many requests, so many at once."""

    name: str
    model: str
    requests: int
    at_once: int


class Near(NamedTuple):
    """One request: what was predicted, and what it took."""

    arm: str
    number: int
    predicted_s: float
    queue_s: float
    seconds: float
    latency: Quantiles | None
    first_token: Quantiles | None
    first_token_s: float | None


def arms(requests: int, *, text: bool = True) -> list[Arm]:
    """Alone first, then together: what was learnt of one at a time is used for several."""
    embeddings = [
        Arm("embeddings, 1 at once", EMBEDDER, requests, 1),
        Arm("embeddings, 4 at once", EMBEDDER, requests, 4),
    ]
    texts = [Arm("text, 1 at once", CHAT, requests, 1), Arm("text, 3 at once", CHAT, requests // 2, 3)]
    return embeddings + texts if text else embeddings


async def run(arms: Sequence[Arm], seed: int, models: Path | None) -> AsyncIterator[Near]:
    """One arm after the other, in one house whose log is on disk."""
    logging.getLogger("nearfar").setLevel(logging.ERROR)
    tame_libraries()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            local=LocalSettings(models_dir=None if models is None else str(models)),
            routing=RoutingSettings(policy="fastest", offline=True),
        )
        log = DecisionLog.open(Path(folder) / "decisions.duckdb")
        async with open_house(settings, Secrets(), log) as house:
            for arm in arms:
                dice = random.Random(f"{seed} {arm.name}")
                for near in await _asked(house.dispatcher, arm, _calls(arm, dice)):
                    yield near


async def _asked(dispatcher: Dispatcher, arm: Arm, calls: Iterator[Call]) -> list[Near]:
    found: list[Near] = []

    async def caller() -> None:
        for call in calls:
            outcome = await dispatcher.infer(_now(call))
            if outcome.winner is None:
                raise RuntimeError(f"{arm.name}: {outcome.error}")
            estimate = outcome.plan.estimate(outcome.winner.candidate_id)
            found.append(
                Near(
                    arm.name,
                    len(found),
                    estimate.latency_s,
                    estimate.queue_s,
                    outcome.winner.total_s,
                    estimate.latency,
                    estimate.first_token,
                    outcome.winner.first_token_s,
                )
            )

    await asyncio.gather(*(caller() for _ in range(arm.at_once)))
    return found


def _now(call: Call) -> Call:
    return Call(request=call.request, routing=call.routing, surface=call.surface, received=time.monotonic())


def _calls(arm: Arm, dice: random.Random) -> Iterator[Call]:
    for _ in range(arm.requests):
        if arm.model == EMBEDDER:
            count = max(1, round(MOST_TEXTS ** dice.random()))
            payload: EmbeddingInput | GenerationInput = EmbeddingInput(
                texts=tuple(_text(dice) for _ in range(count)), truncate=True
            )
            task, stream = Task.FEATURE_EXTRACTION, False
        else:
            payload = GenerationInput(prompt=_text(dice), max_tokens=dice.randint(2, MOST_TOKENS), temperature=0.0)
            task, stream = Task.TEXT_GENERATION, dice.random() < 0.5
        request = InferenceRequest(task=task, model=arm.model, payload=payload, stream=stream)
        yield Call(request=request, routing=Routing(), surface="benchmark", received=0.0)


def _text(dice: random.Random) -> str:
    """Mostly short, and long now and then."""
    return " ".join(dice.choices(WORDS, k=max(2, round(MOST_WORDS ** dice.random()))))
