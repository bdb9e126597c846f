"""Budgets as a user meets them: refusals, answers from near, System Health and metrics of a real server."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Server

MODELS = """
[routing]
policy = "remote-first"
[[models]]
id = "test/both"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "dear"
  price = { per_request_usd = 1.0 }
  [[models.candidates]]
  backend = "fake"
  provider = "near"
  script = { near = true }
"""
BODY = {"model": "test/both", "inputs": "hi"}
CHAT = {"model": "test/both", "messages": [{"role": "user", "content": "hi"}]}


def test_a_budget_that_refuses_answers_402_in_every_shape(serve: Callable[..., Server]) -> None:
    """OpenAI's error for a spent quota, with the row that explains it; streams as well. A dry run shows the slate."""
    server = serve(MODELS + '[[budgets]]\nscope = "provider:dear"\nlimit_usd = 0.5\non_exceeded = "refuse"\n')
    sent = [
        server.post("/v1/inference", BODY),
        server.post("/v1/chat/completions", CHAT),
        server.post("/v1/chat/completions", CHAT | {"stream": True}),
    ]
    dry = server.post("/v1/route", BODY)

    for answer in sent:
        error = answer.body["error"]
        assert (402, "insufficient_quota", "budget_exceeded") == (answer.status, error["type"], error["code"])
        assert "of $0.5 a day (provider:dear), $0 is spent or reserved and this may cost $1" in error["message"]
        row = server.get(f"/v1/decisions/{error['decision_id']}").body
        assert ("refused", "BudgetExceeded", 2) == (row["status"], row["error_class"], len(row["candidates"]))
    assert (200, None) == (dry.status, dry.body["chosen"])


def test_a_spent_budget_answers_from_near_and_says_so(serve: Callable[..., Server]) -> None:
    """In the answer's reason and header; System Health and the metrics tell how the budget stands."""
    server = serve(MODELS + '[[budgets]]\nlimit_usd = 0.5\nperiod = "month"\n')
    answer = server.post("/v1/inference", BODY)
    [budget] = server.get("/v1/system").body["budgets"]
    with urllib.request.urlopen(f"{server.url}/metrics") as response:
        metrics = response.read().decode()

    assert (200, "near:test/both") == (answer.status, answer.body["attempts"][0]["candidate"])
    assert "Over budget: of $0.5 a month (global)" in answer.body["reason"]
    assert "Over budget" in answer.headers["x-nearfar-reason"]
    assert ("global", "month", "near", 0.5, 0.0, 0.0) == tuple(
        budget[key] for key in ("scope", "period", "on_exceeded", "limit_usd", "spent_usd", "reserved_usd")
    )
    assert budget["resets_at"].endswith("-01T00:00:00Z")
    assert 'nearfar_budget_limit_usd{on_exceeded="near",period="month",scope="global"} 0.5' in metrics
    assert 'nearfar_budget_spent_usd{on_exceeded="near",period="month",scope="global"} 0.0' in metrics
    assert 'nearfar_budget_reserved_usd{on_exceeded="near",period="month",scope="global"} 0.0' in metrics
