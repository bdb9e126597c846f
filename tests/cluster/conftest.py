"""A cluster for a test, which ends with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.nodes import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


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
