"""The two ways to a replay: POST /v1/replay, and `nearfar replay` on a log of its own."""

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from litestar.testing import TestClient

from router.app import create_app
from router.cli import main
from router.decision_log.log import DecisionLog
from router.errors import ReplayStopped
from router.replay.replayed import Clock
from router.sections import Settings
from router.settings import Secrets
from tests.unit.router.replay import logs

HEADERS = {"host": "127.0.0.1"}
REQUESTS = 600
RECENT_MS = time.time() * 1000 - 3_600_000 - logs.NOON_US / 1000  # an hour ago: what is old is deleted


def rows() -> list[Any]:
    """A coin's log: near is cheap and as quick as far."""
    found: list[Any] = []
    for n in range(REQUESTS):
        near = logs.candidate("near", pred_cost_usd=0.0001, propensity=0.5)
        far = logs.candidate("far", pred_cost_usd=0.002, propensity=0.5)
        chosen = "near" if (n * 2654435761 >> 7) % 2 else "far"
        one = logs.decision(RECENT_MS + 1000.0 * n, [near, far], chosen, propensity=0.5)
        cost = 0.0001 if chosen == "near" else 0.002
        times = {"queue_ms": 0.0, "load_ms": 0.0, "service_ms": 100.0} if chosen == "near" else {}
        found += [one, logs.attempt(one, chosen, cost_usd=cost, **times), logs.outcome(one, cost_usd=cost)]
    return found


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Any]]:
    log = logs.filled(rows())
    with TestClient(create_app(Settings(), Secrets(), log), base_url="http://127.0.0.1") as client:
        yield client


def test_a_replay_answers_with_every_quantity(client) -> None:
    """Price, errors, quality and latency, each with its method and interval, or a refusal."""
    answer = client.post("/v1/replay", json={"policy": "cheapest"})
    [verdict] = answer.json()["verdicts"]
    figures = {figure["quantity"]: figure for figure in verdict["figures"]}

    assert 200 == answer.status_code
    assert REQUESTS == answer.json()["requests"]
    assert ["price", "errors", "quality", "latency_mean", "latency_p50", "latency_p95", "latency_p99"] == list(figures)[
        :7
    ]
    assert ("dr", pytest.approx(0.0001, rel=1e-3)) == (figures["price"]["method"], figures["price"]["estimate"])
    assert figures["quality"]["refusal"]
    assert ("events", pytest.approx(101.0, rel=0.01)) == (
        figures["latency_mean"]["method"], figures["latency_mean"]["estimate"],
    )  # fmt: skip


def test_baselines_are_replayed_beside_it(client) -> None:
    """Each by its name."""
    answer = client.post("/v1/replay", json={"policy": "balanced", "baselines": True, "weights": {"cost": 2.0}})

    assert ["balanced", "logged", "all-near", "all-far", "cheapest", "fastest", "random", "oracle"] == [
        verdict["policy"] for verdict in answer.json()["verdicts"]
    ]


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"policy": "nobody"}, "policy", "all-near"),
        ({"policy": "fastest", "since": "yesterday"}, "since", "ISO 8601"),
        ({"policy": "balanced", "weights": {"latency": 0, "cost": 0, "quality": 0}}, "weights", "all 0"),
        ({"policy": "fastest", "polcy": 1}, "polcy", "polcy"),
        ({"policy": "fastest", "max_rows": 0}, "max_rows", "max_rows"),
    ],
)
def test_a_wrong_field_is_named(client, body, param, says) -> None:
    """With 400, and the alternatives where there are any."""
    answer = client.post("/v1/replay", json=body)

    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])
    assert says in answer.json()["error"]["message"]


def test_one_replay_at_a_time(client) -> None:
    """A second one is told to come back, and the place is free again afterwards."""
    place = client.app.state.services.replay_place
    with client.portal() as portal:
        portal.call(place.acquire)
    try:
        answer = client.post("/v1/replay", json={"policy": "fastest"})
    finally:
        place.release()

    assert 503 == answer.status_code
    assert "Another replay is running" in answer.json()["error"]["message"]
    assert "retry-after" in answer.headers
    assert 200 == client.post("/v1/replay", json={"policy": "fastest"}).status_code


def test_a_replay_ends_when_its_time_is_up_or_nobody_waits() -> None:
    """The clock says so within a few requests."""
    gone = threading.Event()
    gone.set()

    def run(clock: Clock) -> None:
        for _ in range(100):
            clock.tick()

    with pytest.raises(ReplayStopped, match="longer than 0 s"):
        run(Clock(0.0))
    with pytest.raises(ReplayStopped, match="nobody waits"):
        run(Clock(60.0, gone))


@pytest.fixture
def log_file(tmp_path, monkeypatch) -> Path:
    """A log in the working directory, as a server leaves it."""
    monkeypatch.chdir(tmp_path)
    log = DecisionLog.open(tmp_path / "nearfar.duckdb")
    for row in rows():
        log.append(row)
    log.close()
    return tmp_path / "nearfar.duckdb"


def test_the_command_shows_figures_intervals_and_refusals_in_words(log_file) -> None:
    """A table a person can read; no path of this machine in it."""
    done = CliRunner().invoke(main, ["replay", "--policy", "cheapest"])

    assert 0 == done.exit_code, done.output
    assert re.search(r"cheapest on 600 logged requests, [0-9: -]+ to [0-9: -]+ UTC", done.output)
    assert "price per request" in done.output
    assert "doubly robust" in done.output
    assert "event replay" in done.output
    assert "quality: refused: nobody judged an answer (POST /v1/feedback)" in done.output
    assert str(log_file.parent) not in done.output


def test_the_command_prints_the_same_value_as_the_route(log_file, client) -> None:
    """In JSON: figure for figure."""
    done = CliRunner().invoke(main, ["replay", "--policy", "cheapest", "--json"])
    answer = client.post("/v1/replay", json={"policy": "cheapest"})

    assert 0 == done.exit_code, done.output
    assert answer.json()["verdicts"] == json.loads(done.output)["verdicts"]


def test_a_window_may_be_empty(log_file) -> None:
    """Everything is refused, nothing breaks."""
    done = CliRunner().invoke(main, ["replay", "--policy", "fastest", "--until", "2001-01-01"])

    assert 0 == done.exit_code, done.output
    assert "fastest on 0 logged requests" in done.output


def test_the_command_refuses_what_is_no_policy(log_file) -> None:
    """With exit code 1, and the names."""
    done = CliRunner().invoke(main, ["replay", "--policy", "best"])

    assert 1 == done.exit_code
    assert "all-near" in done.output


def test_without_a_log_there_is_nothing_to_replay(tmp_path, monkeypatch) -> None:
    """Said in a sentence; none is made."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["replay", "--policy", "fastest"])

    assert 1 == done.exit_code
    assert "There is no log" in done.output
    assert [] == list(tmp_path.iterdir())
