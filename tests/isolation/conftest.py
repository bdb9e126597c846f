"""One world for all tests here: most only read, and those that change something change what they made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.isolation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running app with the traffic of two tenants."""
    made = World(tmp_path_factory.mktemp("isolation"))
    with made.client:
        made.traffic()
        yield made
