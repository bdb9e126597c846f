"""A server whose models only pretend, near and far, quick and broken: there is something to look at at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

BOTH, SHAKY, BROKEN = "test/both", "test/shaky", "test/broken"
EVIL = "<img src=x onerror=alert(1)>"
CONFIG = f"""
[routing]
policy = "balanced"
exploration = 0.2
[[budgets]]
limit_usd = 5.0
[[models]]
id = "{BOTH}"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "close"
  price = {{ per_request_usd = 0.0001 }}
  script = {{ near = true, latency_ms = 12 }}
  [[models.candidates]]
  backend = "fake"
  provider = "away"
  price = {{ per_request_usd = 0.002 }}
  script = {{ latency_ms = 4 }}
[[models]]
id = "{SHAKY}"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "flaky"
  price = {{ per_request_usd = 0.0001 }}
  script = {{ latency_ms = 3, fail = "RemoteError" }}
  [[models.candidates]]
  backend = "fake"
  provider = "steady"
  price = {{ per_request_usd = 0.002 }}
  script = {{ near = true, latency_ms = 6 }}
[[models]]
id = "{BROKEN}"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "gone"
  price = {{ per_request_usd = 0.001 }}
  script = {{ fail = "RemoteError" }}
"""


def ask(server: Server, model: str, **more: object) -> str | None:
    """Send one request; the id of its decision."""
    answer = server.post("/v1/inference", {"model": model, "inputs": "hello", **more})
    return answer.headers.get("x-nearfar-decision-id") or (answer.body.get("error") or {}).get("decision_id")


def fill(server: Server, rounds: int) -> None:
    """Some of everything, each with its row in the log when this returns."""
    for n in range(rounds):
        ask(server, BOTH, routing={"policy": ("balanced", "fastest", "cheapest")[n % 3]})
        ask(server, SHAKY)
        if n % 4 == 0:
            ask(server, BROKEN)
    written(server)


def crowd(server: Server, count: int) -> None:
    """Many requests to one model, several at once."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ask(server, BOTH), range(count)))
    written(server)


def written(server: Server) -> None:
    """Wait until all that was decided is in the log: the list of decisions does not, questions to analytics do."""
    server.sql("select 1")
