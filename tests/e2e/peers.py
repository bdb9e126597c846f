"""Servers that we did not write, on loopback, as far sides: `transformers serve`, and llama.cpp's own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Self

import pytest

from router.settings import load, models_dir

START_S = 180


def packages() -> Path:
    """Where the built-in weights are unpacked."""
    return models_dir(load()) / "packages"


class Peer:
    """A server process, healthy once made."""

    def __init__(self, command: list[str], url: str, *, cwd: Path, output: Path) -> None:
        self.url = url
        self._output = output.open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)  # between two looks at a process that is still starting
        self._output.seek(0)
        said = re.sub(r"\S*/\S*", "...", self._output.read())[-500:]
        self.kill()
        pytest.fail(f"the peer did not start: {said}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would; once is enough."""
        self.process.kill()
        self.process.wait(30)
        self._output.close()


def transformers_serve(model: str, cwd: Path, output: Path) -> Peer:
    """`transformers serve`, for the one model in the directory of this name below `cwd`."""
    program = shutil.which("transformers", path=str(Path(sys.executable).parent))
    assert program is not None
    port = _free_port()
    where = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    return Peer([program, "serve", model, *where], f"http://127.0.0.1:{port}", cwd=cwd, output=output)


def llama_server(gguf: Path, output: Path) -> Peer:
    """llama.cpp's server for one file of weights: it chats, completes and embeds."""
    port = _free_port()
    script = Path(__file__).with_name("llama_server.py")
    command = [sys.executable, str(script), gguf.name, str(port)]
    return Peer(command, f"http://127.0.0.1:{port}", cwd=gguf.parent, output=output)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
