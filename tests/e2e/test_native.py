"""The native routes, the reading routes and the refusals, against a real server."""

from __future__ import annotations

import socket
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.command import here
from tests.e2e.conftest import MINILM, SMOLLM

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Server

BASE = {"model": MINILM, "inputs": "hello"}


def test_every_task_answers_with_its_decision(near: Server) -> None:
    """Embeddings, zero-shot, intent and generation come in their tasks' shapes, each with a row in the log."""
    bodies: dict[str, dict[str, Any]] = {
        "feature-extraction": {"model": MINILM, "inputs": ["a", "b"]},
        "zero-shot-classification": {
            "model": "nearfar/minilm-zero-shot",
            "inputs": "The striker scored twice.",
            "parameters": {"candidate_labels": ["cooking", "sports"]},
        },
        "text-classification": {"model": "nearfar/minilm-intent", "inputs": "Write a Python function that sorts."},
        "text-generation": {"model": SMOLLM, "inputs": "Once upon a time", "parameters": {"max_new_tokens": 4}},
    }
    results = {}
    for task, body in bodies.items():
        answer = near.post("/v1/inference", body | {"task": task})

        assert 200 == answer.status, answer.body
        assert answer.body["decision_id"] == answer.headers["x-nearfar-decision-id"]
        assert "measured" == answer.body["cost_source"]
        assert answer.body["cost_usd"] > 0
        results[task] = answer.body["result"]
        row = near.get(f"/v1/decisions/{answer.body['decision_id']}").body
        assert task == row["task"]
        assert 1 == len(row["attempts"])

    assert [384, 384] == [len(vector) for vector in results["feature-extraction"]]
    assert "sports" == results["zero-shot-classification"]["labels"][0]
    assert "coding" == results["text-classification"][0]["label"]
    assert results["text-generation"][0]["generated_text"]


def test_a_stream_ends_with_its_result(near: Server) -> None:
    """Native streams are typed events: deltas, then the result, which holds all of their text."""
    body = b'{"model":"fake/chat","inputs":"hi","stream":true}'
    request = urllib.request.Request(
        f"{near.url}/v1/inference", data=body, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        events = response.read().decode().strip().split("\n\n")

    assert all(event.startswith("event: delta") for event in events[:-1])
    assert events[-1].startswith("event: result")
    assert '"success":true' in events[-1]


def test_a_dry_run_shows_the_slate_and_leaves_no_row(near: Server) -> None:
    """Every candidate is there with estimate, source and, where it may not serve, the reason; nothing is logged."""
    before = near.sql("select count(*) from decisions")
    slate = near.post("/v1/route", BASE | {"routing": {"policy": "cheapest"}}).body
    rows = {row["backend"]: row for row in slate["candidates"]}

    assert before == near.sql("select count(*) from decisions")
    assert "local" == rows[slate["candidates"][0]["backend"]]["provider"]
    assert rows["local"]["latency_source"] in {"prior", "warm-up", "observed"}
    assert "occupancy" == rows["local"]["cost_source"]
    assert "no token" in rows["remote"]["rejection"]
    assert slate["reason"]


REFUSALS: list[tuple[object, int, str | None, str]] = [
    ({"model": "nope/nothing", "inputs": "x"}, 404, "model", "Unknown model"),
    ({"model": "sentence-transformers/all-MiniLM-L6", "inputs": "x"}, 404, "model", MINILM),
    (BASE | {"task": "no-task"}, 400, "task", "feature-extraction"),
    (BASE | {"task": "text-to-image"}, 400, "model", "does feature-extraction"),
    (BASE | {"colour": 1}, 400, "colour", "inputs"),
    (BASE | {"routing": {"polcy": "x"}}, 400, "routing.polcy", "policy"),
    (BASE | {"routing": {"policy": "no-policy"}}, 400, "routing.policy", "cheapest"),
    (BASE | {"parameters": {"dimensions": "many"}}, 400, "parameters.dimensions", "int"),
    (BASE | {"parameters": {"dimension": 3}}, 400, "parameters.dimension", "dimensions"),
    ({"model": 3, "inputs": "x"}, 400, "model", "str"),
    ({"inputs": "x"}, 400, "model", "model"),
    ({"model": MINILM, "inputs": ""}, 400, "inputs", "empty"),
    ({"model": MINILM, "inputs": []}, 400, "inputs", "empty"),
    ({"model": MINILM, "inputs": [1]}, 400, "inputs", "text"),
    ({"model": MINILM, "inputs": ["x"] * 5000}, 413, "inputs", "5000"),
    ({"model": MINILM, "inputs": "x " * 600}, 400, None, "256"),
    (BASE | {"routing": {"backend": "lokal"}}, 400, "routing.backend", "one of: local, ray, remote"),
    ({"model": MINILM, "inputs": "x" * 11_000_000}, 413, None, "max_body_bytes"),
    (b"{not json", 400, None, "JSON"),
    (b"", 400, None, "empty"),
    (b"[]", 400, None, "object"),
    (b'{"model":"x","inputs":"x","parameters":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}", 400, None, "nested"),
    ({"model": "x" * 300, "inputs": "x"}, 400, "model", "256"),
    (BASE | {"routing": {"backend": "remote"}}, 422, None, "no token"),
    (BASE | {"routing": {"max_cost_usd": 0.0}}, 422, None, "$"),
    ({"model": "nearfar/minilm-zero-shot", "inputs": "x"}, 400, "parameters.candidate_labels", "candidate_labels"),
    ({"model": SMOLLM, "inputs": "x", "parameters": {"temperature": "hot"}}, 400, "parameters.temperature", "float"),
]


@pytest.mark.parametrize(("body", "status", "param", "said"), REFUSALS)
def test_bad_input_is_refused_by_name_and_logged(
    near: Server, body: object, status: int, param: str | None, said: str
) -> None:
    """Each refusal has its status, names the field and the alternatives, and has its row; the process stays up."""
    answer = near.post("/v1/inference", body)

    assert status == answer.status, answer.body
    assert answer.body["success"] is False
    assert param == answer.body["error"]["param"]
    assert said in answer.body["error"]["message"]
    decision = near.get(f"/v1/decisions/{answer.body['error']['decision_id']}")
    assert decision.body["status"] in {"refused", "error"}
    assert 200 == near.get("/health/ready").status


def test_nothing_eligible_names_each_candidate_with_its_reason(near: Server) -> None:
    """422 carries one entry per candidate."""
    answer = near.post("/v1/inference", BASE | {"routing": {"only": ["nobody"]}})

    assert 422 == answer.status
    assert {"local", "hf-inference"} == {
        row["candidate_id"].split(":")[0] for row in answer.body["error"]["candidates"]
    }
    assert all(row["reason"] for row in answer.body["error"]["candidates"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"host": "evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"host": "localhost"}, 200),
    ],
)
def test_a_web_page_cannot_ask_through_a_browser(near: Server, headers: dict[str, str], status: int) -> None:
    """What a browser sends without asking first, a rebound name and a foreign origin are refused, each with its row."""
    answer = near.post("/v1/inference", {"model": "fake/chat", "inputs": "hi"}, headers)

    assert status == answer.status
    decision_id = answer.headers["x-nearfar-decision-id"]
    assert decision_id == near.get(f"/v1/decisions/{decision_id}").body["decision_id"]


def test_a_provider_behind_the_hubs_router_can_be_named(near: Server) -> None:
    """`:together` puts that provider on the slate, at an unknown price; without a token it says what is missing."""
    slate = near.post("/v1/route", {"model": "meta-llama/Llama-3.2-3B-Instruct:together", "inputs": "hi"}).body
    rows = {row["provider"]: row for row in slate["candidates"]}

    assert {"local", "huggingface", "together"} == set(rows)
    assert "no token" in rows["together"]["rejection"]
    assert rows["together"]["cost_usd"] is None
    assert "not" in rows["huggingface"]["rejection"]


def test_a_list_of_one_stays_a_list(near: Server) -> None:
    """The shape of an answer follows the shape of its inputs, not their number."""
    one = near.post("/v1/inference", BASE | {"inputs": ["x"]}).body["result"]
    text = near.post("/v1/inference", BASE | {"inputs": "x"}).body["result"]

    assert [text] == one


def test_a_sender_that_goes_away_stops_its_buffered_request(near: Server) -> None:
    """Nobody waits for the answer, so nobody computes it: the row says `cancelled`."""
    body = b'{"model": "%s", "inputs": "Once", "parameters": {"max_tokens": 4000}}' % SMOLLM.encode()
    host, port = near.url.removeprefix("http://").split(":")
    head = f"POST /v1/inference HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}X-Request-Id: gone-1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        while not near.sql("select 1 from decisions where request_id = 'gone-1'"):
            assert near.process.poll() is None
    while ["open"] == near.sql("select status from decisions where request_id = 'gone-1'")[0]:
        assert near.process.poll() is None

    assert [["cancelled"]] == near.sql("select status from decisions where request_id = 'gone-1'")


def test_what_is_truncated_is_estimated_as_truncated(near: Server) -> None:
    """A text of 100,000 characters is no more work for a model that reads 256 tokens than one of 2,000."""
    near.post("/v1/inference", BASE)
    cut = {"truncate": True}
    bodies = [BASE | {"inputs": "word " * count, "parameters": cut} for count in (20_000, 400)]
    long, short = (near.post("/v1/route", body).body["candidates"][0] for body in bodies)

    assert short["latency_ms"] == long["latency_ms"]
    assert short["cost_usd"] == long["cost_usd"]


def test_the_request_id_is_echoed_on_answers_and_refusals(near: Server) -> None:
    """The sender's own id comes back, and is in the row."""
    for body in (BASE, {"model": "nope"}):
        answer = near.post("/v1/inference", body, {"x-request-id": "mine-1"})

        assert "mine-1" == answer.headers["x-request-id"]
    rows = near.sql("select count(*) from decisions where request_id = 'mine-1'")
    assert rows[0][0] >= 2


def test_sql_over_the_log_answers_and_cannot_write_or_read_files(near: Server) -> None:
    """The question of the README answers; anything that is not one SELECT over the views is refused."""
    near.post("/v1/inference", BASE)
    rows = near.sql(
        "select backend, count(*), sum(cost_usd), quantile_cont(latency_ms, 0.95) from decisions group by 1"
    )

    assert any("local" == row[0] and row[1] >= 1 and row[2] > 0 and row[3] > 0 for row in rows)
    for query in ("drop table decisions", "select * from read_csv('/etc/passwd')", "select 1; select 2", "selec"):
        assert 400 == near.post("/v1/analytics/sql", {"query": query}).status


def test_decisions_page_newest_first_and_filter(near: Server) -> None:
    """Pages do not overlap, filters hold, and a broken cursor is refused by name."""
    for _ in range(3):
        near.post("/v1/inference", {"model": "fake/chat", "inputs": "hi"})
    near.sql("select 1")  # answers from committed rows
    first = near.get("/v1/decisions?limit=2&backend=fake").body
    second = near.get(f"/v1/decisions?limit=1&backend=fake&cursor={first['next_cursor']}").body
    ids = [row["decision_id"] for row in first["data"] + second["data"]]

    assert sorted(ids, reverse=True) == ids
    assert 3 == len(set(ids))
    assert "cursor" == near.get("/v1/decisions?cursor=zzz").body["error"]["param"]
    assert "limit" == near.get("/v1/decisions?limit=0").body["error"]["param"]


def test_health_system_metrics_and_schema_answer(near: Server) -> None:
    """The operator's routes tell the state, and the viewer loads nothing from anywhere else."""
    near.post("/v1/inference", {"model": "fake/chat", "inputs": "hi"})
    system = near.get("/v1/system").body
    with urllib.request.urlopen(f"{near.url}/metrics") as response:
        metrics = response.read().decode()
    with urllib.request.urlopen(f"{near.url}/schema") as response:
        page = response.read().decode()

    assert "ok" == near.get("/health/live").body["status"]
    assert system["hardware"]["cores"] > 0
    assert ("not_configured", None) == (system["hub_token"]["state"], system["hub_token"]["checked_at"])
    assert "https://huggingface.co/settings/tokens" == system["hub_token"]["link"]
    assert [("huggingface", True)] == [(known["provider"], known["models"] > 100) for known in system["listings"]]
    assert [] == system["price_drift"]
    assert 'nearfar_hub_token_state{state="not_configured"} 1.0' in metrics
    assert 'nearfar_hub_token_state{state="valid"} 0.0' in metrics
    assert 'nearfar_requests_total{backend="fake",status="ok",surface="/v1/inference"}' in metrics
    assert "/v1/chat/completions" in near.get("/schema/openapi.json").body["paths"]
    assert "swagger-ui-bundle.js" in page
    assert "https://" not in page.split("<body>")[0]


def test_a_warmed_model_is_loaded_at_start_and_its_measurement_is_the_estimate(serve: Callable[..., Server]) -> None:
    """`local.warm` loads in the background; until a request was observed, the warm-up is the source of the estimate."""
    server = serve(f'[local]\nwarm = ["{MINILM}"]')
    before = server.get(f"/v1/models/{MINILM}").body["nearfar"]["candidates"][0]
    while (row := server.post("/v1/route", BASE).body["candidates"][0])["latency_source"] == "prior":
        assert server.process.poll() is None
    server.post("/v1/inference", BASE)
    after = server.post("/v1/route", BASE).body["candidates"][0]

    assert before["available"]
    assert (True, "warm-up", 0.0) == (row["loaded"], row["latency_source"], row["load_ms"])
    assert "observed" == after["latency_source"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[server]\nport = 'x'", "nearfar.toml: server.port: Expected `int`"),
        ("[server]\nprot = 1", "nearfar.toml: server: Object contains unknown field `prot`"),
        ("[routing]\npolicy = 'x'", "unknown policy 'x'"),
        ("[server]\nhost = '0.0.0.0'", "server.host"),
        ("[local]\nwarm = ['nope']", "local.warm: unknown model 'nope'"),
        ("not toml", "nearfar.toml: not valid TOML"),
        ("[[models]]\nid = 'a'\ntask = 'b'", "unknown task 'b'"),
    ],
)
def test_a_broken_configuration_refuses_to_start(config: str, said: str, tmp_path: Any) -> None:
    """The refusal is one line naming the file, the key and what was expected; exit code 1, no traceback."""
    (tmp_path / "nearfar.toml").write_text(config)
    done = here(tmp_path, "serve", "--port", "0")

    assert 1 == done.exit_code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_process_is_refused_clearly(serve: Callable[..., Server]) -> None:
    """Another server on the same log says who owns it and what to do instead."""
    import subprocess
    import sys

    first = serve()
    done = subprocess.run(
        [sys.executable, "-m", "router", "serve", "--port", "0"],
        cwd=first.folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == done.returncode
    assert str(first.process.pid) in done.stderr
    assert "--server" in done.stderr
    assert "Traceback" not in done.stderr
