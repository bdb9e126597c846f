"""Processes of a cluster on one machine: the owner of what is shared, routers, and a wire that can be cut."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import START_S, Server

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "test/both"
BODY = {"model": MODEL, "inputs": "hi"}
FAR_AND_NEAR = """
[routing]
policy = "remote-first"
[log]
durability = "strict"
[[models]]
id = "test/both"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "dear"
  price = { per_request_usd = 1.0 }
  script = { latency_ms = 5 }
  [[models.candidates]]
  backend = "fake"
  provider = "near"
  script = { near = true }
"""


def budget(limit_usd: float) -> str:
    return f'[[budgets]]\nscope = "model:{MODEL}"\nlimit_usd = {limit_usd}\n'


def member(address: str, more: str = "") -> str:
    """The section of a router whose owner is there."""
    return f'[cluster]\nstate = "{address}"\nhold_s = 5\n{more}'


class OwnerProcess:
    """`nearfar state`, which can be killed and started again where it was."""

    def __init__(self, folder: Path, config: str, listen: str = "127.0.0.1:0") -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "nearfar.toml").write_text(config, encoding="utf-8")
        self._listen = listen
        self.address = ""
        self.start()

    def start(self) -> None:
        """Start it, at the address that it had."""
        self._errors = (self.folder / "stderr.txt").open("a+", encoding="utf-8")
        command = [sys.executable, "-m", "router", "state", "--listen", self._listen]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=os.environ.copy(), stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            found = re.search(r"nearfar state on (\S+)", line)
            if found is not None:
                self.address = found[1]
                self._listen = self.address.removeprefix("http://")
                return
        self.process.wait(START_S)
        self._errors.seek(0)
        pytest.fail(f"the owner did not start: {said}{self._errors.read()}")

    def kill(self) -> None:
        """As a machine does that fails."""
        self.stop(signal.SIGKILL)

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sent)
        code = self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()
        return code


class Wire:
    """A TCP connection to somewhere, which can be cut: then nothing goes through, and nobody is told."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._whole = threading.Event()
        self._whole.set()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole.clear()

    def heal(self) -> None:
        self._whole.set()

    def close(self) -> None:
        self._whole.set()
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
            except OSError:
                return
            self._sockets += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._whole.wait()
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Cluster:
    """An owner, and the routers that were started with it."""

    def __init__(self, folder: Path, config: str, listen: str = "127.0.0.1:0") -> None:
        self.folder, self.config = folder, config
        self.owner = OwnerProcess(folder / "owner", config, listen)
        self.nodes: list[Server] = []
        self.wires: list[Wire] = []

    def node(self, name: str, more: str = "", *, wired: bool = False) -> Server:
        """Start a router; `wired` puts a wire between it and the owner, the last of `wires`."""
        address = self.owner.address
        if wired:
            self.wires.append(Wire(address))
            address = self.wires[-1].address
        self.nodes.append(Server(self.folder / name, f"{self.config}{more}{member(address)}"))
        return self.nodes[-1]

    def close(self) -> None:
        for node in self.nodes:
            with contextlib.suppress(ValueError):
                node.stop()
        self.owner.stop()
        for wire in self.wires:
            wire.close()


def far(answer) -> bool:
    """Whether it was answered far. Whoever is not answered at all ends the test."""
    assert 200 == answer.status, answer.body
    return bool(answer.body["attempts"][-1]["candidate"].startswith("dear:"))
