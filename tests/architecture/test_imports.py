"""Who may import whom: every contract is kept, and every contract is proven by breaking it once."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("router", "backends", "policies")
# Whoever starts it says a folder a line, and is told what import-linter says of it: starting takes longer than looking.
LINT = """
import contextlib, io, json, os, sys
from importlinter.cli import lint_imports

for line in sys.stdin:
    folder = line.strip()
    os.chdir(folder)
    sys.path[0] = folder
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = lint_imports(cache_dir=sys.argv[1])
    print(json.dumps([code, said.getvalue()]), flush=True)
"""
CONTRACTS = {
    contract["name"]: contract["id"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
}

# One offence for each contract: what is meant to be caught, where it stands, and the line.
OFFENCES = [
    ("house", "backends/fake/backend.py", "import policies.types"),
    ("line", "router/candidates.py", "import router.estimates"),
    ("line", "router/request.py", "import router.catalog"),
    ("line", "router/utils.py", '"""A stray module that has no place."""'),
    ("policies", "policies/cost.py", "import policies.latency"),
    ("backends", "backends/fake/backend.py", "import backends.remote.sse"),
    ("pure-policies", "policies/cost.py", "import msgspec"),
    ("http", "router/dispatch.py", "import litestar"),
    ("duckdb", "router/catalog.py", "import duckdb"),
    ("torch", "backends/fake/backend.py", "def sneak():\n    import transformers"),
    ("torch", "backends/hardware.py", "def sneak():\n    import torch"),
    ("ray", "backends/local/backend.py", "def sneak():\n    import ray"),
    ("pictures", "router/slate.py", "def sneak():\n    import PIL"),
    ("hub", "router/catalog.py", "import huggingface_hub"),
    ("wire", "router/app.py", "import pyreqwest"),
    ("traces", "router/app.py", "import opentelemetry"),
    ("acyclic", "router/decision_log/record.py", "import router.decision_log.log"),
]


Look = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Look]:
    """Tells the ids of the contracts that are broken in a folder; fails with the tool's words where it has no verdict.

    Parsed files are kept for the next case: only the one that was changed is read again.
    """
    command = [sys.executable, "-c", LINT, str(tmp_path_factory.mktemp("import-linter"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as linter:

        def look(folder: Path) -> list[str]:
            linter.stdin.write(f"{folder}\n")
            linter.stdin.flush()
            code, said = json.loads(linter.stdout.readline())
            verdicts = dict(re.findall(r"^(.+) (KEPT|BROKEN)$", said, re.MULTILINE))
            if set(CONTRACTS) != set(verdicts):
                pytest.fail(f"import-linter reported {len(verdicts)} of {len(CONTRACTS)} contracts:\n{said}")
            found = [CONTRACTS[name] for name, verdict in verdicts.items() if verdict == "BROKEN"]
            assert bool(found) == bool(code), said
            sys.stdout.write(said.partition("Broken contracts")[2])  # shown when the test fails
            return found

        yield look
        linter.stdin.close()


@pytest.fixture
def copy(tmp_path) -> Path:
    """The house without what is no code."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "web")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_is_kept(broken: Look) -> None:
    """The tree as it stands."""
    assert [] == broken(ROOT)


def test_every_contract_is_proven() -> None:
    """A contract that nobody ever saw broken may not work at all."""
    assert set(CONTRACTS.values()) == {contract for contract, _, _ in OFFENCES}


@pytest.mark.parametrize(("contract", "file", "line"), OFFENCES, ids=[f"{c}-{f}" for c, f, _ in OFFENCES])
def test_a_contract_catches_its_offence(contract, file, line, copy, broken: Look) -> None:
    """One offending line breaks the contract meant for it, and no other."""
    path = copy / file
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{before}\n{line}\n" if before else f"{line}\n", encoding="utf-8")

    assert [contract] == broken(copy)
