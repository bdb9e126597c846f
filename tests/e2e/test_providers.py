"""Providers and the hub's token as a user meets them: a server, the command line, and a hub and router on loopback."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.command import here
from tests.e2e.test_cli import nearfar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Server

TOKEN, MODEL, SOON_S = "hf_made_up_for_this_test", "lab/chatter", 30
CONFIG = """
[routing]
policy = "cheapest"
listings_dir = "listings"
[[providers]]
name = "huggingface"
protocol = "openai"
base_url = "{url}/v1"
api_key_env = "HF_TOKEN"
[[models]]
id = "lab/chatter"
task = "text-generation"
  [[models.candidates]]
  backend = "remote"
  provider = "huggingface"
  price = {{ input_per_1m_usd = 1.0, output_per_1m_usd = 1.0 }}
"""


class Far(ThreadingHTTPServer):
    """The hub's account question and the router's listing; what they say can be changed, what was asked is kept."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.permissions = ["inference.serverless.write"]
        self.providers: list[dict[str, Any]] = [
            {"provider": "together", "status": "live", "pricing": {"input": 2.0, "output": 2.0}},
            {"provider": "groq", "status": "live", "pricing": {"input": 4.0, "output": 4.0}},
        ]
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def says(self, path: str) -> object:
        if path == "/v1/models":
            return {"object": "list", "data": [{"id": MODEL, "providers": self.providers}]}
        if path == "/api/whoami-v2":
            access = {"role": "fineGrained", "fineGrained": {"global": self.permissions}}
            return {"name": "ada", "auth": {"type": "access_token", "accessToken": access}}
        return None


class _Handler(BaseHTTPRequestHandler):
    server: Far

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("authorization")))
        answer = self.server.says(self.path)
        body = json.dumps(answer or {"error": "no"}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet: the tests look at `asked`."""


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    with Far() as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found
        found.shutdown()
        thread.join()


def candidates(server: Server) -> dict[str, Any]:
    rows = server.get(f"/v1/models/{MODEL}").body["nearfar"]["candidates"]
    return {row["provider"]: row["price"] and row["price"]["output_per_1m_usd"] for row in rows}


def test_a_refresh_on_the_command_line_reaches_the_running_server(far: Far, serve: Callable[..., Server]) -> None:
    """The table says what is new; the server prices by it without a restart, and warns of a configured price."""
    server = serve(CONFIG.format(url=far.url))
    before = candidates(server)
    refreshed = nearfar(server.folder, "models", "refresh")
    deadline = time.monotonic() + SOON_S
    while "together" not in candidates(server) and time.monotonic() < deadline:
        time.sleep(0.05)  # between two looks: the server looks once a second
    route = server.post("/v1/route", {"model": f"{MODEL}:together", "inputs": "hello"}).body
    system = server.get("/v1/system").body

    assert {"huggingface": 1.0} == before
    assert (0, True) == (refreshed.returncode, "new: groq:lab/chatter, together:lab/chatter" in refreshed.stdout)
    assert {"huggingface": 1.0, "together": 2.0, "groq": 4.0} == candidates(server)
    assert (f"together:{MODEL}", "priced") == (
        route["chosen"], next(row["cost_source"] for row in route["candidates"] if row["provider"] == "together"),
    )  # fmt: skip
    assert [(1.0, 4.0, 300.0, True)] * 2 == [
        (d["expected_usd"], d["live_usd"], d["percent"], d["in_force"]) for d in system["price_drift"]
    ]
    assert ("warning", True) == (
        system["health"],
        any("price of huggingface:" in said["message"] for said in system["problems"]),
    )
    assert 1 == server.errors().count("prices have drifted")
    assert {"/v1/models"} == {path for path, _ in far.asked}


def test_a_second_refresh_tells_what_changed(far: Far, tmp_path: Any) -> None:
    """New, gone and moved in percent, as JSON; a far side that fails is an exit code of 1 and names itself."""
    (tmp_path / "nearfar.toml").write_text(CONFIG.format(url=far.url))
    here(tmp_path, "models", "refresh")
    far.providers = [
        {"provider": "together", "status": "live", "pricing": {"input": 2.0, "output": 3.0}},
        {"provider": "novita", "status": "live"},
    ]
    again = json.loads(here(tmp_path, "models", "refresh", "huggingface", "--json").stdout)["refreshed"][0]
    shown = here(tmp_path, "models", "show", MODEL).stdout
    far.providers = []
    far.says = lambda _: None  # type: ignore[method-assign]
    failed = here(tmp_path, "models", "refresh")
    wrong = here(tmp_path, "models", "refresh", "hf-inference")

    assert ([f"novita:{MODEL}"], [f"groq:{MODEL}"]) == (again["changes"]["new"], again["changes"]["gone"])
    assert [("together", "output_per_1m_usd", 2.0, 3.0, 50.0)] == [
        (c["provider"], c["unit"], c["before"], c["after"], c["percent"]) for c in again["changes"]["prices"]
    ]
    assert f"together:{MODEL}" in shown
    assert (1, True) == (failed.exit_code, "provider huggingface: status 404" in failed.stderr)
    assert (1, True) == (wrong.exit_code, "no far side with a listing" in wrong.stderr)


def test_system_health_knows_the_token_when_asked(far: Far, serve: Callable[..., Server]) -> None:
    """Nobody asks the hub at the start; a token found without its permission turns health red until it is restored."""
    server = serve(CONFIG.format(url=far.url))
    start = server.get("/v1/system").body
    asked_at_start = list(far.asked)
    far.permissions = ["repo.content.read"]
    lacking = server.post("/v1/system/token", {}).body
    red = server.get("/v1/system").body
    with_metrics = server.ask("POST", "/v1/system/token", b"{}").status
    far.permissions = ["inference.serverless.write"]
    restored = server.post("/v1/system/token", {}).body

    assert ("unknown", None, "ok", []) == (
        start["hub_token"]["state"], start["hub_token"]["checked_at"], start["health"], asked_at_start,
    )  # fmt: skip
    assert ("valid_no_inference", 200) == (lacking["state"], with_metrics)
    assert "lacks the permission inference.serverless.write" in lacking["detail"]
    assert ("error", "valid_no_inference") == (red["health"], red["hub_token"]["state"])
    assert ["error"] == [said["level"] for said in red["problems"] if "settings/tokens" in said["message"]]
    assert ("valid", "ok") == (restored["state"], server.get("/v1/system").body["health"])
    assert [("/api/whoami-v2", f"Bearer {TOKEN}")] * 3 == far.asked
    assert TOKEN not in json.dumps([start, lacking, red, restored]) + server.errors()


def test_doctor_says_it_in_the_same_words(far: Far, tmp_path: Any) -> None:
    """The state's name, whose prices are known since when, and what is configured but not listed."""
    (tmp_path / "nearfar.toml").write_text(CONFIG.format(url=far.url).replace('id = "lab/chatter"', 'id = "lab/gone"'))
    here(tmp_path, "models", "refresh")
    unasked = _lines(nearfar(tmp_path, "doctor", "--json").stdout)
    far.permissions = []
    done = nearfar(tmp_path, "doctor", "--check-token", "--json")
    lines = _lines(done.stdout)

    assert ("ok", "unknown: configured, not checked yet") == unasked["hub token"]
    assert 1 == done.returncode
    assert ("error", True) == (lines["hub token"][0], lines["hub token"][1].startswith("valid_no_inference: "))
    assert lines["listing huggingface"][1].startswith("1 models as of 20")
    assert ("warning", True) == (lines["model lab/gone"][0], "did not list lab/gone" in lines["model lab/gone"][1])
    assert TOKEN not in done.stdout + done.stderr


def _lines(output: str) -> dict[str, tuple[str, str]]:
    return {line["what"]: (line["state"], line["detail"]) for line in json.loads(output)}
