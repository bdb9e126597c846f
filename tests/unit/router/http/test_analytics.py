"""Analytics over HTTP: every named question has its route, and mistakes name the parameter."""

import asyncio
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from router.decision_log.log import DecisionLog
from router.decision_log.questions import QUESTIONS
from router.decision_log.record import DecisionRow, OutcomeRow
from router.http import analytics, errors


@pytest.fixture(scope="module")
def client():
    log = DecisionLog.open(Path(":memory:"))
    decision_id = str(uuid.uuid4())
    log.append(
        DecisionRow(
            decision_id=decision_id, ts_us=1_760_011_200_000_000, seq=1, surface="cli", request_id=None, mode="policy",
            reason="", price_book=None, task="t", model="m", input_bytes=None,
        )
    )  # fmt: skip
    log.append(
        OutcomeRow(
            decision_id=decision_id, ts_us=1_760_011_200_100_000, status="ok", error_class=None, error=None,
            cost_usd=0.5, cost_source="priced", backend="remote", latency_ms=100.0,
        )
    )  # fmt: skip
    app = Litestar(
        [analytics.question, analytics.schema],
        exception_handlers={Exception: errors.handle},
        openapi_config=None,
        logging_config=None,
    )
    app.state.services = SimpleNamespace(
        sql_places=asyncio.Semaphore(1), log=log, shipping=None, dispatcher=SimpleNamespace(acknowledged=log.committed)
    )
    with TestClient(app) as client:
        yield client
    log.close()


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_is_answered(client, name) -> None:
    """Rows appended before the question are in its answer, which names the range and explains its columns."""
    answer = client.get(f"/v1/analytics/{name}", params={"until": "2026-01-01T00:00:00+02:00"})

    assert (200, name, "2025-12-31T22:00:00Z") == (
        answer.status_code,
        *(answer.json()[k] for k in ("question", "until")),
    )
    assert answer.json()["columns"]


def test_a_range_and_a_step_are_heard(client) -> None:
    """Of one request at noon there is one row by day, and none after it."""
    rows = client.get("/v1/analytics/timeseries", params={"step": "day", "by": "model"}).json()["rows"]

    assert [("2025-10-09T00:00:00.000000Z", "m", 1, 0.5)] == [
        (row["at"], row["model"], row["requests"], row["cost_usd"]) for row in rows
    ]
    assert [] == client.get("/v1/analytics/timeseries", params={"since": "2025-10-09T13:00:00"}).json()["rows"]


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("nonsense", "question"),
        ("summary?by=x", "by"),
        ("models?since=yesterday", "since"),
        ("savings?step=day", "step"),
    ],
)
def test_a_mistake_names_its_parameter(client, path, param) -> None:
    """What cannot be asked is 400, and says of which parameter."""
    answer = client.get(f"/v1/analytics/{path}")

    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])


def test_what_there_is_to_query_is_told(client) -> None:
    """Questions with what they may be asked by, views with their columns in words."""
    told = client.get("/v1/analytics/schema").json()

    assert set(QUESTIONS) == set(told["questions"])
    assert "tenant" in told["questions"]["summary"]["by"]
    assert told["views"]["decisions"]["cost_usd"].startswith("All attempts together")
