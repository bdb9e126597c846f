"""Keys, limits and time, against a real server: what a client sees, and what somebody who wants to harm it can do."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import openai
import pytest

from tests.e2e.command import here
from tests.e2e.conftest import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONFIG = """
[server]
header_timeout_s = 0.5
body_timeout_s = 0.5
[auth]
mode = "keys"
[[models]]
id = "test/chat"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "a"
  script = {{ per_token_ms = {per_token_ms} }}
  price = {{ per_request_usd = 0.001 }}
"""
ASK = {"model": "test/chat", "messages": [{"role": "user", "content": "hello"}]}


def created(folder: Path, name: str, *options: str) -> str:
    done = here(folder, "keys", "create", name, *options)

    assert 0 == done.exit_code, done.stderr
    return done.stdout.strip()


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def until(true: Callable[[], bool]) -> None:
    """Wait for what must come to be; the test's own time limit ends it."""
    while not true():
        time.sleep(0.1)


def gone(status: int) -> bool:
    """Whether a credential opens nothing: after many of those, an address is told to wait."""
    return status in {401, 429}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server, shared by the tests that need keys of their own alone."""
    running = Server(tmp_path_factory.mktemp("keys"), CONFIG.format(per_token_ms=0))
    yield running
    running.stop()


def test_commands_change_the_keys_of_a_running_server(server: Server) -> None:
    """A key made beside it opens, a revoked one does not, and the API's own changes are seen by the commands."""
    secret = created(server.folder, "root", "--scope", "admin", "--expires", "90d")
    until(lambda: server.ask("GET", "/v1/models", headers=bearer(secret)).status == 200)
    made = server.post("/v1/keys", {"name": "app", "concurrency": 3}, bearer(secret)).body
    listed = json.loads(here(server.folder, "keys", "list", "--json").stdout)
    turned = here(server.folder, "keys", "rotate", "app", "--overlap", "0s", "--json")
    until(lambda: gone(server.ask("GET", "/v1/models", headers=bearer(made["secret"])).status))
    new = json.loads(turned.stdout)["secret"]
    opened = server.ask("GET", "/v1/models", headers=bearer(new)).status
    ended = here(server.folder, "keys", "revoke", "app")
    until(lambda: gone(server.ask("GET", "/v1/models", headers=bearer(new)).status))
    audit = json.loads(here(server.folder, "keys", "audit", "--limit", "4", "--json").stdout)
    written = "".join(path.read_text() for path in server.folder.glob("nearfar-*.json*"))

    assert [("root", "active", ["admin"]), ("app", "active", ["infer", "read"])] == [
        (one["name"], one["state"], one["scopes"]) for one in listed if one["name"] in {"root", "app"}
    ]
    assert (200, 0) == (opened, ended.exit_code)
    assert ["keys.revoke", "keys.rotate", "keys.create", "keys.create"] == [one["action"] for one in audit]
    assert {"cli", "http"} == {one["surface"] for one in audit}
    assert not [one for one in (secret, made["secret"], new) if one in written]


def test_the_commands_ask_with_the_key_of_the_environment(server: Server) -> None:
    """And say what is wrong where there is none."""
    secret = created(server.folder, "shell")
    until(lambda: server.ask("GET", "/v1/models", headers=bearer(secret)).status == 200)
    ask = ("run", "text-generation", "hello", "--model", "test/chat", "--server", server.url)
    with_key = here(server.folder, *ask, NEARFAR_API_KEY=secret)
    without = here(server.folder, *ask)

    assert (0, "") == (with_key.exit_code, with_key.stdout and "")
    assert "[fake]" in with_key.stdout
    assert 1 == without.exit_code
    assert "401" in without.stderr or "429" in without.stderr
    assert secret not in with_key.stdout + with_key.stderr


def test_the_official_client_sends_its_key_and_raises_its_own_errors(serve: Callable[..., Server]) -> None:
    """A wrong key is its AuthenticationError, a lacking scope its PermissionDeniedError, a limit its RateLimitError."""
    server = serve(CONFIG.format(per_token_ms=0))
    reads = created(server.folder, "reads", "--scope", "read")
    few = created(server.folder, "few", "--requests-per-minute", "1")
    until(lambda: server.ask("GET", "/v1/models", headers=bearer(reads)).status == 200)

    def ask(secret: str) -> str:
        with openai.OpenAI(base_url=server.url + "/v1", api_key=secret, max_retries=0) as client:
            return client.chat.completions.create(**ASK).choices[0].message.content

    assert "[fake]" in ask(few)
    with pytest.raises(openai.RateLimitError):
        ask(few)
    with pytest.raises(openai.PermissionDeniedError):
        ask(reads)
    with pytest.raises(openai.AuthenticationError):
        ask("nf_wrong")


def test_a_stream_holds_its_place_until_it_ends_or_its_reader_leaves(serve: Callable[..., Server]) -> None:
    """Where one request at once is allowed, the next waits for the end of the stream and not for its beginning."""
    server = serve(CONFIG.format(per_token_ms=30))
    secret = created(server.folder, "one", "--concurrency", "1")
    until(lambda: server.ask("GET", "/v1/models", headers=bearer(secret)).status == 200)
    place = urlsplit(server.url)
    body = json.dumps(ASK | {"stream": True, "max_tokens": 400}).encode()
    status = []
    for leaves in (False, True):
        reader = HTTPConnection(place.hostname, place.port)
        text = body if leaves else body.replace(b"400", b"40")
        reader.request("POST", "/v1/chat/completions", text, {"content-type": "application/json"} | bearer(secret))
        response = reader.getresponse()
        response.readline()
        during = server.ask("GET", "/v1/models", headers=bearer(secret))
        status.append((response.status, during.status, "retry-after" in during.headers))
        if not leaves:
            response.read()
        response.close()
        reader.close()
        until(lambda: server.ask("GET", "/v1/models", headers=bearer(secret)).status == 200)

    assert [(200, 429, True)] * 2 == status


def sent(server: Server, *pieces: bytes, pause_s: float = 0.1) -> bytes:
    """What comes back on a connection on which these are sent, one after the other, until it is closed."""
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port)) as connection:

        def trickle() -> None:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause_s)
            except OSError:
                pass  # it was closed: that is what is asked

        sender = threading.Thread(target=trickle)
        sender.start()
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        sender.join()
    return received


HEAD = b"POST /v1/inference HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n"


def test_a_head_that_does_not_end_is_not_waited_for(server: Server) -> None:
    """Neither one that trickles in nor a connection that says nothing, nor the second head on one."""
    whole = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"

    assert b"" == sent(server, b"GET / HTTP/1.1\r\n", *[b"x-slow: 1\r\n"] * 200)
    assert b"" == sent(server)
    assert sent(server, whole + b"GET / HTTP/1.1\r\n", *[b"x-slow: 1\r\n"] * 200).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "long",
    [
        b"x-long: " + b"a" * 200_000 + b"\r\n",
        b"".join(b"x-%d: 1\r\n" % n for n in range(20_000)),
        b"x-endless: " + b"a" * 400_000,
    ],
)
def test_a_head_that_is_too_long_is_refused(server: Server, long: bytes) -> None:
    """One long header, many short ones, and one that has no end: 431, and the connection is closed."""
    pieces = [long[at : at + 10_000] for at in range(0, len(long), 10_000)]
    answers = [
        sent(server, b"GET /health/live HTTP/1.1\r\nhost: x\r\n" + long + b"\r\n"),
        sent(server, b"GET /health/live HTTP/1.1\r\nhost: x\r\n", *pieces, pause_s=0),
        sent(server, b"GET /" + b"a" * 100_000, b" HTTP/1.1\r\n", long, pause_s=0),
    ]
    fits = server.ask("GET", "/health/live", headers={"x-long": "a" * 60_000})

    assert [b"HTTP/1.1 431 "] * 3 == [answer[:13] for answer in answers]
    assert 200 == fits.status


def test_a_body_that_does_not_arrive_is_answered_and_its_connection_closed(server: Server) -> None:
    """408 to whoever may ask, and a row; whoever may not is refused at once and cannot keep the line."""
    secret = created(server.folder, "late")
    until(lambda: server.ask("GET", "/v1/models", headers=bearer(secret)).status == 200)
    known = HEAD + f"authorization: Bearer {secret}\r\n\r\n".encode()
    late = sent(server, known, *[b'{"a": '] * 200)
    strange = sent(server, HEAD + b"\r\n", *[b'{"a": '] * 200)
    alive = server.ask("GET", "/v1/models", headers=bearer(secret)).status
    query = "SELECT count(*) FROM decisions WHERE tenant = 'late' OR error_class = 'BodyTimeout'"
    rows = server.post("/v1/analytics/sql", {"query": query}, bearer(secret)).body["rows"]

    assert late.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in late
    assert strange.startswith((b"HTTP/1.1 401", b"HTTP/1.1 429"))
    assert 200 == alive
    assert [[1]] == rows
