"""Routes, aliases and sessions against a real server, in every convention that names a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """
[routing]
policy = "fastest"

[[models]]
id = "talk/one"
task = "text-generation"
candidates = [{ backend = "fake", provider = "one", price = { per_request_usd = 0.2 } }]

[[models]]
id = "talk/two"
task = "text-generation"
candidates = [{ backend = "fake", provider = "two", price = { per_request_usd = 0.1 } }]

[[aliases]]
name = "talk"
models = ["talk/one", "talk/two"]

[[routes]]
name = "frugal"
match = { task = "text-generation", tag = "frugal", max_input_tokens = 50 }
use = { alias = "talk", policy = "cheapest", max_cost_usd = 0.15 }

[[routes]]
name = "talks"
match = { model = ["auto", "gpt-*"], task = "text-generation" }
use = { alias = "talk" }
"""
FRUGAL = {"tags": ["frugal"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for both tests."""
    running = Server(tmp_path_factory.mktemp("routes"), CONFIG)
    yield running
    running.stop()


def test_auto_tags_and_sessions_reach_the_rules(server: Server) -> None:
    """Native, dry run and OpenAI alike; the log keeps the route and a hash of the session."""
    native = {"model": "auto", "task": "text-generation", "inputs": "hello", "routing": FRUGAL}
    talked = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "routing": {"session": "s1"}}

    dry = server.post("/v1/route", native).body
    assert ("frugal", "cheapest", "two:talk/two") == (dry["route"], dry["policy"], dry["chosen"])
    assert "Routed by 'frugal'." in dry["reason"]
    without_model = {name: value for name, value in native.items() if name != "model"}
    assert "frugal" == server.post("/v1/route", without_model).body["route"]

    answer = server.post("/v1/inference", native | {"routing": FRUGAL | {"explain": True}})
    assert ("talk/two", "frugal") == (answer.body["model"], answer.body["slate"]["route"])
    usual = server.post("/v1/chat/completions", talked | {"routing": {"session": "s0"}})
    other = "one" if usual.body["model"] == "talk/two" else "two"
    first = server.post("/v1/chat/completions", talked | {"routing": {"session": "s1", "only": [other]}})
    again = server.post("/v1/chat/completions", talked)
    assert usual.body["model"] != first.body["model"] == again.body["model"]

    rows = [
        server.get(f"/v1/decisions/{given.headers['x-nearfar-decision-id']}").body for given in (answer, first, again)
    ]
    assert ["frugal", "talks", "talks"] == [row["route"] for row in rows]
    assert [None, rows[1]["session"], rows[1]["session"]] == [row["session"] for row in rows]
    assert "s1" != rows[1]["session"]


def test_what_is_wrong_with_the_new_fields_is_said(server: Server) -> None:
    """By the field's name."""
    for routing, param in (
        ({"tags": ["x"] * 17}, "routing.tags"),
        ({"tags": [""]}, "routing.tags[0]"),
        ({"session": "x" * 257}, "routing.session"),
        ({"policy": "budget"}, "routing.policy"),
        ({"within": [["one"]]}, "routing.within"),
    ):
        answer = server.post("/v1/route", {"model": "talk", "inputs": "hello", "routing": routing})
        assert (400, param) == (answer.status, answer.body["error"]["param"]), routing
    answer = server.post("/v1/route", {"model": "auto", "inputs": "hello"})
    assert (400, "task") == (answer.status, answer.body["error"]["param"])
