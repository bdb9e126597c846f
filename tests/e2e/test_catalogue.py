"""The catalogue changed over HTTP and from the command line, under load and across a kill, in real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.conftest import Answer, Server

CONFIG = """
[[models]]
id = "team/file"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "a"
  price = { per_request_usd = 1.0 }
"""
ADDED = {
    "id": "team/added",
    "task": "text-generation",
    "candidates": [{"backend": "fake", "provider": "b", "price": {"per_request_usd": 2.0}}],
}


def ask(server: Server, model: str) -> Answer:
    return server.post("/v1/inference", {"model": model, "task": "text-generation", "inputs": "hello"})


def send(server: Server, method: str, path: str, body: object = None) -> dict[str, Any]:
    answer = server.ask(method, path, None if body is None else json.dumps(body).encode())

    assert answer.status in {200, 201}, answer.body
    found: dict[str, Any] = answer.body
    return found


def nearfar(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "router", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)


def test_what_was_changed_outlives_a_kill_and_the_file_is_as_it_was(serve: Callable[..., Server]) -> None:
    """Models, prices, an alias and routes: the next process of the folder begins with them, under the same snapshot."""
    server = serve(CONFIG)
    send(server, "POST", "/v1/models", ADDED)
    send(server, "PATCH", "/v1/models/team/file", {"prices": {"a": {"per_request_usd": 4.0}}})
    send(server, "PUT", "/v1/aliases/both", {"models": ["team/added"], "fallbacks": ["team/file"]})
    route = {"name": "all", "match": {"model": "auto"}, "use": {"alias": "both"}}
    last = send(server, "POST", "/v1/routes", {"route": route})["snapshot"]
    decision = ask(server, "auto").body
    assert (2.0, "team/added") == (decision["cost_usd"], decision["model"])
    server.stop(signal.SIGKILL)

    again = serve(CONFIG)
    shown = again.get("/v1/catalog").body
    assert last == shown["snapshot"]
    assert ("all", 2.0, 4.0) == (
        shown["routes"]["data"][0]["name"],
        ask(again, "auto").body["cost_usd"],
        ask(again, "team/file").body["cost_usd"],
    )
    assert [[last]] == again.sql("SELECT DISTINCT catalog FROM decisions WHERE status = 'ok'")
    kept = again.get(f"/v1/catalog/snapshots/{last}").body
    assert "team/added" in [model["id"] for model in kept["catalog"]["models"]]
    send(again, "DELETE", "/v1/models/team/file")
    assert 1.0 == ask(again, "team/file").body["cost_usd"]
    again.stop()

    moved = serve(CONFIG.replace("1.0", "3.0"))
    assert ("file", 3.0) == next(
        (one["origin"], one["entry"]["candidates"][0]["price"]["per_request_usd"])
        for one in moved.get("/v1/catalog").body["models"]
        if one["id"] == "team/file"
    )


def test_editing_while_requests_run_fails_none_of_them(serve: Callable[..., Server]) -> None:
    """Prices go up and down, models come and go: every request is answered, and costs what its catalogue says."""
    server = serve(CONFIG)
    answers: list[Answer] = []
    done = threading.Event()

    def asking() -> None:
        while not done.is_set():
            answers.append(ask(server, "team/file"))

    askers = [threading.Thread(target=asking) for _ in range(4)]
    for asker in askers:
        asker.start()
    costs = {}
    try:
        for turn in range(12):
            usd = float(turn + 10)
            prices = {"prices": {"a": {"per_request_usd": usd}}}
            costs[send(server, "PATCH", "/v1/models/team/file", prices)["snapshot"]] = usd
            costs[send(server, "POST", "/v1/models", ADDED)["snapshot"]] = usd
            costs[send(server, "DELETE", "/v1/models/team/added")["snapshot"]] = usd
    finally:
        done.set()
        for asker in askers:
            asker.join()

    assert {200} == {answer.status for answer in answers}
    send(server, "GET", "/v1/catalog/snapshots")  # waits for the rows
    rows = server.sql("SELECT catalog, cost_usd, count(*) FROM decisions GROUP BY ALL")
    assert len(answers) == sum(count for _, _, count in rows)
    assert [] == [(catalog, usd) for catalog, usd, _ in rows if costs.get(catalog, 1.0) != usd]
    assert sum(answer.body["cost_usd"] for answer in answers) == sum(usd * count for _, usd, count in rows)


@pytest.mark.slow
def test_the_command_line_changes_what_the_server_serves_or_what_is_kept(serve: Callable[..., Server]) -> None:
    """While a server owns the log only it can be asked; once it has ended, what is kept is changed itself."""
    server = serve(CONFIG)
    price = ("models", "price", "team/file", "a", "--request", "6")
    locked = nearfar(server.folder, *price)
    assert (1, True) == (locked.returncode, "--server" in locked.stderr)
    changed = nearfar(server.folder, *price, "--server", server.url)
    assert (0, "") == (changed.returncode, changed.stderr)
    assert 6.0 == ask(server, "team/file").body["cost_usd"]
    assert "6" in nearfar(server.folder, "models", "show", "team/file").stdout
    refused = nearfar(server.folder, "aliases", "set", "x", "team/fil", "--server", server.url)
    assert (1, True) == (refused.returncode, "team/file" in refused.stderr)
    server.stop()

    routes = server.folder / "routes.toml"
    routes.write_text('[[routes]]\nname = "all"\nmatch = { model = "auto" }\nuse = { models = ["team/file"] }\n')
    for args in (
        ("models", "add", "team/far", "--task", "text-generation", "--provider", "huggingface", "--input", "0.5"),
        ("models", "disable", "team/far"),
        ("aliases", "set", "quick", "team/file", "--fallback", "team/far"),
        ("routes", "set", "routes.toml"),
    ):
        done = nearfar(server.folder, *args)
        assert 0 == done.returncode, done.stderr
    again = serve(CONFIG)
    shown = again.get("/v1/catalog").body
    assert [("team/far", False)] == [(m["id"], m["enabled"]) for m in shown["models"] if m["id"] == "team/far"]
    assert "team/file" == ask(again, "auto").body["model"]
    assert ["set 1 routes", "set alias quick", "disabled model team/far", "added model team/far"] == [
        one["change"] for one in again.get("/v1/catalog/snapshots").body["data"][:4]
    ]
    again.stop()

    (server.folder / "nearfar.toml").write_text(CONFIG.replace("1.0", "3.0"))
    told = nearfar(server.folder, "doctor", "--json")
    assert [
        "model team/file: changed in the file after it was written at run time; the run-time entry is in force"
    ] == [finding["detail"] for finding in json.loads(told.stdout) if finding["what"] == "catalogue"]
