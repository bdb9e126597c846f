"""A folder that nodes share, and nodes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.router.shipping.nodes import Node


@pytest.fixture
def shared(tmp_path: Path) -> str:
    return str(tmp_path / "shared")


@pytest.fixture
def node(tmp_path: Path, shared: str) -> Iterator[Callable[..., Node]]:
    """Open a node by its name; opened again after it was closed, it is the same one after a restart."""
    with ExitStack() as closing_all:

        def opened(name: str = "one", to: Any = shared, **options: Any) -> Node:
            return closing_all.enter_context(closing(Node(tmp_path / name, to, **options)))

        yield opened
