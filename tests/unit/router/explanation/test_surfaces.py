"""Where an explanation is shown: with the decision over HTTP, and by `nearfar explain`, here and from a server."""

import asyncio
import json
from importlib import import_module
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from router.app import create_app
from router.cli import main
from router.decision_log.log import DecisionLog
from router.sections import Settings
from router.settings import Secrets

LOG = "nearfar.duckdb"


def asked(path: Path) -> tuple[str, dict]:
    """One request to a server with its log here; the id of its decision, and what the server tells of it."""

    async def go() -> tuple[str, dict]:
        app = create_app(Settings(), Secrets(), DecisionLog.open(path))
        async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
            answer = await client.post(
                "http://localhost/v1/embeddings", json={"model": "fake/embeddings", "input": "a secret"}
            )
            decision_id = answer.headers["x-nearfar-decision-id"]
            found = await client.get(f"http://localhost/v1/decisions/{decision_id}")
            return decision_id, found.json()

    return asyncio.run(go())


def test_a_decision_carries_its_explanation(tmp_path: Path) -> None:
    """Over HTTP: beside the rows, in words and as data, and without the input."""
    decision_id, found = asked(tmp_path / LOG)
    told = found["explanation"]

    assert (decision_id, "ok") == (told["decision_id"], told["status"])
    assert "chose fake:fake/embeddings" in told["summary"]
    assert found["candidates"][0]["pred_ms"] == told["candidates"][0]["predicted_ms"]
    assert found["attempts"][0]["total_ms"] == told["prediction"]["observed_ms"]
    assert "secret" not in json.dumps(told)


def test_the_command_explains_a_decision_and_the_newest(tmp_path: Path) -> None:
    """`nearfar explain` tells the newest, `nearfar explain ID` that one; --json says the same as the server does."""
    decision_id, found = asked(tmp_path / LOG)
    newest, named = CliRunner().invoke(main, ["explain"]), CliRunner().invoke(main, ["explain", decision_id])
    data = CliRunner().invoke(main, ["explain", decision_id, "--json"])

    assert (0, 0, 0) == (newest.exit_code, named.exit_code, data.exit_code)
    assert newest.output == named.output
    assert named.output.startswith(found["explanation"]["summary"])
    assert "was asked first, and answered after" in named.output
    assert found["explanation"] == json.loads(data.output)


def test_the_command_asks_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --server the server's own explanation is shown."""
    paths: list[str] = []
    told = {"summary": "So it was.", "candidates": [], "decision_id": "id", "happened": {"attempts": []}, "limits": []}

    def get(_server: str, path: str) -> dict:
        paths.append(path)
        if "limit" in path:
            return {"data": [{"decision_id": "id"}]}
        return {"explanation": told | {"exploration": {"words": "No chance."}}}

    for module in ("router.cli.explain", "router.cli.sources"):
        monkeypatch.setattr(import_module(module), "get", get)
    done = CliRunner().invoke(main, ["explain", "--server", "http://server"])

    assert (0, "So it was.\n\nNo chance.\n") == (done.exit_code, done.output)
    assert ["/v1/decisions?limit=1", "/v1/decisions/id"] == paths


@pytest.mark.parametrize("decision_id", ["0198aaaa-0000-7000-8000-000000000000", "nonsense"])
def test_a_decision_that_is_not_there_is_named(tmp_path: Path, decision_id: str) -> None:
    """One line, exit code 1; and without any log what to do first."""
    without = CliRunner().invoke(main, ["explain", decision_id])
    DecisionLog.open(tmp_path / LOG).close()
    done, none = CliRunner().invoke(main, ["explain", decision_id]), CliRunner().invoke(main, ["explain"])

    assert (1, 1, 1) == (without.exit_code, done.exit_code, none.exit_code)
    assert "There is no log" in without.output
    assert f"No decision '{decision_id}' in the log." in done.output
    assert "The log has no decision yet." in none.output
