"""`nearfar compare` in this process: what it prints and writes, and how it ends."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.cli import main
from router.compare.suite import built_in
from tests.unit.router.compare.written import CONFIG, PLANNED, SUITE


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", *arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a configuration of fakes, and a suite of them; it is where the command runs."""
    (tmp_path / "nearfar.toml").write_text(CONFIG)
    (tmp_path / "mine.toml").write_text(SUITE.format(""))
    return tmp_path


def test_a_run_is_told_kept_and_written(folder: Path) -> None:
    """As JSON, in the log, as a page and as Markdown; what was left out is said, and what routing took."""
    done = compare("mine.toml", "--json", "--save-priors", "--out", "a.html", "--markdown", "a.md")
    told = json.loads(done.stdout)
    listed = json.loads(compare("--list", "--json").stdout)
    shown = compare("--show", told["run"]["run_id"])

    assert (0, 0) == (done.exit_code, shown.exit_code), done.stderr
    assert "left out: nobody: " in done.stderr
    assert {"quick": 8, "slow": 8} == {each["candidate"]: each["answered"] for each in told["figures"]}
    assert [["quick", "slow"]] == told["ranking"]
    assert any("quality 0, from 2 inputs" in line for line in told["taken"])
    assert [(told["run"]["run_id"], PLANNED)] == [(run["run_id"], run["finished"]) for run in listed["runs"]]
    assert set(built_in()) == set(listed["suites"])
    assert "quick" in shown.stdout
    assert (folder / "a.html").read_text().startswith("<!doctype html>")
    assert "| quick |" in (folder / "a.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Name a SUITE"),
        (("none.toml",), 1, "none.toml: no such suite"),
        (("broken.toml",), 1, "broken.toml: repeats: Expected `int` >= 1 (line 4)"),
        (("--show", "01980000-0000-7000-8000-000000000000"), 1, "There is no log"),
        (("mine.toml", "--resume", "01980000-0000-7000-8000-000000000000"), 1, "There is no run"),
        (("mine.toml", "--nope"), 2, "No such option"),
    ],
)
def test_what_cannot_be_done_ends_with_its_code(folder: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    (folder / "broken.toml").write_text(SUITE.format("").replace("repeats = 4\n", "\nrepeats = 0\n"))

    done = compare(*arguments)

    assert (code, True) == (done.exit_code, said in done.stderr), done.stderr


def test_a_budget_ends_a_run_with_code_1(folder: Path) -> None:
    """What was measured by then is told all the same."""
    (folder / "mine.toml").write_text(SUITE.format("budget_usd = 0.0055"))

    done = compare("mine.toml", "--json")

    assert 1 == done.exit_code
    assert json.loads(done.stdout)["run"]["stopped"].startswith("budget_usd: ")
