"""Child processes that take turns: all stay loaded, and whoever is not measured is stopped by a signal.

So the rounds of a benchmark can go from one to the other at no cost, and an idle one takes nothing of the machine.
Each has a process group of its own: Ctrl-C reaches only the benchmark, which then ends its children.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import psutil
from interruption import put_off
from machine import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

START_S, ANSWER_S, STOP_S = 300.0, 600.0, 30.0


class Group:
    """A process and whatever it starts, in a process group of its own that is stopped and let run."""

    process: subprocess.Popen[bytes]

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run; stop it where it stands on the way out."""
        self.send(signal.SIGCONT)
        try:
            yield
        finally:
            self.pause()

    def tree(self) -> list[psutil.Process]:
        """All its processes, the first one first."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU seconds so far, of all its processes; none of a helper that ends while it is asked."""
        spent_s = 0.0
        for each in self.tree():
            with suppress(psutil.NoSuchProcess):
                times = each.cpu_times()
                spent_s += times.user + times.system
        return spent_s

    def pause(self) -> None:
        """Stop it where it stands."""
        self.send(signal.SIGSTOP)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all of it; nothing where none of it is left."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Child(Group):
    """A process that says one line when it is ready, and may then be asked for things, a line of JSON each."""

    def __init__(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None, stderr: IO[str] | None = None
    ) -> None:
        """Start it; `ready` waits for it."""
        self.name = name
        with put_off():
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                process_group=0,
            )

    def ready(self) -> str:
        """Its first line.

        Raises:
            RuntimeError: It ended, or said nothing for five minutes.
        """
        return self._line(START_S)

    def ask(self, **question: Any) -> dict[str, Any]:
        """Ask and wait for the answer, while it alone may run.

        Raises:
            RuntimeError: It ended, or said nothing for ten minutes.
        """
        assert self.process.stdin is not None
        with self.awake():
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._line(ANSWER_S))
            return answer

    def close(self) -> int:
        """End it gently, then its whole group by force. Its exit status."""
        self.send(signal.SIGCONT)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        self.send(signal.SIGKILL)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        return self.process.wait()

    def _line(self, patience_s: float) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], patience_s)
        line = self.process.stdout.readline().decode() if ready else ""
        if not line:
            raise RuntimeError(f"{self.name} said nothing, exit status {self.process.poll()}")
        return line


class Server(Child):
    """A child whose first line holds its URL, and which embeds texts as OpenAI does."""

    url = ""
    model = ""
    sent = 0  # requests that reached it

    def ready(self) -> str:
        """Wait until it embeds a text; its URL.

        Raises:
            RuntimeError: It ended, or did not for five minutes.
        """
        line = super().ready()
        found = re.search(r"http://[\w.:\[\]-]+", line)
        if found is None:
            raise RuntimeError(f"{self.name} announced no URL but {line!r}")
        self.url = found[0]
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.post("/v1/embeddings", self.body("ready?"))
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise RuntimeError(f"{self.name} refuses an embedding: {error}") from error
            except OSError:
                pass  # it does not listen yet
            else:
                return self.url
            time.sleep(0.1)  # between two tries, so that these do not take the cores that it starts with
        raise RuntimeError(f"{self.name} did not answer, exit status {self.process.poll()}")

    def body(self, text: str) -> bytes:
        """A request for one text's vector."""
        return json.dumps({"model": self.model, "input": text, "encoding_format": "base64"}).encode()

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        """One request; its answer."""
        with self.answer(path, body) as answer:
            read: dict[str, Any] = json.load(answer)
            return read

    def answer(self, path: str, body: bytes) -> Any:
        """One request; its answer as a stream to be closed.

        Raises:
            HTTPError: It was refused.
            OSError: Nobody listens.
        """
        request = urllib.request.Request(self.url + path, body, {"content-type": "application/json"})
        try:
            answer = urllib.request.urlopen(request, timeout=ANSWER_S)
        except urllib.error.HTTPError:
            self.sent += 1
            raise
        self.sent += 1
        return answer
