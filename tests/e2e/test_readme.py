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
KEYS = [block.text for block in BLOCKS if block.info == "sh keys"]
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


def shell(command: str, url: str, place: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the README as its reader would, against the server at `url`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [
            "bash",
            "-euo",
            "pipefail",
            "-c",
            command.replace("http://localhost:8080", url).replace("localhost:8080", url),
        ],
        cwd=place,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("command", "shown"), COMMANDS, ids=[command.split("\n")[0][:60] for command, _ in COMMANDS])
def test_each_command_does_what_the_readme_shows(command: str, shown: Block, served: Server, place: Path) -> None:
    """Exit code 0, and the shown output has the shape (JSON) or the words (text) of the real one."""
    done = shell(command, served.url, place)

    assert 0 == done.returncode, done.stderr
    if shown.info == "json":
        assert shape(json.loads(shown.text)) == shape(json.loads(done.stdout))
    elif shown.info == "text" and shown.text.strip() and "router/    house.py" not in shown.text:
        assert set(words(shown.text)) <= set(words(done.stdout)) | {"observed", "prior"}


def test_keys_open_a_server_that_others_can_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's keys are made, its server listens beyond loopback, and what it shows is what `app` may do."""
    *creations, serve = KEYS[0].strip().splitlines()
    settings, serving = serve.split(" nearfar ")
    made = shell("\n".join(creations), "", tmp_path)
    monkeypatch.setenv(*settings.split("="))
    server = Server(tmp_path, "", arguments=serving.split()[1:])
    try:
        secret = made.stdout.splitlines()[-1]
        done = shell(KEYS[1], server.url, tmp_path, NEARFAR_API_KEY=secret)
        unknown = server.get("/v1/models")
    finally:
        server.stop()

    assert ["serve", "--host", "0.0.0.0"] == serving.split()
    assert 0 == made.returncode, made.stderr
    assert 0 == done.returncode, done.stderr
    assert 401 == unknown.status
    for word in (MINILM, "is revoked", "keys.revoke"):
        assert word in done.stdout


def test_the_python_shown_works(served: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """The official client does what the README has it do: a file of requests becomes a file of answers."""
    [shown] = [block.text for block in BLOCKS if block.info == "python"]

    exec(shown.replace("http://localhost:8080", served.url), {})

    said = capsys.readouterr().out
    assert "completed=1, failed=0, total=1" in said
    assert '"custom_id":"1"' in said


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
    assert ["global", "provider:huggingface", "key:app"] == [budget.scope for budget in settings.budgets]


def test_the_configuration_of_several_machines_is_valid() -> None:
    """What the page about more than one machine shows is accepted as it stands, in one file."""
    page = (ROOT / ".deploy/README.md").read_text(encoding="utf-8")
    shown = "\n".join(re.findall(r"^```toml\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE))
    settings = msgspec.convert(tomllib.loads(shown), Settings)

    assert checked(settings).find("org/llm") is not None
    assert ("http://10.0.0.5:8090", "/mnt/shared/nearfar") == (settings.cluster.state, settings.log.ship.to)
    for link in re.findall(r"\]\(([A-Za-z.][^):#]*)\)", page):
        assert (ROOT / ".deploy" / link).exists(), link


def test_the_policies_and_files_named_exist() -> None:
    """What the tables and the tree name is there."""
    from policies.registry import names

    assert all(f"`{name}`" in README for name in names())
    for link in re.findall(r"\]\(([A-Za-z][^):]*)\)", README):
        assert (ROOT / link).exists(), link
    for name in re.findall(r"^\s+([a-z_]+\.(?:py|toml))", README, flags=re.MULTILINE):
        assert list((ROOT / "router").glob(f"**/{name}")), name
