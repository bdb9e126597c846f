"""Two routers, the owner of their state, a Ray cluster of two nodes and a shared folder: kill -9 of any, under load."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.cluster import ray_nodes
from tests.cluster.nodes import FAR_AND_NEAR, budget
from tests.cluster.test_kills import (
    LIMIT_USD,
    TEXTS,
    Clients,
    ended,
    in_the_shared_folder_once,
    router_and_owner_killed,
    shipped,
)
from tests.cluster.test_ray import MINILM as SOURCE
from tests.cluster.test_ray_faults import expected
from tests.e2e.conftest import MINILM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cluster.nodes import Cluster

pytestmark = [*ray_nodes.MARKS, pytest.mark.usefixtures("joinable")]


def both(address: str, models_dir: Path) -> str:
    """MiniLM in the cluster, which is far from here, and near."""
    return f"""
[local]
models_dir = "{models_dir}"
[ray]
address = "{address}"
min_replicas = 2
max_replicas = 2
[[models]]
id = "{MINILM}"
task = "feature-extraction"
candidates = [{{ backend = "ray", source = "{SOURCE}" }}, {{ backend = "local", source = "{SOURCE}" }}]
"""


def test_every_process_is_killed_once_under_load_and_nobody_notices(
    cluster: Callable[[str], Cluster], tmp_path: Path, models_dir: Path
) -> None:
    """A replica, a Ray node, a router, the owner: no wrong vector, no failed request, no row lost, no cent too much."""
    vectors = asyncio.run(expected(models_dir, TEXTS))
    (tmp_path / "ray").mkdir()
    with ray_nodes.cluster(tmp_path / "ray") as nodes:
        head, second = nodes.add("--num-cpus=1"), nodes.add("--num-cpus=1")
        there = cluster(FAR_AND_NEAR + shipped(tmp_path) + both(nodes.address, models_dir) + budget(LIMIT_USD))
        load = Clients(vectors, there.node("one"), there.node("two"))
        load.until(lambda load: load.served["ray"] > 20)
        ray_nodes.replicas_of(head)[0].kill()
        load.more(20)
        router_and_owner_killed(there, load)
        before = load.served["ray"]
        load.until(lambda load: load.served["ray"] > before)
        ray_nodes.raylet_of(second).kill()
        load.more(20)
        ended(there, load)
    assert ([], []) == (load.failed, load.wrong)
    in_the_shared_folder_once(there, load)
