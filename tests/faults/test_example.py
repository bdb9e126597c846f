"""The configuration that the README offers to anybody's fault suite, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backends.fake.answers import MARK
from tests.e2e.conftest import SMOLLM, Server
from tests.faults import provider
from tests.faults.asking import ask
from tests.faults.scripts import SAID

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
_, _, BEHIND = README.partition("## Put your fault suite on us\n")
SHOWN = re.findall(r"^```toml\n(.*?)^```$", BEHIND.partition("\n## ")[0], flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of just this configuration, with the scripted provider where the suite's own would be."""
    with provider.running(provider.Provider()) as far:
        config = "\n".join(SHOWN).replace("http://127.0.0.1:9000", far.url)
        server = Server(tmp_path_factory.mktemp("example"), config)
        try:
            yield server
        finally:
            server.stop()


def test_ten_lines_are_enough() -> None:
    """What the README shows first."""
    assert 2 == len(SHOWN)
    assert len([line for line in SHOWN[0].splitlines() if line]) <= 10


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["resilient-cut", "resilient-suite"])
def test_the_example_answers_whole(example: Server, name: str, stream: bool) -> None:
    """A fake fault and the suite's own: the healthy fallback answers, or goes on from what was said."""
    told = ask(example.url, name, stream=stream)

    assert told.complete, told
    assert SMOLLM == told.models[-1]
    assert told.usage is not None
    assert told.usage[1] > 0
    if stream:
        assert told.nearfar is not None
        (splice,) = told.nearfar["splices"]
        assert 0 < splice["from_char"] < len(told.text)
        said = told.text[: splice["from_char"]]
        if name == "resilient-suite":
            assert SAID == said
        else:
            assert (MARK, 3) == (said.split()[0], len(said.split()))  # three words of the fake, as the README says
