"""One real server over fakes, shared by tests that ask it what a stranger may ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.e2e.command import here
from tests.e2e.conftest import Server
from tests.surface import fakes, leaks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def faked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in a process of its own, with a token to keep secret. When it ends it must not have told of a bug."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", leaks.TOKEN)
        server = Server(tmp_path_factory.mktemp("surface"), fakes.config())
    yield server
    told = server.errors()
    server.stop()

    assert not leaks.bugs(told), told


class Keyed(NamedTuple):
    """A server that asks who they are, and two who may ask it: an admin, and somebody who may not change keys."""

    server: Server
    admin: dict[str, str]
    reader: dict[str, str]


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """The same server with `auth.mode = "keys"`."""
    folder = tmp_path_factory.mktemp("keyed")
    config = fakes.config('[auth]\nmode = "keys"')
    (folder / "nearfar.toml").write_text(config, encoding="utf-8")
    admin = _key(folder, "admin", "infer", "read", "admin")
    reader = _key(folder, "reader", "infer", "read")
    server = Server(folder, config)
    yield Keyed(server, admin, reader)
    told = server.errors()
    server.stop()

    assert not leaks.bugs(told), told


def _key(folder: Path, name: str, *scopes: str) -> dict[str, str]:
    """Make a key; the header that shows it."""
    wanted = [word for scope in scopes for word in ("--scope", scope)]
    done = here(folder, "keys", "create", name, *wanted)

    assert 0 == done.exit_code, done.stderr
    secret = done.stdout.strip()
    return {"Authorization": f"Bearer {secret}"}  # written so, or schemathesis takes it for a generated one


@pytest.fixture(scope="session")
def document(faked: Server) -> dict[str, Any]:
    """The document as the server gives it."""
    answer = faked.get("/schema/openapi.json")

    assert 200 == answer.status
    found: dict[str, Any] = answer.body
    return found
