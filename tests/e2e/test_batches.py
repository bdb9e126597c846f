"""Batches with OpenAI's own client against real servers: answered once, through kills and stops."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.e2e.conftest import MINILM, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHAT, EMBED, NATIVE = "/v1/chat/completions", "/v1/embeddings", "/v1/inference"
SLOW = """
[[models]]
id = "test/slow"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "slow"
  price = { per_request_usd = 0.01 }
  script = { latency_ms = 100 }
[batches]
at_once = 4
max_file_bytes = 20000
"""
ENOUGH_S = 60


def line(custom_id: str, url: str = CHAT, **body: Any) -> str:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def said(custom_id: str, model: str = "test/slow") -> str:
    return line(custom_id, model=model, messages=[{"role": "user", "content": f"say {custom_id}"}])


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server whose answers take a while, shared by the tests that leave it as it is."""
    server = Server(tmp_path_factory.mktemp("slow"), SLOW)
    yield server
    server.stop()


def client_of(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


def begun(client: openai.OpenAI, lines: list[str], endpoint: str = CHAT, **more: Any) -> Any:
    file = client.files.create(file=("in.jsonl", "\n".join(lines).encode()), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more)  # type: ignore[arg-type]


def states(client: openai.OpenAI, batch: Any) -> Iterator[Any]:
    """The batch as it is told, again and again, until it has ended."""
    until = time.monotonic() + ENOUGH_S
    while True:
        batch = client.batches.retrieve(batch.id)
        yield batch
        if batch.status in {"completed", "failed", "expired", "cancelled"}:
            return
        assert time.monotonic() < until, batch
        time.sleep(0.02)


def ended(client: openai.OpenAI, batch: Any) -> Any:
    *_, last = states(client, batch)
    return last


def part_done(client: openai.OpenAI, batch: Any, count: int) -> None:
    """Return when so many lines are answered, and others are not."""
    found = next(told for told in states(client, batch) if told.request_counts.completed >= count)

    assert found.request_counts.completed < found.request_counts.total


def entries(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [] if file_id is None else [json.loads(text) for text in client.files.content(file_id).text.splitlines()]


def test_a_batch_of_embeddings_is_what_the_endpoint_answers(near: Server) -> None:
    """The built-in model's vectors, a decision row for each line, and the refused line in the file of errors."""
    client = client_of(near)
    texts = [f"text number {n}" for n in range(12)]
    lines = [line(f"e{n}", EMBED, model=MINILM, input=text) for n, text in enumerate(texts)]
    lines += [line("empty", EMBED, model=MINILM, input=""), "{", line("other", CHAT, model=MINILM), line("e0", EMBED)]
    batch = ended(client, begun(client, lines, EMBED, metadata={"for": "a test"}))
    answers, errors = entries(client, batch.output_file_id), entries(client, batch.error_file_id)
    ids = [entry["nearfar"]["decision_id"] for entry in answers]
    rows = near.sql(f"SELECT surface, policy, status, request_id FROM decisions WHERE decision_id IN {tuple(ids)}")
    direct = client.embeddings.create(model=MINILM, input=texts[3], encoding_format="float").data[0].embedding
    [third] = [e["response"]["body"]["data"][0]["embedding"] for e in answers if e["custom_id"] == "e3"]

    assert ("completed", 16, 12, 4) == (
        batch.status,
        *(getattr(batch.request_counts, n) for n in ("total", "completed", "failed")),
    )
    assert {f"e{n}" for n in range(12)} == {entry["custom_id"] for entry in answers}
    assert pytest.approx(direct, abs=1e-5) == third
    assert {("/v1/batches", "cheapest", "ok")} == {tuple(row[:3]) for row in rows}
    assert {entry["id"] for entry in answers} == {row[3] for row in rows}
    told = {entry["nearfar"]["line"]: entry for entry in errors}
    assert 400 == told[13]["response"]["status_code"]
    assert "input" == told[13]["response"]["body"]["error"]["param"]
    assert ["invalid_line", "mismatched_url", "duplicate_custom_id"] == [told[n]["error"]["code"] for n in (14, 15, 16)]
    assert {"for": "a test"} == batch.metadata
    assert batch.id in {each.id for each in client.batches.list(limit=1)}
    assert {batch.input_file_id, batch.output_file_id} <= {each.id for each in client.files.list()}
    assert client.files.delete(batch.output_file_id).deleted


def test_a_batch_of_native_requests_takes_any_task(near: Server) -> None:
    """Mixed models and tasks; the line that names a policy has it."""
    client = client_of(near)
    lines = [
        line("chat", NATIVE, model="fake/chat", inputs="hi"),
        line("vector", NATIVE, model="fake/embeddings", inputs="hi", routing={"policy": "fastest"}),
        line("photo", NATIVE, model="fake/chat", inputs=[1]),
    ]
    batch = ended(client, begun(client, lines, NATIVE))
    bodies = {e["custom_id"]: e["response"]["body"] for e in entries(client, batch.output_file_id)}
    [error] = entries(client, batch.error_file_id)

    assert {"chat": "cheapest", "vector": "fastest"} == {name: body["policy"] for name, body in bodies.items()}
    assert ("photo", 400, False) == (
        error["custom_id"],
        error["response"]["status_code"],
        error["response"]["body"]["success"],
    )


def test_after_kill_9_a_batch_goes_on_where_it_stopped(serve: Callable[..., Server]) -> None:
    """Killed twice on the way: no line is answered twice, none is lost, and rows say which were asked again."""
    names = [f"c{n}" for n in range(60)]
    server = serve(SLOW)
    batch = begun(client_of(server), [said(name) for name in names])
    for count in (6, 24):
        part_done(client_of(server), batch, count)
        server.stop(signal.SIGKILL)
        server = serve(SLOW)
    client = client_of(server)
    batch = ended(client, batch)
    answers = entries(client, batch.output_file_id)
    rows = server.sql("SELECT request_id, count(*) FROM decisions GROUP BY 1")

    assert ("completed", 60, None) == (batch.status, batch.request_counts.completed, batch.error_file_id)
    assert Counter(names) == Counter(entry["custom_id"] for entry in answers)
    assert {entry["id"] for entry in answers} >= {row[0] for row in rows}
    assert 0.60 == pytest.approx(batch.nearfar["cost_usd"])


def test_sigterm_stops_a_batch_cleanly_and_the_next_start_goes_on(serve: Callable[..., Server]) -> None:
    """Lines under way are answered and written; every row of the first server says ok."""
    server = serve(SLOW)
    batch = begun(client_of(server), [said(f"c{n}") for n in range(40)])
    part_done(client_of(server), batch, 4)

    assert 0 == server.stop(signal.SIGTERM)

    server = serve(SLOW)
    client = client_of(server)
    batch = ended(client, batch)
    rows = server.sql("SELECT status, count(*) FROM decisions GROUP BY 1")

    assert ("completed", 40) == (batch.status, batch.request_counts.completed)
    assert [["ok", 40]] == rows


def test_a_batch_is_cancelled_and_keeps_its_answers(slow: Server) -> None:
    """The metrics count it, and asking again is refused."""
    client = client_of(slow)
    before = metrics_of(slow)
    batch = begun(client, [said(f"c{n}") for n in range(60)])
    part_done(client, batch, 4)
    client.batches.cancel(batch.id)
    batch = ended(client, batch)
    answers = entries(client, batch.output_file_id)
    with pytest.raises(openai.BadRequestError, match="is cancelled: there is nothing to cancel"):
        client.batches.cancel(batch.id)
    told = metrics_of(slow)

    assert "cancelled" == batch.status
    assert batch.request_counts.completed == len(answers) < 60
    cancelled = 'nearfar_batches{state="cancelled"}'
    assert 1 == float(told[cancelled]) - float(before.get(cancelled, 0))  # other tests cancel some at this server too
    assert {"0.0"} == {told[f'nearfar_batch_lines{{state="{state}"}}'] for state in ("completed", "failed", "waiting")}


def metrics_of(server: Server) -> dict[str, str]:
    """What the server's metrics say of batches."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=ENOUGH_S) as response:
        lines = response.read().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith("nearfar_batch"))


def test_whoever_waits_is_served_while_a_batch_runs(slow: Server) -> None:
    """A request beside sixty lines of a batch is answered before they are."""
    client = client_of(slow)
    batch = begun(client, [said(f"c{n}") for n in range(60)])
    part_done(client, batch, 4)
    messages: Any = [{"role": "user", "content": "hi"}]

    assert client.chat.completions.create(model="test/slow", messages=messages).choices[0].message.content
    assert client.batches.retrieve(batch.id).request_counts.completed < 60
    client.batches.cancel(batch.id)
    assert "cancelled" == ended(client, batch).status
    ended(client, batch)  # the server is left as it was found


@pytest.mark.parametrize(
    ("content", "purpose", "status", "words"),
    [
        (b"x" * 20_001, "batch", 413, "batches.max_file_bytes allows: 20000 bytes"),
        (b"", "batch", 400, "must not be empty"),
        (b"x", "fine-tune", 400, "'fine-tune' is not served"),
    ],
)
def test_an_upload_that_is_no_batch_is_refused(
    slow: Server, content: bytes, purpose: Any, status: int, words: str
) -> None:
    """By name, and nothing of it stays on disk."""
    client = client_of(slow)
    listed, folder = client.files.list().data, slow.folder / "nearfar-batches" / "files"
    lie = {path.name for path in folder.glob("*")}
    with pytest.raises(openai.APIStatusError, match=words) as refused:
        client.files.create(file=("in.jsonl", content), purpose=purpose)

    assert status == refused.value.status_code
    assert lie == {path.name for path in folder.glob("*")}
    assert listed == client.files.list().data


def test_what_makes_no_sense_is_refused_by_name(slow: Server) -> None:
    """Routes of files and batches answer as OpenAI's do, whatever is asked of them."""
    client = client_of(slow)
    file = client.files.create(file=("../../in\x00.jsonl", said("a").encode()), purpose="batch")
    cases = {
        "endpoint": {"input_file_id": file.id, "endpoint": "/v1/models"},
        "completion_window": {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "never"},
        "metadata": {"input_file_id": file.id, "endpoint": CHAT, "metadata": {"a": 1}},
        "routing.policy": {"input_file_id": file.id, "endpoint": CHAT, "routing": {"policy": 1}},
        "more": {"input_file_id": file.id, "endpoint": CHAT, "more": 1},
    }
    refused = {param: slow.post("/v1/batches", body) for param, body in cases.items()}

    for param, answer in refused.items():
        assert (400, True) == (answer.status, answer.body["error"]["param"].startswith(param)), answer.body
    for path in (
        "/v1/files/nope",
        "/v1/files/nope/content",
        "/v1/batches/nope",
        "/v1/files/..%2f..%2fnearfar.toml/content",
    ):
        assert 404 == slow.get(path).status
    assert 404 == slow.post("/v1/batches", {"input_file_id": "../nearfar", "endpoint": CHAT}).status
    assert (400, 400) == (slow.get("/v1/files?limit=0").status, slow.get("/v1/batches?after=nope").status)
    assert 415 == slow.post("/v1/files", b"x", {"content-type": "text/plain"}).status
    assert 400 == slow.post("/v1/files", b"x", {"content-type": "multipart/form-data"}).status
    assert 400 == slow.post("/v1/files", b"--b\r\n", {"content-type": "multipart/form-data; boundary=b"}).status
    with pytest.raises(openai.BadRequestError, match=r"expires_after\.anchor"):
        client.files.create(
            file=("in.jsonl", said("a").encode()),
            purpose="batch",
            extra_body={"expires_after": {"anchor": "last_used_at"}},
        )
    assert "/" not in file.filename
    assert "\x00" not in file.filename


def nearfar(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "router", "batch", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=ENOUGH_S, check=False)


def test_the_command_works_through_a_file_here(tmp_path: Path) -> None:
    """Answers are printed, failures are a file and the exit code; what was done can be listed and fetched."""
    (tmp_path / "in.jsonl").write_text("\n".join([said("a", "fake/chat"), said("b", "fake/chat"), "{"]))
    done = nearfar(tmp_path, "run", "in.jsonl", "--errors", "errors.jsonl")
    [told] = json.loads(nearfar(tmp_path, "list", "--json").stdout)
    fetched = nearfar(tmp_path, "get", told["id"])
    cancelled = nearfar(tmp_path, "cancel", told["id"])

    assert (1, {"a", "b"}) == (done.returncode, {json.loads(x)["custom_id"] for x in done.stdout.splitlines()}), done
    assert "completed · 2 answered, 1 failed of 3" in done.stderr
    assert 3 == json.loads((tmp_path / "errors.jsonl").read_text())["error"]["line"]
    assert done.stdout == fetched.stdout
    assert (1, True) == (cancelled.returncode, "nothing to cancel" in cancelled.stderr)


def test_the_command_works_through_a_file_at_a_server(slow: Server) -> None:
    """The same over its API; and here nothing may run beside the server."""
    folder, there = slow.folder, ("--server", slow.url)
    (folder / "in.jsonl").write_text("\n".join(said(f"c{n}") for n in range(8)))
    done = nearfar(folder, "run", "in.jsonl", "--output", "out.jsonl", "--max-cost-usd", "1", *there)
    missing = nearfar(folder, "show", "batch_nope", *there)
    beside = nearfar(folder, "run", "in.jsonl")

    assert (0, "") == (done.returncode, done.stdout), done.stderr
    assert 8 == len((folder / "out.jsonl").read_text().splitlines())
    assert (1, True) == (missing.returncode, "There is no batch 'batch_nope'." in missing.stderr)
    assert 1 == beside.returncode
    assert "Traceback" not in beside.stderr
