"""`python -m tests.e2e.pulled FOLDER`: a server whose network is pulled while it runs, and put back. Prints all that.

Run in a network namespace of its own (`tests.e2e.alone`). The far side is in another one, over a pair of virtual
interfaces: when one of them goes down the server has no route to it, and nothing comes over what was connected.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, Self

from tests.e2e import veth
from tests.e2e.conftest import MINILM, SMOLLM, Server
from tests.integration.far_side import FarSide

PORT = 8000
DEADLINE_MS = 12_000
RECOVERY_S = 120.0

CONFIG = f"""
[local]
warm = ["{MINILM}", "{SMOLLM}"]
[[providers]]
name = "peer"
protocol = "openai"
base_url = "http://{veth.THERE}:{PORT}/v1"
connect_timeout_s = 1.0
first_token_timeout_s = 1.0
idle_timeout_s = 1.0
total_timeout_s = 3.0
[[models]]
id = "test/far"
task = "text-generation"
  [[models.candidates]]
  backend = "remote"
  provider = "peer"
  price = {{ per_request_usd = 0.0 }}
[[aliases]]
name = "either"
models = ["test/far"]
fallbacks = ["{SMOLLM}"]
"""


class Peer(FarSide):
    """A far side on an address that others reach."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, veth.THERE, PORT)
        return self


async def _serve() -> None:
    """In the far namespace: answer until standard input ends."""
    await asyncio.to_thread(veth.connected)
    async with Peer():
        await asyncio.to_thread(veth.there)


def _asked(server: Server, model: str, **routing: Any) -> dict[str, Any]:
    """One request: its status, who served it, and what it took of its deadline."""
    body = {"model": model, "inputs": "The capital of France is", "routing": {"deadline_ms": DEADLINE_MS, **routing}}
    if model != MINILM:
        body["parameters"] = {"max_tokens": 4}
    answer = server.post("/v1/inference", body)
    told = {name: answer.body.get(name) for name in ("backend", "provider")} if answer.status == 200 else {}
    late = answer.status == 200 and answer.body["latency_ms"] > DEADLINE_MS
    return {"status": answer.status, "late": late, **told}


def _all(server: Server) -> dict[str, Any]:
    return {"near": _asked(server, MINILM), "either": _asked(server, "either"), "far": _asked(server, "test/far")}


def _recovered(server: Server) -> int:
    """How often the far model had to be asked until it answered again; 0 where it never did."""
    until, count = time.monotonic() + RECOVERY_S, 0
    while time.monotonic() < until:
        count += 1
        if _asked(server, "test/far")["status"] == 200:
            return count
        time.sleep(0.5)
    return 0


def main() -> None:
    """Ask with the network, without, and with it again."""
    peer = veth.beside("tests.e2e.pulled", "peer")
    server = Server(Path(sys.argv[1]), CONFIG)
    try:
        found: dict[str, Any] = {"pid": server.process.pid, "before": _all(server)}
        veth.cut()
        found["pulled"] = [_all(server) for _ in range(4)]
        found["breakers"] = [b["state"] for b in server.get("/v1/system").body["breakers"].values()]
        veth.heal()
        found["recovered"] = _recovered(server)
        found["after"] = _all(server)
        found["running"] = server.process.poll() is None
        asked = sum(len(round_) for round_ in [found["before"], *found["pulled"], found["after"]]) + found["recovered"]
        found["rows"] = server.sql("SELECT count(*) FROM decisions WHERE surface = '/v1/inference'")[0][0] - asked
    finally:
        server.stop()
        peer.terminate()
        peer.wait()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "peer":
        asyncio.run(_serve())
    else:
        main()
