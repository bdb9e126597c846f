"""One scripted provider and one real server over it: each test has models, breakers and histories of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.e2e.conftest import SMOLLM, Server
from tests.faults import house, provider
from tests.faults.asking import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.provider import Provider


class House(NamedTuple):
    """The server under test, and the far side it depends on."""

    server: Server
    far: Provider

    @property
    def url(self) -> str:
        """Where the server listens."""
        return self.server.url


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server whose far side fails as asked; its near model is loaded."""
    with provider.running(provider.Provider()) as far:
        server = Server(tmp_path_factory.mktemp("faults"), house.config(far.url))
        try:
            # Not before: an account is probed again after 5 s, and loading takes longer on a busy machine.
            assert ask(server.url, SMOLLM, stream=False).complete
            yield House(server, far)
        finally:
            server.stop()
