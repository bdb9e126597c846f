"""One real server over fakes, shared by tests that ask it what a stranger may ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import Server
from tests.surface import fakes, leaks

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def faked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in a process of its own, with a token to keep secret. When it ends it must not have told of a bug."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", leaks.TOKEN)
        server = Server(tmp_path_factory.mktemp("surface"), fakes.config())
    yield server
    told = server.errors()
    server.stop()

    assert "Traceback" not in told, told


@pytest.fixture(scope="session")
def document(faked: Server) -> dict[str, Any]:
    """The document as the server gives it."""
    answer = faked.get("/schema/openapi.json")

    assert 200 == answer.status
    found: dict[str, Any] = answer.body
    return found
