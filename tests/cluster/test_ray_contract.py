"""The contract of every backend, on deployments of a real cluster: MiniLM and SmolLM2 in replicas of their own."""

from __future__ import annotations

import asyncio
import os

import pytest

from backends.local.backend import LocalOptions
from backends.ray.backend import RayBackend, RayOptions
from backends.types import Target, Task
from tests.cluster.ray_nodes import MARKS
from tests.cluster.test_ray import MINILM, SMOLLM
from tests.contract import test_backends
from tests.contract.subjects import Subject

pytestmark = [*MARKS, pytest.mark.usefixtures("joinable")]
SOURCES = {Task.FEATURE_EXTRACTION: MINILM, Task.ZERO_SHOT_CLASSIFICATION: MINILM, Task.TEXT_GENERATION: SMOLLM}

globals().update({name: check for name, check in vars(test_backends).items() if name.startswith("test_")})


class Sourced(Subject):
    """A subject whose models lie somewhere; without a source a task is not served."""

    def target(self, task: Task) -> Target:
        return Target(backend="ray", provider="ray", model="test/model", task=task, source=SOURCES.get(task))


@pytest.fixture
def run(nodes, models_dir):
    """Runs a check on the cluster, which stays for the next one."""

    def runner(check):
        async def main():
            local = LocalOptions(models_dir=models_dir)
            options = RayOptions(address=nodes.address, local=local, environ=os.environ)
            subject = Sourced(RayBackend(options), "ray", {})
            try:
                await check(subject)
            finally:
                await subject.backend.aclose()

        asyncio.run(main())

    return runner
