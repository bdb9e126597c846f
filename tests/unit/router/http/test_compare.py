"""The routes of comparisons over a real app of fakes: begun, watched, cancelled, and told to nobody else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from router.app import create_app
from router.decision_log.log import DecisionLog
from router.sections import LogSettings, Settings
from router.settings import Secrets
from tests.unit.router.house import CHAT, chat_model, fake

NONE = "01980000-0000-7000-8000-000000000000"
SUITE: dict[str, Any] = {
    "task": "text-generation",
    "inputs": ["hello", {"input": "good bye", "expected": None}],
    "candidates": [{"model": CHAT, "provider": "a", "name": "one"}, {"model": CHAT, "provider": "b", "name": "other"}],
    "parameters": {"max_tokens": 4},
}
SLOW = SUITE | {"candidates": [{"model": CHAT, "provider": "slow", "name": "slow"}, *SUITE["candidates"][:1]]}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An app whose `slow` candidate answers after a day; every test leaves nothing under way."""
    tmp_path = tmp_path_factory.mktemp("compare")
    settings = Settings(
        models=(chat_model(fake("a"), fake("b"), fake("slow", latency_ms=86_400_000)),),
        log=LogSettings(path=str(tmp_path / "log.duckdb")),
    )
    app = create_app(settings, Secrets(), DecisionLog.open(tmp_path / "log.duckdb"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def ended(client: TestClient, run_id: str) -> dict[str, Any]:
    """What is told of a run once it has ended."""
    while (told := client.get(f"/v1/compare/{run_id}").json())["status"] == "running":
        pass
    return told


def test_a_run_goes_on_in_the_background_and_is_told(client: TestClient) -> None:
    """Its id comes at once; in the end it has all its trials and what they say."""
    begun = client.post("/v1/compare", json=SUITE)
    told = ended(client, begun.json()["id"])
    listed = client.get("/v1/compare").json()["data"]

    assert (202, "running", 14) == (begun.status_code, begun.json()["status"], begun.json()["planned"])
    assert ("completed", 14, None) == (told["status"], told["finished"], told["stopped"])
    assert {"one", "other"} == {each["candidate"] for each in told["report"]["figures"]}
    assert {name: value for name, value in told.items() if name != "report"} == listed[0]


def test_one_runs_at_a_time_and_can_be_cancelled(client: TestClient) -> None:
    """A second one is told when to come back; what was cancelled says so, and the next may begin."""
    begun = client.post("/v1/compare", json=SLOW).json()
    second = client.post("/v1/compare", json=SUITE)
    cancelled = client.delete(f"/v1/compare/{begun['id']}")
    again = client.delete(f"/v1/compare/{begun['id']}")
    third = client.post("/v1/compare", json=SUITE)

    assert (429, "10") == (second.status_code, second.headers["retry-after"])
    assert ("stopped", "cancelled") == (cancelled.json()["status"], cancelled.json()["stopped"])
    assert (400, 202) == (again.status_code, third.status_code)
    assert "completed" == ended(client, third.json()["id"])["status"]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"inputs": []}, "inputs"),
        ({"inputs": ["x"] * 21}, "inputs"),
        ({"candidates": SUITE["candidates"] * 3}, "candidates"),
        ({"repeats": 11}, "repeats"),
        ({"rate_per_s": 1, "concurrency": 1}, "rate_per_s"),
        ({"metric": "cosine"}, "metric"),
        ({"parameters": {"max_tokens": 0}}, "parameters.max_tokens"),
        ({"candidates": [*SUITE["candidates"][:1], {"model": "no/such"}]}, "candidates[1]"),
        ({"inputs": [{"file": "secrets.txt"}]}, "inputs[0].file"),
        ({"inputs": [{"input": "x", "expected": [["a"]]}]}, "inputs[0].expected"),
        ({"name": "a\u0000b"}, "name"),
        ({"nope": 1}, "nope"),
    ],
)
def test_what_cannot_be_run_is_refused_by_its_field(client: TestClient, changes: dict[str, Any], param: str) -> None:
    before = client.get("/v1/compare").json()
    answer = client.post("/v1/compare", json=SUITE | changes)

    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])
    assert before == client.get("/v1/compare").json()


def test_what_is_not_there_is_not_found(client: TestClient) -> None:
    for name in (NONE, "nonsense"):
        assert 404 == client.get(f"/v1/compare/{name}").status_code
        assert 404 == client.delete(f"/v1/compare/{name}").status_code


def test_an_app_that_closes_ends_its_run_and_says_so(tmp_path: Path) -> None:
    """The next app tells of it as stopped; nothing of it is under way any more."""
    settings = Settings(
        models=(chat_model(fake("a"), fake("slow", latency_ms=86_400_000)),),
        log=LogSettings(path=str(tmp_path / "log.duckdb")),
    )
    told = []
    for body in (SLOW, None):
        app = create_app(settings, Secrets(), DecisionLog.open(tmp_path / "log.duckdb"))
        with TestClient(app, base_url="http://127.0.0.1") as client:
            if body is not None:
                client.post("/v1/compare", json=body)
            told.append(client.get("/v1/compare").json()["data"][0]["status"])

    assert ["running", "stopped"] == told
