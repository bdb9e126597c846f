"""As many replicas as there is to do: none until somebody asks, and one more while many do."""

from __future__ import annotations

import asyncio

import pytest

from router.sections import RaySettings
from tests.cluster.ray_nodes import MARKS
from tests.cluster.test_ray import house_of, running
from tests.cluster.test_ray_faults import ORDER, TEXTS, vectors_only
from tests.unit.router.house import House, embed

pytestmark = [*MARKS, pytest.mark.usefixtures("joinable")]
CALLERS = 12


async def deployed(house: House) -> None:
    """Return when the cluster has the model's deployment, with a replica or without."""
    (deployment,) = house.services.backends["ray"]._deployments.values()
    while not deployment.deployed:  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0.1)


def test_a_deployment_that_sleeps_is_woken_by_a_request(nodes, models_dir):
    """Its cold start is foreseen, and is in the answer's timings; the next request has none."""

    async def main():
        ray = RaySettings(address=nodes.address, min_replicas=0, max_replicas=1, num_cpus=0.5)
        async with house_of(vectors_only(models_dir, ray)) as house:
            await deployed(house)
            rows = []
            for _ in range(2):
                outcome = await house.dispatcher.infer(embed(*TEXTS[:1], model="mini/lm", order=ORDER))
                assert ("ok", "ray") == (outcome.status, outcome.winner.backend)
                row = await house.row(outcome.decision_id)
                (asked,) = [one for one in row["candidates"] if one["backend"] == "ray"]
                rows.append((asked, outcome.result.timings))
            (cold, woken), (warm, awake) = rows

            assert (False, True) == (cold["warm"], warm["warm"])
            assert cold["load_ms"] > 0
            assert woken.load_s > 0
            assert awake.load_s is None

    asyncio.run(main())


def test_a_busy_deployment_gets_another_replica(nodes, models_dir):
    """While more ask at once than a replica should have."""

    async def main():
        ray = RaySettings(address=nodes.address, max_replicas=2, num_cpus=0.5, target_ongoing_requests=1.0)
        async with house_of(vectors_only(models_dir, ray)) as house:
            await running(house, "mini/lm")
            second = asyncio.create_task(running(house, "mini/lm", 2))

            async def caller() -> None:
                while not second.done():
                    outcome = await house.dispatcher.infer(embed(*TEXTS, model="mini/lm", order=ORDER))
                    assert "ok" == outcome.status

            await asyncio.gather(*(caller() for _ in range(CALLERS)), second)

    asyncio.run(main())
