"""Every command of the README is run, and says what the README shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from router.checks import checked
from router.sections import Settings
from tests.e2e.conftest import MINILM, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block: its info string and its text."""

    info: str
    text: str


BLOCKS = [
    Block(info, text) for info, text in re.findall(r"^```(.*?)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
]
COMMANDS = [(block.text, BLOCKS[index + 1]) for index, block in enumerate(BLOCKS[:-1]) if block.info == "sh"]


def shape(value: Any) -> Any:
    """What of a JSON value stays the same from run to run: keys, types and constants of the protocol."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__ if not isinstance(value, int | float) else "number"


def words(text: str) -> list[str]:
    """The words of a table or a line, without figures, rules and padding."""
    return sorted(set(re.findall(r"[A-Za-z_]{4,}", text)))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a command is run: the repository's own files are there."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    return tmp_path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that the README's reader has by the time of a question to the log: something was asked of it."""
    server = Server(tmp_path_factory.mktemp("readme"))
    server.post("/v1/inference", {"model": MINILM, "inputs": "hello"})
    yield server
    server.stop()


@pytest.mark.parametrize(("command", "shown"), COMMANDS, ids=[command.split("\n")[0][:60] for command, _ in COMMANDS])
def test_each_command_does_what_the_readme_shows(command: str, shown: Block, served: Server, place: Path) -> None:
    """Exit code 0, and the shown output has the shape (JSON) or the words (text) of the real one."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [
            "bash",
            "-euo",
            "pipefail",
            "-c",
            command.replace("http://localhost:8080", served.url).replace("localhost:8080", served.url),
        ],
        cwd=place,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    if shown.info == "json":
        assert shape(json.loads(shown.text)) == shape(json.loads(done.stdout))
    elif shown.info == "text" and shown.text.strip() and "router/    house.py" not in shown.text:
        assert set(words(shown.text)) <= set(words(done.stdout)) | {"observed", "prior"}


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    """`make run` and `make test` exist; CI runs them for real."""
    setup = [block.text.strip() for block in BLOCKS if block.info == "sh setup"]

    assert ["make run", "make test"] == setup
    for command in setup:
        done = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)

        assert 0 == done.returncode, done.stderr


def test_the_configuration_shown_is_valid() -> None:
    """The README's TOML is accepted as it stands, in one file."""
    shown = "\n".join(block.text for block in BLOCKS if block.info == "toml")
    settings = msgspec.convert(tomllib.loads(shown), Settings)
    catalog = checked(settings)

    assert catalog.find("my-org/chat") is not None
    assert ["global", "provider:huggingface"] == [budget.scope for budget in settings.budgets]


def test_the_policies_and_files_named_exist() -> None:
    """What the tables and the tree name is there."""
    from policies.registry import names

    assert all(f"`{name}`" in README for name in names())
    for link in re.findall(r"\]\(([A-Za-z][^):]*)\)", README):
        assert (ROOT / link).exists(), link
    for name in re.findall(r"^\s+([a-z_]+\.(?:py|toml))", README, flags=re.MULTILINE):
        assert list((ROOT / "router").glob(f"**/{name}")), name
