"""A real server, watched: traces at a collector, log lines, metrics, System Health and the dashboard."""

from __future__ import annotations

import gzip
import json
import re
import signal
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from router.cli import main
from tests.e2e.conftest import Server
from tests.faults.provider import running
from tests.integration.far_side import FarSide, reply_json

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CANARY = "the-canary-sings"
FREE = "price = { per_request_usd = 0.0 }"
CHAT = "/v1/chat/completions"
METHODS = ("SEARCH", "REPORT", "MKCOL", "LOCK", "MOVE", "COPY", "PURGE")


class Collector:
    """An OTLP receiver: every span that came, decoded, with its attributes as plain values."""

    def __init__(self, url: str, spans: list[Any]) -> None:
        self.url = url
        self.spans = spans

    def of(self, trace_id: str) -> dict[str, dict[str, Any]]:
        """The spans of a trace by name."""
        return {span["name"]: span for span in self.spans if span["trace_id"] == trace_id}


def _decoded(body: bytes) -> list[dict[str, Any]]:
    found = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"]
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            values = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
            found.append({
                "service": service, "name": span.name, "trace_id": span.trace_id.hex(), "span_id": span.span_id.hex(),
                "parent_id": span.parent_span_id.hex(), "kind": span.kind, "status": span.status.code,
                "attributes": values, "ns": span.end_time_unix_nano - span.start_time_unix_nano,
            })  # fmt: skip
    return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on loopback, until the block ends."""
    spans: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert "/v1/traces" == self.path
            spans.extend(_decoded(body))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Collector(f"http://127.0.0.1:{server.server_port}", spans)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def config(far: str, collector: str | None, logs: str | None = "json") -> str:
    """A far chat model, one that fails over to it, and one that is pretended."""
    return "\n".join([
        "[telemetry]",
        f'otlp_endpoint = "{collector}"' if collector else "",
        f'logs = "{logs}"' if logs else "",
        f'[[providers]]\nname = "peer"\nprotocol = "openai"\nbase_url = "{far}/v1"',
        _model("test/far", 'backend = "remote"', 'provider = "peer"', FREE),
        _model("test/fake", 'backend = "fake"', 'provider = "f"', FREE),
        _model("test/broken", 'backend = "fake"', 'provider = "g"', FREE, 'script = { fail = "Unauthorized" }'),
    ])  # fmt: skip


def _model(name: str, *candidate: str) -> str:
    body = "\n".join(candidate)
    return f'[[models]]\nid = "{name}"\ntask = "text-generation"\n[[models.candidates]]\n{body}\n'


def talk(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": f"say {CANARY}"}], "max_tokens": 4, **more}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Iterator[tuple[Server, FarSide]]:
    """A server that tells nobody anything by itself, and its far side, shared by tests that only ask it things."""
    with running(FarSide()) as far:
        server = Server(tmp_path_factory.mktemp("plain"), config(far.url, None, None))
        yield server, far
        server.stop()


def test_a_request_is_traced_from_its_sender_to_the_far_side(serve) -> None:
    """The sender's span, ours, the attempt's and what the far side is told are one chain, and no word of it is told."""
    with running(FarSide()) as far, collecting() as collector:
        server = serve(config(far.url, collector.url))
        answer = server.post(CHAT, talk("test/far"), {"traceparent": f"00-{TRACE}-{SPAN}-01"})
        [asked] = far.requests
        alone = server.post(CHAT, talk("test/fake"))
        failed = server.post(CHAT, talk("test/broken"))
        refused = server.post(CHAT, talk(f"no/{CANARY}"))
        unkept = server.post(CHAT, talk("test/far"), {"traceparent": f"00-{TRACE[::-1]}-{SPAN}-00"})
        server.stop()
        errors = server.folder.joinpath("stderr.txt").read_text(encoding="utf-8")

    spans = collector.of(TRACE)
    request, attempt = spans[CHAT], spans["chat test/far"]
    words = answer.body["choices"][0]["message"]["content"]
    ids = {a.headers["x-nearfar-decision-id"].replace("-", "") for a in (alone, failed, refused)}

    assert [200, 200, 200] == [answer.status, alone.status, unkept.status]
    assert {CHAT, "decide", "chat test/far"} == set(spans)
    assert (SPAN, request["span_id"]) == (request["parent_id"], attempt["parent_id"])
    assert f"00-{TRACE}-{attempt['span_id']}-01" == asked.headers["traceparent"]
    assert ("chat", "peer", "127.0.0.1") == tuple(
        attempt["attributes"][name] for name in ("gen_ai.operation.name", "gen_ai.provider.name", "server.address")
    )
    assert answer.body["usage"]["prompt_tokens"] == attempt["attributes"]["gen_ai.usage.input_tokens"]
    assert attempt["attributes"]["server.port"] == int(far.url.rpartition(":")[2])
    assert {TRACE} | ids == {span["trace_id"] for span in collector.spans}
    assert f"00-{TRACE[::-1]}-" == far.requests[-1].headers["traceparent"][:36]
    assert "Unauthorized" in {span["attributes"].get("error.type") for span in collector.spans}
    assert {"nearfar"} == {span["service"] for span in collector.spans}
    assert not [word for word in (CANARY, words) if word in repr(collector.spans)]
    assert CANARY not in errors


def test_without_a_collector_nothing_of_a_trace_exists(plain) -> None:
    """No header is passed on, and the answer is the same."""
    server, far = plain
    answer = server.post(CHAT, talk("test/far"), {"traceparent": f"00-{TRACE}-{SPAN}-01"})

    assert 200 == answer.status
    assert "traceparent" not in far.requests[-1].headers
    assert {"logs": None, "traces": None} == server.get("/v1/system").body["telemetry"]


def test_a_collector_that_is_gone_costs_no_request(serve) -> None:
    """Spans that cannot be delivered are counted, and nobody else notices."""
    with running(FarSide()) as far:
        server = serve(config(far.url, "http://127.0.0.1:9"))
        answers = [server.post(CHAT, talk("test/fake")).status for _ in range(3)]
        made = server.get("/v1/system").body["telemetry"]["traces"]["made"]

        assert [200] * 3 == answers
        assert 9 == made
        assert 0 == server.stop(signal.SIGTERM)


@pytest.mark.parametrize("logs", ["json", "text"])
def test_every_request_has_its_line_and_no_line_says_what_was_said(logs, serve) -> None:
    """Ids, route, status and time; not the prompt, the answer, the path, the query, a header's key, nor a far error."""
    with running(FarSide()) as far:
        far.enqueue(reply_json({"error": {"message": f"no {CANARY}"}}, status=500))
        server = serve(config(far.url, None, logs))
        asked = [
            server.post(CHAT, talk("test/fake"), {"authorization": f"Bearer {CANARY}", "x-request-id": "r-1"}),
            server.post(CHAT, talk("test/far")),
            server.post("/v1/inference", f'{{"inputs": "{CANARY}'.encode()),
            server.get(f"/{CANARY}?{CANARY}={CANARY}"),
            server.get(f"/v1/models/{CANARY}"),
        ]
        server.stop()
    text = server.folder.joinpath("stderr.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "nearfar.access" in line]

    assert CANARY not in text
    assert str(server.folder) not in text
    assert len(asked) + 1 == len(lines)  # and whoever waited until it lives
    if logs == "json":
        told = [json.loads(line) for line in lines][1:]
        assert [answer.status for answer in asked] == [line["status"] for line in told]
        assert [CHAT, CHAT, "/v1/inference", "unmatched", "/v1/models/{model_id}"][:4] == [x["route"] for x in told][:4]
        assert ("r-1", asked[0].headers["x-nearfar-decision-id"]) == (told[0]["request_id"], told[0]["decision_id"])
        assert all(line["ms"] > 0 for line in told)


def _series(text: str) -> set[str]:
    return {line.rpartition(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}


def test_clients_cannot_make_series(plain) -> None:
    """Unknown paths, methods, models and far sides' words leave as many series as there were; a breaker is named."""
    server, _ = plain

    def ask(salt: str, method: str = "PROPFIND") -> None:
        server.get(f"/{salt}/nothing")
        server.ask(method, "/v1/models")
        server.post(CHAT, talk(f"no/{salt}"))
        server.post(CHAT, talk("test/fake", routing={"policy": salt}))
        server.post(f"/models/org/{salt}", {"inputs": salt})
        server.get(f"/v1/models/{salt}")
        server.get(f"/v1/decisions/{salt}")
        server.post(CHAT, talk("test/far", user=salt))
        server.post(CHAT, talk("test/broken"))

    for number in range(5):  # what is learnt of a candidate is told once there is something
        ask(f"first{number}")
        _text(server, "/metrics")
    before = _series(_text(server, "/metrics"))
    for number, method in enumerate(METHODS):
        ask(f"salt{number}", method)

    assert before == _series(_text(server, "/metrics"))
    assert 'nearfar_breaker_state{breaker="g:test/broken"}' in before
    assert not [series for series in before if "first" in series or "/nothing" in series]
    assert "open" in {breaker["state"] for breaker in server.get("/v1/system").body["breakers"].values()}


def _text(server, path: str) -> str:
    import urllib.request

    with urllib.request.urlopen(server.url + path, timeout=60) as response:
        return response.read().decode()


def test_system_health_is_complete(plain) -> None:
    """Everything that somebody who runs it asks first, under a name of its own."""
    body = plain[0].get("/v1/system").body

    assert {
        "version", "started_at", "uptime_s", "health", "problems", "hardware", "models", "models_loaded", "breakers",
        "budgets", "log", "hub_token", "egress", "telemetry", "providers", "admission", "offline", "policy",
    } <= set(body)  # fmt: skip
    assert {"sealed": False, "denied": {"connect": 0, "send": 0, "lookup": 0}} == body["egress"]
    assert body["uptime_s"] > 0
    assert {"id": "test/fake", "task": "text-generation", "candidates": 1, "usable": 1} in body["models"]


def test_the_dashboard_shows_what_exists(plain) -> None:
    """Every metric that a panel names is one of the server's, and every panel has a place of its own."""
    board = json.loads(CliRunner().invoke(main, ["dashboard"]).output)
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    named = {name for p in panels for t in p["targets"] for name in re.findall(r"nearfar_\w+", t["expr"])}
    text = _text(plain[0], "/metrics")
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    suffixes = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
    known = {name + suffix for name, kind in types.items() for suffix in suffixes[kind]}

    assert set() == named - known
    assert len(panels) == len({(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels})
    assert len(board["panels"]) == len({p["id"] for p in board["panels"]})
