"""The routes of pages: what may be said to them, and what they answer."""

from pathlib import Path

import pytest
from litestar.testing import TestClient

from router.app import create_app
from router.decision_log.log import DecisionLog
from router.section_of_routing import RoutingSettings
from router.sections import Settings
from router.settings import Secrets
from tests.unit.router.house import CHAT, VECTORS, chat_model, fake, vector_model

SPEED = {"per": "text", "p50_ms": 20, "p95_ms": 40, "samples": 50}
ABLE = {"model": VECTORS, "task": "feature-extraction", "loaded": True, "parity": 0.999, "speed": SPEED}
PAGE = {"models": [ABLE], "threads": 2}
REPORT = {"status": "ok", "latency_ms": 3.5, "threads": 2}


@pytest.fixture(scope="module")
def client():
    settings = Settings(
        models=(vector_model(fake("a")), chat_model(fake("a"))), routing=RoutingSettings(policy="cheapest")
    )
    log = DecisionLog.open(Path(":memory:"))
    with TestClient(create_app(settings, Secrets(), log), base_url="http://127.0.0.1") as client:
        yield client


def route(client, **body):
    return client.post("/v1/route", json={"model": VECTORS, "inputs": "hello", "browser": PAGE} | body)


def decisions(client) -> list[str]:
    return [row["decision_id"] for row in client.get("/v1/decisions").json()["data"]]


def test_a_page_is_chosen_and_reports(client) -> None:
    """The id that the answer gives becomes a row by the report, and none before."""
    answer = route(client).json()
    decision_id = answer["report"]["decision_id"]
    before = client.get(f"/v1/decisions/{decision_id}").status_code
    told = [client.post("/v1/decisions/browser", json=REPORT | {"decision_id": decision_id}) for _ in range(2)]
    row = client.get(f"/v1/decisions/{decision_id}").json()

    assert (f"browser:{VECTORS}", 900.0, 404) == (answer["chosen"], answer["report"]["within_s"], before)
    assert [(200, {"success": True, "decision_id": decision_id, "status": "ok"})] * 2 == [
        (each.status_code, each.json()) for each in told
    ]
    assert ("browser", "client", "ok") == (row["backend"], row["cost_source"], row["status"])
    assert decision_id in [each["decision_id"] for each in client.get("/v1/decisions?backend=browser").json()["data"]]


def test_a_server_that_is_chosen_waits_for_no_report(client) -> None:
    """As without a page: nothing is executed, nothing logged, and nothing to be reported."""
    before = decisions(client)
    for answer in (route(client, routing={"backend": "fake"}), route(client, browser={"models": []})):
        assert (200, None) == (answer.status_code, answer.json()["report"])

    assert before == decisions(client)


def test_inputs_may_stay_in_the_page(client) -> None:
    """Their size is enough to decide by; a private request is decided, too, though nobody else may serve it."""
    answer = route(client, inputs=None, size={"items": 4, "input_tokens": 80}, routing={"private": True}).json()
    mine = next(each for each in answer["candidates"] if each["backend"] == "browser")

    assert (f"browser:{VECTORS}", 80.0) == (answer["chosen"], mine["latency_ms"])


def test_what_is_not_known_is_null(client) -> None:
    """Without a speed: no latency, no choice, and the reason."""
    answer = route(client, browser={"models": [ABLE | {"speed": None}]}).json()
    mine = next(each for each in answer["candidates"] if each["backend"] == "browser")

    assert (None, False) == (mine["latency_ms"], mine["eligible"])
    assert "has not measured" in mine["rejection"]
    assert "a:test/vectors" == answer["chosen"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"inputs": None}, "inputs"),
        ({"size": {"items": 1}}, "inputs"),
        ({"inputs": None, "size": {"items": 0}}, "size.items"),
        ({"inputs": None, "size": {}, "parameters": {"truncate": True}}, "parameters"),
        ({"inputs": None, "size": {}, "model": CHAT}, "inputs"),
        ({"browser": {"models": [ABLE, ABLE]}}, "browser.models"),
        ({"browser": {"models": [ABLE] * 17}}, "browser.models"),
        ({"browser": {"models": [ABLE | {"speed": SPEED | {"p95_ms": 1}}]}}, "browser.models"),
        ({"browser": {"models": [ABLE | {"speed": SPEED | {"samples": 0}}]}}, "browser.models[0].speed.samples"),
        ({"browser": {"models": [ABLE | {"parity": 2}]}}, "browser.models[0].parity"),
        ({"browser": {"models": [ABLE | {"task": "text-generation"}]}}, "browser.models[0].task"),
        ({"browser": {"models": [], "cores": 4}}, "browser.cores"),
    ],
)
def test_what_a_page_cannot_say_is_refused_by_name(client, body, param) -> None:
    """The field is named."""
    answer = route(client, **body)

    assert 400 == answer.status_code, answer.text
    assert param == answer.json()["error"]["param"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"decision_id": "0193"}, 404, None),
        ({"latency_ms": -1}, 400, "latency_ms"),
        ({"latency_ms": 1e12}, 400, "latency_ms"),
        ({"latency_ms": 3_600_000}, 400, "latency_ms"),
        ({"load_ms": 4}, 400, "load_ms"),
        ({"status": "won"}, 400, "status"),
        ({"failure": "failed"}, 400, "failure"),
        ({"error": "what the page says"}, 400, "error"),
        ({"cost_usd": -5}, 400, "cost_usd"),
        ({"decision_id": "x" * 20_000}, 413, None),
    ],
)
def test_a_report_that_cannot_be_is_refused_and_changes_nothing(client, body, status, param) -> None:
    """The decision still waits for a right one."""
    decision_id = route(client).json()["report"]["decision_id"]
    answer = client.post("/v1/decisions/browser", json=REPORT | {"decision_id": decision_id} | body)
    after = client.post("/v1/decisions/browser", json=REPORT | {"decision_id": decision_id})

    assert (status, param) == (answer.status_code, answer.json()["error"]["param"]), answer.text
    assert 200 == after.status_code


def test_the_metrics_count_pages_by_themselves(client) -> None:
    """At no cost, and with none of our tokens."""
    decision_id = route(client).json()["report"]["decision_id"]
    client.post("/v1/decisions/browser", json=REPORT | {"decision_id": decision_id})

    text = client.get("/metrics").text

    assert 'nearfar_requests_total{backend="browser",status="ok",surface="/v1/decisions/browser"}' in text
    assert 'nearfar_cost_usd_total{backend="browser"} 0.0' in text


def test_replay_knows_pages(client) -> None:
    """Each has a machine of its own, so no queue is made of them; near is this machine."""
    decision_id = route(client).json()["report"]["decision_id"]
    client.post("/v1/decisions/browser", json=REPORT | {"decision_id": decision_id})

    answer = client.post("/v1/replay", json={"policy": "cheapest", "baselines": True})

    assert 200 == answer.status_code, answer.text
    assert {"cheapest", "all-near", "all-far"} <= {verdict["policy"] for verdict in answer.json()["verdicts"]}
