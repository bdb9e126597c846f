"""What is told of an HTTP exchange, whatever it is and however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from router.http.metrics import Metrics
from router.identity import Identity
from router.telemetry.exchanges import Exchange, Watched, log_line
from router.telemetry.logs import FIELDS

CANARY = "the-canary-sings"


def exchange(app, method: str = "GET", path: str = f"/{CANARY}") -> Exchange:
    """What is told of one request to an ASGI application; the application's own error is let pass."""
    told: list[Exchange] = []

    async def send(message) -> None:
        pass

    async def receive() -> dict:
        return {"type": "http.request"}

    scope = {"type": "http", "method": method, "path": path, "query_string": CANARY.encode(), "state": {}}
    with contextlib.suppress(ZeroDivisionError):
        asyncio.run(Watched(app, told.append)(scope, receive, send))
    [found] = told
    return found


async def answering(scope, receive, send) -> None:
    scope["path_template"] = "/v1/models/{id}"
    scope["state"]["nearfar_identity"] = Identity(tenant="alice")
    headers = [(b"X-Request-Id", b"r-1"), (b"x-nearfar-decision-id", b"d-1")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def silent(scope, receive, send) -> None:
    pass


async def failing(scope, receive, send) -> None:
    raise ZeroDivisionError


def test_an_exchange_is_told_by_its_route() -> None:
    """With its status, its ids and whose it was, and never with its path."""
    found = exchange(answering, "PATCH")

    assert ("PATCH", "/v1/models/{id}", 404) == (found.method, found.route, found.status)
    assert ("r-1", "d-1", "alice") == (found.request_id, found.decision_id, found.tenant)
    assert CANARY not in repr(found)


@pytest.mark.parametrize("app", [silent, failing])
def test_an_exchange_without_an_answer_is_told_too(app) -> None:
    """Its status is 0, and no route took it."""
    found = exchange(app, CANARY)

    assert ("other", "unmatched", 0) == (found.method, found.route, found.status)


def test_the_line_of_an_exchange_holds_its_fields_and_no_other(caplog) -> None:
    """What is not known is left out."""
    with caplog.at_level(logging.INFO, "nearfar.access"):
        log_line(exchange(answering))
    [record] = caplog.records

    assert {"method", "route", "status", "ms", "request_id", "decision_id", "tenant"} == set(getattr(record, FIELDS))
    assert "request" == record.getMessage()


def test_everything_else_passes_unseen() -> None:
    """The lifespan of the application is no exchange."""
    seen = []

    async def app(scope, receive, send) -> None:
        seen.append(scope["type"])

    asyncio.run(Watched(app, seen.append)({"type": "lifespan"}, None, None))

    assert ["lifespan"] == seen


def test_requests_of_no_route_share_one_series() -> None:
    """However many paths and methods somebody tries."""
    metrics = Metrics()
    for number in range(20):
        metrics.exchanged(exchange(silent, f"M{number}", f"/{number}"))
    text = metrics.render(_log(), {}, {}, (), "valid").decode()
    counted = [line for line in text.splitlines() if line.startswith("nearfar_http_requests_total")]

    assert ['nearfar_http_requests_total{method="other",route="unmatched",status="0"} 20.0'] == counted


def _log():
    class Stats:
        queued = spilled = replaced = 0
        lag_s = 0.0
        memory_bytes = None

    return Stats()
