"""The same with real keys, against a real server over a socket: nothing is told to one tenant of another."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.e2e.command import here
from tests.e2e.conftest import Answer, Server
from tests.isolation.test_routes import for_admins
from tests.isolation.world import CHAT_PATH, MINE, OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
[auth]
mode = "keys"
[log]
store_inputs = true
[[models]]
id = "test/chat"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "a"
  price = { per_request_usd = 0.001 }
"""
BOSS = "boss"
READS = [
    "/v1/decisions?limit=500", "/v1/decisions?status=ok&limit=500", "/v1/analytics/summary", "/v1/analytics/models",
    "/v1/analytics/timeseries?step=minute", "/v1/files", "/v1/batches", "/v1/models", "/v1/intents",
    "/v1/system",
]  # fmt: skip
QUERIES = [
    "FROM decisions", "FROM attempts", "FROM candidates", "SELECT DISTINCT tenant FROM decisions",
    "SELECT (SELECT string_agg(tenant, ' ') FROM decisions), count(*) FROM attempts",
]  # fmt: skip


class Tenant(NamedTuple):
    """What one did: its decision, its file, its batch, and the file of that batch's answers."""

    decision: str
    file: str
    batch: str
    output: str


class Served:
    """A server with the keys of two tenants and of an admin, each tenant with something of its own there."""

    def __init__(self, folder: Path) -> None:
        (folder / "nearfar.toml").write_text(CONFIG, encoding="utf-8")
        self._secrets = {
            MINE: _key(folder, MINE, "infer", "read"),
            OTHERS: _key(folder, OTHERS, "infer", "read"),
            BOSS: _key(folder, BOSS, "admin"),
        }
        self.server = Server(folder, CONFIG)
        self.of = {tenant: self._work(tenant) for tenant in (MINE, OTHERS)}
        self.ask(BOSS, "GET", "/v1/analytics/summary")  # waits for the rows, which lists of decisions do not

    def ask(self, who: str | None, method: str, path: str, body: Any = None, media: str = "application/json") -> Answer:
        headers = {"content-type": media} | ({} if who is None else {"authorization": f"Bearer {self._secrets[who]}"})
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return self.server.ask(method, path, data, headers)

    def _work(self, tenant: str) -> Tenant:
        hello = {"model": "test/chat", "messages": [{"role": "user", "content": f"words of {tenant}"}], "max_tokens": 4}
        decision = self.ask(tenant, "POST", CHAT_PATH, hello).headers["x-nearfar-decision-id"]
        line = {"custom_id": f"line of {tenant}", "method": "POST", "url": CHAT_PATH, "body": hello}
        form = (
            b'--edge\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            + f'--edge\r\ncontent-disposition: form-data; name="file"; filename="{tenant}.jsonl"\r\n\r\n'.encode()
            + json.dumps(line).encode()
            + b"\r\n--edge--\r\n"
        )
        file = self.ask(tenant, "POST", "/v1/files", form, "multipart/form-data; boundary=edge").body["id"]
        asked = {"input_file_id": file, "endpoint": CHAT_PATH, "metadata": {"of": tenant}}
        batch = self.ask(tenant, "POST", "/v1/batches", asked).body
        while batch["status"] in {"validating", "in_progress", "finalizing"}:
            time.sleep(0.1)
            batch = self.ask(tenant, "GET", f"/v1/batches/{batch['id']}").body
        assert "completed" == batch["status"], batch
        return Tenant(decision, file, batch["id"], batch["output_file_id"])


def _key(folder: Path, name: str, *scopes: str) -> str:
    wanted = [word for scope in scopes for word in ("--scope", scope)]
    done = here(folder, "keys", "create", name, *wanted)

    assert 0 == done.exit_code, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests here."""
    made = Served(tmp_path_factory.mktemp("keys"))
    yield made
    made.server.stop()


def _tells_of(answer: Answer, tenant: Tenant) -> bool:
    text = json.dumps(answer.body)
    return OTHERS in text or bool(set(tenant) & set(re.findall(r"[\w-]+", text)))


@pytest.mark.parametrize("path", READS)
def test_a_key_reads_what_is_its_own(served: Served, path: str) -> None:
    """Nothing with the other's name or ids is in any answer; without a key there is none."""
    answer = served.ask(MINE, "GET", path)

    assert 200 == answer.status, answer.body
    assert not _tells_of(answer, served.of[OTHERS])
    assert served.ask(None, "GET", path).status in {401, 429}
    if path.startswith(("/v1/decisions", "/v1/files", "/v1/batches")):
        assert _tells_of(served.ask(BOSS, "GET", path), served.of[OTHERS])


@pytest.mark.parametrize("query", QUERIES)
def test_sql_under_a_key_reads_what_is_its_own(served: Served, query: str) -> None:
    """Its own rows are there, and no others'; an admin reads all."""
    answers = {who: served.ask(who, "POST", "/v1/analytics/sql", {"query": query}) for who in (MINE, BOSS)}

    assert [200, 200] == [answer.status for answer in answers.values()], answers
    assert answers[MINE].body["rows"]
    assert not _tells_of(answers[MINE], served.of[OTHERS])
    assert answers[MINE].body["rows"] != answers[BOSS].body["rows"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/decisions/{0.decision}"),
        ("GET", "/v1/files/{0.file}"),
        ("GET", "/v1/files/{0.file}/content"),
        ("GET", "/v1/files/{0.output}"),
        ("GET", "/v1/files/{0.output}/content"),
        ("DELETE", "/v1/files/{0.output}"),
        ("GET", "/v1/batches/{0.batch}"),
        ("POST", "/v1/batches/{0.batch}/cancel"),
    ],
)
def test_what_is_anothers_is_not_there(served: Served, method: str, path: str) -> None:
    """404 for whoever else holds a key; it is there for whose it is."""
    theirs = path.format(served.of[OTHERS])

    assert 404 == served.ask(MINE, method, theirs).status
    if method == "GET":
        assert 200 == served.ask(OTHERS, method, theirs).status


def test_inputs_and_answers_are_told_to_whose_they_are(served: Served) -> None:
    """What was asked, as the log kept it, and what a batch wrote; of a line of a batch as well."""
    theirs = served.of[OTHERS]
    whole = {who: served.ask(who, "GET", f"/v1/decisions/{theirs.decision}").body for who in (OTHERS, BOSS)}
    line = served.ask(OTHERS, "GET", f"/v1/files/{theirs.output}/content").body
    rows = served.ask(OTHERS, "GET", "/v1/decisions").body["data"]

    assert {True} == {f"words of {OTHERS}" in str(told["inputs"]) for told in whole.values()}
    assert f"line of {OTHERS}" == line["custom_id"]
    assert [OTHERS, OTHERS] == [row["tenant"] for row in rows]
    for row in rows:
        assert 404 == served.ask(MINE, "GET", f"/v1/decisions/{row['decision_id']}").status


@pytest.mark.parametrize(("method", "path"), sorted(for_admins()))
def test_what_is_for_admins_is_closed_to_tenants(served: Served, method: str, path: str) -> None:
    """403 before anything of the request is looked at, and 401 for whoever has no key."""
    path = re.sub(r"\{[^}]*\}", "x", path)
    body = b"{}" if method in {"POST", "PUT", "PATCH"} else None

    assert 403 == served.ask(MINE, method, path, body).status
    assert served.ask(None, method, path, body).status in {401, 429}
