"""Who may import whom: every contract is kept, and every contract is proven by breaking it once."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("router", "backends", "policies")
LINT = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
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
    ("pictures", "router/slate.py", "def sneak():\n    import PIL"),
    ("hub", "router/catalog.py", "import huggingface_hub"),
    ("wire", "router/app.py", "import pyreqwest"),
    ("traces", "router/app.py", "import opentelemetry"),
    ("acyclic", "router/decision_log/record.py", "import router.decision_log.log"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Parsed files, kept for the next case: only the one that was changed is read again."""
    return tmp_path_factory.mktemp("import-linter")


def broken(folder: Path, cache: Path) -> list[str]:
    """The ids of the contracts that are broken in this folder; fails with the tool's words when it gives no verdict."""
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--cache-dir", str(cache)], cwd=folder, capture_output=True, text=True, check=False
    )
    verdicts = dict(re.findall(r"^(.+) (KEPT|BROKEN)$", done.stdout, re.MULTILINE))
    if set(CONTRACTS) != set(verdicts):
        pytest.fail(
            f"import-linter reported {len(verdicts)} of {len(CONTRACTS)} contracts:\n{done.stdout}{done.stderr}"
        )
    found = [CONTRACTS[name] for name, verdict in verdicts.items() if verdict == "BROKEN"]
    assert bool(found) == bool(done.returncode), done.stdout
    sys.stdout.write(done.stdout.partition("Broken contracts")[2])  # shown when the test fails
    return found


@pytest.fixture
def copy(tmp_path) -> Path:
    """The house without what is no code."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "web")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_is_kept(cache) -> None:
    """The tree as it stands."""
    assert [] == broken(ROOT, cache)


def test_every_contract_is_proven() -> None:
    """A contract that nobody ever saw broken may not work at all."""
    assert set(CONTRACTS.values()) == {contract for contract, _, _ in OFFENCES}


@pytest.mark.parametrize(("contract", "file", "line"), OFFENCES, ids=[f"{c}-{f}" for c, f, _ in OFFENCES])
def test_a_contract_catches_its_offence(contract, file, line, copy, cache) -> None:
    """One offending line breaks the contract meant for it, and no other."""
    path = copy / file
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{before}\n{line}\n" if before else f"{line}\n", encoding="utf-8")

    assert [contract] == broken(copy, cache)
