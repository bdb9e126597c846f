"""Pages of two tenants before a real server: each reports what became of its own requests, and of nobody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.e2e.conftest import Server
from tests.e2e.test_access import bearer, created

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "test/vectors"
CONFIG = """
[auth]
mode = "keys"
[routing]
policy = "cheapest"
[[models]]
id = "test/vectors"
task = "feature-extraction"
  [[models.candidates]]
  backend = "fake"
  provider = "a"
  price = { per_request_usd = 0.001 }
"""
PAGE = {
    "models": [
        {"model": MODEL, "task": "feature-extraction", "loaded": True, "parity": 0.9993, "dtype": "q8",
         "speed": {"per": "text", "p50_ms": 20, "p95_ms": 45, "samples": 48}},
    ],
    "threads": 2,
}  # fmt: skip
ASK = {"model": MODEL, "size": {"items": 2, "input_tokens": 30}, "browser": PAGE, "routing": {"private": True}}


class Senders(NamedTuple):
    """A server, and the keys of two tenants; a third may only read."""

    server: Server
    anna: dict[str, str]
    berta: dict[str, str]
    reader: dict[str, str]


@pytest.fixture(scope="module")
def senders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Senders]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "nearfar.toml").write_text(CONFIG, encoding="utf-8")
    anna, berta = (bearer(created(folder, name, "--scope", "infer", "--scope", "read")) for name in ("anna", "berta"))
    reader = bearer(created(folder, "reader", "--scope", "read"))
    server = Server(folder, CONFIG)
    yield Senders(server, anna, berta, reader)
    server.stop()


def test_nobody_reports_for_another(senders: Senders) -> None:
    """Another's decision is as unknown as none; its own row is its sender's alone, at no cost and as it reported."""
    server, anna, berta, reader = senders
    routed = server.post("/v1/route", ASK, anna)
    decision_id = routed.body["report"]["decision_id"]
    report = {"decision_id": decision_id, "status": "ok", "latency_ms": 1.5, "threads": 2}

    answers = [
        server.post("/v1/decisions/browser", body, headers).status
        for body, headers in (
            (report, berta),
            (report, reader),
            (report, {}),
            (report | {"decision_id": "01930000-0000-7000-8000-000000000000"}, anna),
            (report, anna),
            (report, anna),
            (report, berta),
            (report | {"status": "error"}, anna),
        )
    ]

    assert "browser:test/vectors" == routed.body["chosen"]
    assert [404, 403, 401, 404, 200, 200, 404, 409] == answers
    explained = server.ask("GET", f"/v1/decisions/{decision_id}", headers=anna).body["explanation"]
    mine = server.ask("GET", "/v1/decisions?backend=browser", headers=anna).body["data"]
    assert [(decision_id, "anna", 0.0, "client", 1.5)] == [
        (row["decision_id"], row["tenant"], row["cost_usd"], row["cost_source"], row["latency_ms"]) for row in mine
    ]
    assert [] == server.ask("GET", "/v1/decisions", headers=berta).body["data"]
    assert 404 == server.ask("GET", f"/v1/decisions/{decision_id}", headers=berta).status
    assert "browser:test/vectors" in str(explained)
    [line] = server.ask("GET", "/v1/analytics/summary?by=tenant", headers=anna).body["rows"]
    assert (0.0, 1.0, 0.0) == (line["near_share"], line["browser_share"], line["cost_usd"])


def test_where_no_page_can_do_it_the_server_does(senders: Senders) -> None:
    """Vectors that were found to differ are no candidate, and what is wrong with them is said."""
    page = {**PAGE, "models": [PAGE["models"][0] | {"parity": 0.97}]}
    asked = {"model": MODEL, "inputs": "hello", "browser": page}

    routed = senders.server.post("/v1/route", asked, senders.anna).body

    assert ("a:test/vectors", None) == (routed["chosen"], routed["report"])
    [mine] = [each for each in routed["candidates"] if each["backend"] == "browser"]
    assert "the cosine between them is 0.97, less than 0.99" in mine["rejection"]
