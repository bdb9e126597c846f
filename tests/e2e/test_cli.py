"""The command line, as a person uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.command import here

if TYPE_CHECKING:
    from pathlib import Path


def nearfar(folder: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "router", *arguments],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def test_run_answers_explains_and_logs(tmp_path: Path) -> None:
    """The answer is on standard output, the decision on standard error, and the report knows of both requests."""
    (tmp_path / "question.txt").write_text("What is the capital of France?")
    chat = nearfar(tmp_path, "run", "text-generation", "@question.txt", "--max-tokens", "16")
    intent = here(tmp_path, "run", "text-classification", "-", given="What is 17 times 23?")
    report = json.loads(here(tmp_path, "report", "--json").stdout)

    assert (0, True) == (chat.returncode, "Paris" in chat.stdout)
    assert "only eligible candidate" in chat.stderr
    assert "math" == json.loads(intent.stdout)[0]["label"]
    assert [("local", 2, 2)] == [(row["backend"], row["requests"], row["ok"]) for row in report["rows"]]


def test_route_prints_the_slate_with_sources_and_the_reason(tmp_path: Path) -> None:
    """`nearfar route feature-extraction hello`: every candidate, where its figures come from, and one sentence why."""
    done = nearfar(tmp_path, "route", "feature-extraction", "hello")

    assert 0 == done.returncode
    for said in (
        "local:sentence-transformers",
        "hf-inference:",
        "(prior)",
        "(occupancy)",
        "(priced)",
        "no token",
        "chosen",
    ):
        assert said in done.stdout.replace("\n", "")
    assert "only eligible candidate" in done.stdout.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_models_lists_shows_and_warms(tmp_path: Path) -> None:
    """The catalogue is listed with prices and states; warming measures loading and one request."""
    listed = {row["id"]: row["nearfar"] for row in json.loads(here(tmp_path, "models", "list", "--json").stdout)}
    shown = json.loads(here(tmp_path, "models", "show", "meta-llama/Llama-3.2-3B-Instruct").stdout)["nearfar"]
    warmed = json.loads(here(tmp_path, "models", "warm", "nearfar/minilm-intent", "--json").stdout)
    prices = {
        "meta-llama/Llama-3.2-3B-Instruct": ("input_per_1m_usd", 0.10),
        "mistralai/Mistral-7B-Instruct-v0.2": ("input_per_1m_usd", 0.20),
        "sentence-transformers/all-MiniLM-L6-v2": ("input_per_1m_usd", 0.05),
    }

    for model, (unit, price) in prices.items():
        far = next(c for c in listed[model]["candidates"] if c["backend"] == "remote")
        assert (price, "static seed") == (far["price"][unit], far["price"]["source"])
    assert {"stabilityai/stable-diffusion-xl-base-1.0", "stable-diffusion-v1-5/stable-diffusion-v1-5"} <= set(listed)
    assert "not on this machine" in next(c["why_not"] for c in shown["candidates"] if c["backend"] == "local")
    assert warmed[0]["load_ms"] > 0
    assert warmed[0]["service_ms"] > 0


def test_doctor_tells_each_thing_with_its_state(tmp_path: Path) -> None:
    """Configuration, hardware, models, token and log have a line; a broken configuration is exit code 1."""
    findings = {row["what"]: row for row in json.loads(nearfar(tmp_path, "doctor", "--json").stdout)}
    broken = here(tmp_path, "doctor", "--config", "nowhere.toml")

    assert {"configuration", "hardware", "gpu", "near costs", "energy cpu", "local extra", "hub token", "log"} <= set(
        findings
    )
    assert "warning" == findings["hub token"]["state"]
    assert (1, True) == (broken.exit_code, "nowhere.toml" in broken.stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "no-task", "x"), 1, "feature-extraction"),
        (("run", "feature-extraction", "x", "--model", "nope"), 1, "Unknown model"),
        (("run", "feature-extraction", ""), 1, "empty"),
        (("run", "feature-extraction", "@nowhere.txt"), 1, "nowhere.txt"),
        (("run", "feature-extraction", "x", "--policy", "nope"), 1, "cheapest"),
        (("run", "feature-extraction", "x", "--server", "http://127.0.0.1:9"), 1, "does not answer"),
        (("run", "feature-extraction"), 2, "INPUT"),
        (("report",), 1, "no log"),
        (("models", "pull"), 1, "--builtin"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """Exit code 1 for a failure and 2 for wrong usage; no traceback."""
    done = here(tmp_path, *arguments)

    assert code == done.exit_code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_log_can_be_taken_elsewhere(tmp_path) -> None:
    """`nearfar export` writes every decision into a file of its owner alone, and overwrites none unasked."""
    here(tmp_path, "run", "feature-extraction", "hello", "--model", "fake/embeddings", "--json")
    done = nearfar(tmp_path, "export", "log.csv", "--json")

    assert {"path": "log.csv", "decisions": 1} == json.loads(done.stdout)
    heading, row = (tmp_path / "log.csv").read_text(encoding="utf-8").strip().splitlines()
    assert heading.startswith("decision_id,ts,backend")
    assert ",fake," in row
    again = here(tmp_path, "export", "log.csv")
    assert (1, True) == (again.exit_code, "--force" in again.stderr)
    assert 0 == here(tmp_path, "export", "log.csv", "--force", "--until", "1h").exit_code
    assert 1 == len((tmp_path / "log.csv").read_text(encoding="utf-8").strip().splitlines())
