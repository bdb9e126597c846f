"""A Ray cluster of several nodes on this machine, on loopback alone: processes that a test may kill."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_S = 120.0  # until a node has to be there
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",  # several nodes; "0" would forbid a second one
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(16),
}
MARKS = (pytest.mark.slow, pytest.mark.filterwarnings("ignore"))  # Ray's own warnings are not ours to mend
RAY = (sys.executable, "-m", "ray.scripts.scripts")


class Nodes:
    """The nodes of one cluster; the head is the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_port()
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """Where the head listens."""
        return f"127.0.0.1:{self._port}"

    def add(self, *options: str) -> psutil.Process:
        """Start a node: its process ends when any of its parts does."""
        head = ("--head", f"--port={self._port}", "--include-dashboard=false")
        where = head if not self._started else (f"--address={self.address}",)
        command = [*RAY, "start", "--block", *where, "--object-store-memory=100000000", *options]
        log = self._folder / f"node-{len(self._started)}.log"
        with log.open("wb") as out:
            node = subprocess.Popen(command, env=os.environ | ENVIRONMENT, stdout=out, stderr=subprocess.STDOUT)
        self._started.append(node)
        self._wait_for(node, log)
        return psutil.Process(node.pid)

    def _wait_for(self, node: subprocess.Popen[bytes], log: Path) -> None:
        until = time.monotonic() + START_S
        while b"--block" not in (said := log.read_bytes()):  # what it says when it is up
            if node.poll() is not None or time.monotonic() > until:
                pytest.fail(f"a Ray node did not start:\n{said.decode(errors='replace')[-2000:]}")
            time.sleep(0.2)

    def close(self) -> None:
        """End every process of every node; the next one is a head again, at the same address."""
        for node in reversed(self._started):
            _end(node)
        self._started.clear()


def _end(node: subprocess.Popen[bytes]) -> None:
    try:
        parts = psutil.Process(node.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        parts = []
    node.send_signal(signal.SIGTERM)
    try:
        node.wait(20)
    except subprocess.TimeoutExpired:
        node.kill()
        node.wait()
    for part in parts:
        try:
            part.kill()
        except psutil.NoSuchProcess:
            continue


def raylet_of(node: psutil.Process) -> psutil.Process:
    """The process without which a node is dead."""
    return next(part for part in node.children(recursive=True) if part.name() == "raylet")


def replicas_of(node: psutil.Process) -> list[psutil.Process]:
    """The replicas that run on a node."""
    return [part for part in node.children(recursive=True) if "ServeReplica" in " ".join(_words(part))]


def _words(part: psutil.Process) -> list[str]:
    try:
        return part.cmdline()
    except psutil.Error:  # it is ending
        return []


@contextmanager
def cluster(folder: Path) -> Iterator[Nodes]:
    """A cluster with its head, for one test or many."""
    nodes = Nodes(folder)
    try:
        yield nodes
    finally:
        nodes.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
