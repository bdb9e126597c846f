"""Intents over HTTP and on the command line: defined, asked, kept, refused and forgotten, with real weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.command import here
from tests.e2e.conftest import MINILM, SMOLLM, Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DESK: dict[str, Any] = {
    "name": "desk",
    "intents": {
        "login": {
            "description": "getting into an account",
            "examples": ["reset my password", "I forgot my login", "my account is locked", "change the password"],
        },
        "printer": {
            "examples": [
                "the printer is jammed",
                "out of toner",
                "printing does not work",
                "paper stuck in the printer",
            ],
        },
    },
    "unknown": ["what is for lunch", "book a flight to Rome", "tell me a joke", "the weather tomorrow"],
}


def ask(server: Server, *texts: str, model: str = "intents/desk") -> list[str]:
    answer = server.post("/v1/inference", {"model": model, "inputs": list(texts), "parameters": {"top_k": 1}})

    assert 200 == answer.status, answer.body
    return [labels[0]["label"] for labels in answer.body["result"]]


def test_intents_are_defined_asked_kept_and_forgotten(serve: Callable[..., Server]) -> None:
    """The next server of the folder answers the same, without fitting again; then set, file and model go."""
    server = serve()
    told = server.post("/v1/intents", DESK)

    assert 201 == told.status, told.body
    assert ("intents/desk", ["login", "printer"], 8, True) == tuple(
        told.body[key] for key in ("model", "labels", "examples", "fitted")
    )
    low, high = told.body["accuracy_interval"]
    assert 0.5 < low <= told.body["accuracy"] <= high + 1e-9
    assert 0 <= told.body["ece"] <= told.body["ece_uncalibrated"] <= 1
    texts = ("cannot log into my account", "the printer prints blank pages", "who won the football match")
    assert ["login", "printer", "unknown"] == ask(server, *texts)
    assert "intents/desk" in [entry["id"] for entry in server.get("/v1/models").body["data"]]
    assert 0 == server.stop()

    again = serve()
    body = again.get("/v1/intents/desk").body
    assert [told.body] == again.get("/v1/intents").body["data"]
    assert (DESK["unknown"], DESK["intents"]["login"]) == (body["unknown"], body["intents"]["login"])
    assert ["login", "printer", "unknown"] == ask(again, *texts)

    assert {"name": "desk", "deleted": True} == again.ask("DELETE", "/v1/intents/desk").body
    assert [] == list((again.folder / "nearfar-intents").iterdir())
    for answer in (
        again.get("/v1/intents/desk"),
        again.ask("DELETE", "/v1/intents/desk"),
        again.post("/v1/inference", {"model": "intents/desk", "inputs": "x"}),
    ):
        assert (404, "model") == (answer.status, answer.body["error"]["param"])


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": "../desk"}, "name"),
        ({"name": "builtin"}, "name"),
        ({"intents": {"only": {"examples": ["a", "b"]}}}, "intents"),
        ({"intents": DESK["intents"] | {"printer": {"examples": ["out of toner"]}}}, "intents.printer.examples"),
        ({"unknown": ["out of  Toner"]}, "unknown[0]"),
        ({"unknown": [1]}, "unknown[0]"),
        ({"routing": {}}, "routing"),
    ],
)
def test_a_bad_definition_is_refused_by_field(near: Server, change, param) -> None:
    """And makes no model."""
    answer = near.post("/v1/intents", DESK | change)

    assert (400, param) == (answer.status, answer.body["error"]["param"]), answer.body
    assert 404 == near.get("/v1/models/intents/desk").status


def test_the_intent_of_a_prompt_is_in_its_row(serve: Callable[..., Server]) -> None:
    """While the set's model is loaded; before that, and of other tasks, nothing is known."""
    server = serve('[routing]\nintents = "builtin"\n')
    chat = {"model": SMOLLM, "max_tokens": 1, "messages": [{"role": "user", "content": "Write a poem about the sea"}]}

    def intent(path: str, body: dict[str, Any]) -> Any:
        answer = server.post(path, body)
        assert 200 == answer.status, answer.body
        row = server.get(f"/v1/decisions/{answer.headers['x-nearfar-decision-id']}").body
        return row["intent"], row["intent_probability"]

    assert (None, None) == intent("/v1/chat/completions", chat)
    assert ["math"] == ask(server, "what is 12 times 17", model="nearfar/minilm-intent")
    assert (None, None) == intent("/v1/embeddings", {"model": MINILM, "input": "Write a poem about the sea"})
    label, probability = intent("/v1/chat/completions", chat)
    assert label in {"creative-writing", None}  # None where this machine is too busy to answer within the bound
    assert (label is None) == (probability is None)


def test_the_command_line_defines_lists_and_forgets(tmp_path: Path) -> None:
    """From a file with a table a label."""
    lines = [f"unknown = {json.dumps(DESK['unknown'])}"]
    for label, intent in DESK["intents"].items():
        lines += [f"[{label}]", f"examples = {json.dumps(intent['examples'])}"]
    (tmp_path / "desk.toml").write_text("\n".join(lines))

    added = here(tmp_path, "intents", "add", "desk.toml", "--json")
    assert 0 == added.exit_code, added.stderr
    assert ("intents/desk", 8) == tuple(json.loads(added.stdout)[key] for key in ("model", "examples"))
    assert [json.loads(added.stdout)] == json.loads(here(tmp_path, "intents", "list", "--json").stdout)
    asked = here(tmp_path, "run", "text-classification", "paper jam", "--model", "intents/desk", "--json")
    assert "printer" == json.loads(asked.stdout)["result"][0]["label"], asked.stderr
    assert 0 == here(tmp_path, "intents", "remove", "desk").exit_code
    gone = here(tmp_path, "intents", "show", "desk")
    assert (1, "Error: Unknown model 'intents/desk'.") == (gone.exit_code, gone.stderr.strip())


def test_a_file_that_holds_no_intents_is_refused(tmp_path: Path) -> None:
    """In one line that names it."""
    (tmp_path / "bad.toml").write_text("[a]\nexample = 1\n")
    done = here(tmp_path, "intents", "add", "bad.toml")

    assert 1 == done.exit_code
    assert done.stderr.startswith("Error: bad.toml: intents: not a TOML file of intents")
    assert 1 == len(done.stderr.strip().splitlines())
