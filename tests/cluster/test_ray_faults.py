"""kill -9 under load, through the real router: a request that a retry could save is saved, and no answer is wrong."""

from __future__ import annotations

import asyncio
import math
from itertools import count

import psutil
import pytest
from msgspec.structs import replace

from router.sections import RaySettings, Settings
from tests.cluster.ray_nodes import MARKS, cluster, raylet_of, replicas_of
from tests.cluster.test_ray import VECTORS, embedded, embedding, house_of, near, running, settings_of
from tests.unit.router.house import House, embed

pytestmark = [*MARKS, pytest.mark.usefixtures("joinable")]
CALLERS = 8
BEFORE, AFTER = 40, 120  # answers before something is killed, and after it
TEXTS = [f"text number {number} of those that are asked for again and again" for number in range(10)]
ORDER = ("ray", "local")


def vectors_only(models_dir, ray: RaySettings) -> Settings:
    """MiniLM in the cluster, then here."""
    settings = settings_of(models_dir, ray)
    return replace(settings, models=settings.models[:1])


class Load:
    """Callers that ask one after another until they have enough."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._numbers = count()
        self.outcomes: list = []
        self.under_way = asyncio.Event()
        self.enough = False

    async def run(self, kill) -> None:
        callers = [asyncio.create_task(self._caller()) for _ in range(CALLERS)]
        await self._answered(BEFORE)
        await asyncio.to_thread(kill)
        await self._answered(len(self.outcomes) + AFTER)
        self.enough = True
        await asyncio.gather(*callers)

    async def _answered(self, number: int) -> None:
        while len(self.outcomes) < number:  # noqa: ASYNC110 -- each answer counts
            await asyncio.sleep(0.02)

    async def _caller(self) -> None:
        while not self.enough:
            number = next(self._numbers) % len(TEXTS)
            call = embed(TEXTS[number], model="mini/lm", order=ORDER)
            self.outcomes.append((number, await self._house.dispatcher.infer(call)))


def driver_of(house: House) -> psutil.Process:
    return psutil.Process(house.services.backends["ray"]._cluster._child.pid)


async def served_there(house: House) -> bool:
    outcome = await house.dispatcher.infer(embed(TEXTS[0], model="mini/lm", order=ORDER))
    assert "ok" == outcome.status
    return outcome.winner.backend == "ray"


async def expected(models_dir, texts=TEXTS) -> list:
    async with embedded(models_dir) as here:
        results = [await here.infer(embedding(text), near(VECTORS)) for text in texts]
    return [result.output.vectors[0] for result in results]


async def check(house: House, load: Load, vectors: list) -> None:
    """Every request answered, with its own vector, and logged once."""
    assert {"ok"} == {outcome.status for _, outcome in load.outcomes}
    assert all(1e-5 > math.dist(vectors[number], outcome.result.output.vectors[0]) for number, outcome in load.outcomes)
    assert [(len(load.outcomes), len(load.outcomes))] == await house.select(
        "SELECT count(*), count(DISTINCT seq) FROM decisions"
    )


def test_replicas_killed_under_load_fail_nobody(tmp_path, models_dir):
    """First one of two, then both: what was executing is asked again there, or here."""

    async def main(nodes, head):
        vectors = await expected(models_dir)
        ray = RaySettings(address=nodes.address, min_replicas=2, max_replicas=2, num_cpus=0.5)
        async with house_of(vectors_only(models_dir, ray)) as house:
            await running(house, "mini/lm", 2)
            ours = [part for part in replicas_of(head) if "mini-lm" in " ".join(part.cmdline())]
            load = Load(house)
            await load.run(ours[0].kill)
            await check(house, load, vectors)
            served = {outcome.winner.backend for _, outcome in load.outcomes}
            assert "ray" in served

            every = Load(house)
            await running(house, "mini/lm", 2)
            every.outcomes = load.outcomes
            await every.run(lambda: [part.kill() for part in replicas_of(head)])
            await check(house, every, vectors)
            failed = [
                attempt for _, outcome in every.outcomes for attempt in outcome.attempts if attempt.error is not None
            ]
            # Until Serve has noticed a death it lets requests wait for whoever died: longer than is usual for them, and
            # somebody else is asked. So a time-out is one of the ways in which such an attempt ends.
            assert {"Interrupted", "Unavailable", "Timeout"} >= {type(attempt.error).__name__ for attempt in failed}

    with cluster(tmp_path) as nodes:
        head = nodes.add("--num-cpus=2")
        asyncio.run(main(nodes, head))


def test_a_node_killed_under_load_fails_nobody(tmp_path, models_dir):
    """Its replica goes with it; the one on the other node, or this process, answers instead."""

    async def main(nodes, doomed):
        vectors = await expected(models_dir)
        ray = RaySettings(address=nodes.address, min_replicas=2, max_replicas=2, num_cpus=1)
        async with house_of(vectors_only(models_dir, ray)) as house:
            await running(house, "mini/lm", 2)
            assert replicas_of(doomed)
            load = Load(house)
            await load.run(lambda: raylet_of(doomed).kill())
            await check(house, load, vectors)

    with cluster(tmp_path) as nodes:
        nodes.add("--num-cpus=1")
        asyncio.run(main(nodes, nodes.add("--num-cpus=1")))


def test_a_driver_killed_under_load_fails_nobody(tmp_path, models_dir):
    """What it carried is asked here; a fresh one joins the cluster, whose replicas never stopped."""

    async def main(nodes):
        vectors = await expected(models_dir)
        async with house_of(vectors_only(models_dir, RaySettings(address=nodes.address, num_cpus=0.5))) as house:
            await running(house, "mini/lm")
            first, load = driver_of(house), Load(house)
            await load.run(first.kill)
            await check(house, load, vectors)
            while not await served_there(house):  # noqa: ASYNC110 -- whoever failed is not asked for a while
                await asyncio.sleep(0.5)

            assert first != driver_of(house)

    with cluster(tmp_path) as nodes:
        nodes.add("--num-cpus=2")
        asyncio.run(main(nodes))


def test_the_router_outlives_its_cluster(tmp_path, models_dir):
    """The head dies with all that it runs: whoever asks is answered near, and the process is still there."""

    async def main(nodes, head):
        vectors = await expected(models_dir)
        async with house_of(vectors_only(models_dir, RaySettings(address=nodes.address, num_cpus=0.5))) as house:
            await running(house, "mini/lm")
            load = Load(house)
            await load.run(lambda: [part.kill() for part in head.children(recursive=True)])
            await check(house, load, vectors)
            last = load.outcomes[-1][1]
            assert ("ok", "local") == (last.status, last.winner.backend)

    with cluster(tmp_path) as nodes:
        head = nodes.add("--num-cpus=2")
        asyncio.run(main(nodes, head))


def test_a_cluster_that_is_there_again_is_joined_again(tmp_path, models_dir):
    """Another one, at the same address: the router has lost one and serves from the next."""

    async def main(nodes):
        async with house_of(vectors_only(models_dir, RaySettings(address=nodes.address, num_cpus=0.5))) as house:
            await running(house, "mini/lm")
            assert await served_there(house)
            first = driver_of(house)
            await asyncio.to_thread(nodes.close)
            assert not await served_there(house)
            await asyncio.to_thread(nodes.add, "--num-cpus=2")
            while not await served_there(house):  # noqa: ASYNC110 -- whoever failed is not asked for a while
                await asyncio.sleep(0.5)

            assert first != driver_of(house)

    with cluster(tmp_path) as nodes:
        nodes.add("--num-cpus=2")
        asyncio.run(main(nodes))
