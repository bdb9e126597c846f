"""Real servers in processes of their own, on ports of their own, with real weights."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

START_S = 120
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"


class Answer(NamedTuple):
    """Status, headers (lower case) and decoded JSON body of one HTTP exchange."""

    status: int
    headers: dict[str, str]
    body: Any


class Server:
    """One `nearfar serve` process."""

    def __init__(self, folder: Path, config: str = "", *prefix: str, arguments: Sequence[str] = ()) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nearfar.toml").write_text(config, encoding="utf-8")
        self._command = [*prefix, sys.executable, "-m", "router", "serve", "--port"]
        self._arguments = arguments
        self._start("0")

    def again(self) -> None:
        """Start it where it was, after it ended."""
        self._start(self.url.rpartition(":")[2])

    def _start(self, port: str) -> None:
        self._errors = (self.folder / "stderr.txt").open("w+", encoding="utf-8")
        command = [*self._command, port, *self._arguments]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=os.environ.copy(), stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        line = self.process.stdout.readline() if self.process.stdout else ""
        found = re.search(r"http://\S+", line)
        if found is None:
            self.process.wait(START_S)
            pytest.fail(f"the server did not start: {line}{self.errors()}")
        self.url = found.group().replace("//0.0.0.0:", "//127.0.0.1:")  # who listens everywhere is reached here
        self.get("/health/live")  # the socket listens already: this waits until the app answers

    def errors(self) -> str:
        self._errors.flush()
        self._errors.seek(0)
        return self._errors.read()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, body: object, headers: dict[str, str] | None = None) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, data, headers or {})

    def ask(self, method: str, path: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        request = urllib.request.Request(self.url + path, data=data, method=method)
        for name, value in ({"content-type": "application/json"} | (headers or {})).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=START_S) as response:
                return Answer(response.status, _lower(response.headers), json.loads(response.read() or b"null"))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), json.loads(error.read() or b"null"))

    def sql(self, query: str) -> list[list[Any]]:
        answer = self.post("/v1/analytics/sql", {"query": query})

        assert 200 == answer.status, answer.body
        assert not answer.body["truncated"], query  # a faster machine has more rows: ask for sums
        rows: list[list[Any]] = answer.body["rows"]
        return rows

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sent)
        code = self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()
        return code


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers that stop with the test."""
    started: list[Server] = []

    def start(config: str = "", *prefix: str, folder: str = "server") -> Server:
        started.append(Server(tmp_path / folder, config, *prefix))
        return started[-1]

    yield start
    for server in started:
        with contextlib.suppress(ValueError):
            server.stop()


@pytest.fixture(scope="session")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with the built-in catalogue, shared by the tests that only ask it things."""
    server = Server(tmp_path_factory.mktemp("near"))
    yield server
    server.stop()
