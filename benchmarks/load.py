"""A closed-loop load generator: N connections, each sending its next request when the last answer is complete.

A raw protocol on uvloop in a process of its own, so that neither a heavy client nor the measuring program's own work is
part of what is measured. `measure` runs it from another benchmark; alone it is
`python benchmarks/load.py URL --requests 1000 --concurrency 16 < bodies.jsonl`: one body a line, sent in turn.
Answers have a content-length or come in chunks.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import math
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import uvloop
from interruption import put_off

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE_S = 300.0  # a run that takes longer hangs
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`warm_up` requests that are not recorded, then `requests` that are, over `concurrency` connections.

    With `seconds` nothing is sent after so long, however many requests are left; what was sent is waited for.
    """

    url: str
    concurrency: int
    requests: int
    warm_up: int
    seconds: float | None = None
    headers: tuple[str, ...] = ()  # whole lines, `name: value`


@dataclass(kw_only=True)
class Measurement:
    """What came of a plan. Latencies are those of good answers; `sent` and `errors` count the warm-up too."""

    latencies_us: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    sent: int = 0
    errors: int = 0

    @property
    def rps(self) -> float:
        """Good answers a second."""
        return len(self.latencies_us) / self.wall_s if self.wall_s else 0.0

    def quantile_ms(self, share: float) -> float:
        """The latency that this share of the requests did not exceed (nearest rank); NaN when none was answered."""
        ranked = sorted(self.latencies_us)
        return ranked[max(0, math.ceil(share * len(ranked)) - 1)] / 1000 if ranked else math.nan


def measure(plan: Plan, *bodies: bytes) -> Measurement:
    """Carry out the plan in a new process, with these bodies in turn."""
    command = [sys.executable, str(Path(__file__)), plan.url, "--concurrency", str(plan.concurrency)]
    command += ["--requests", str(plan.requests), "--warm-up", str(plan.warm_up)]
    command += [] if plan.seconds is None else ["--seconds", str(plan.seconds)]
    command += [f"--header={line}" for line in plan.headers]
    lines = b"\n".join(bodies)
    process: subprocess.Popen[bytes] | None = None
    try:
        with put_off():
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
        answer, _ = process.communicate(lines, PATIENCE_S)
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Measurement(**json.loads(answer))


def message_end(seen: bytes) -> int | None:
    """Where the first HTTP message in these bytes ends; None while it is incomplete."""
    head_end = seen.find(HEAD_END)
    if head_end < 0:
        return None
    head = seen[:head_end].lower() + b"\r\n"
    body_at = head_end + len(HEAD_END)
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        return _chunks_end(seen, body_at)
    _, found, rest = head.partition(b"\r\ncontent-length:")
    end = body_at + (int(rest[: rest.index(b"\r\n")]) if found else 0)
    return end if len(seen) >= end else None


def _chunks_end(seen: bytes, at: int) -> int | None:
    """Where a body in chunks that begins at `at` ends. Trailers are not looked for: nobody here sends any."""
    while (line_end := seen.find(b"\r\n", at)) >= 0:
        size = int(seen[at:line_end].partition(b";")[0], 16)
        at = line_end + 2 + size + 2
        if size == 0:
            break
    else:
        return None
    return at if len(seen) >= at else None


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way. Stamps the clock where the bytes go and come."""

    def __init__(self) -> None:
        self.open = False
        self._seen = b""
        self._sent_at = 0.0
        self._answer: asyncio.Future[tuple[int, float]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        self.open, self._transport = True, cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect the answer; a complete one ends the exchange with its status and its seconds."""
        self._seen += data
        if message_end(self._seen) is not None and self._answer is not None:
            taken_s = time.perf_counter() - self._sent_at
            self._answer.set_result((int(self._seen[9:12]), taken_s))
            self._answer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for an answer is told that none comes."""
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed before the answer"))

    async def exchange(self, request: bytes) -> tuple[int, float]:
        """Send a request; its answer's status, and seconds from the first byte out to the last byte in."""
        self._seen = b""
        self._answer = asyncio.get_running_loop().create_future()
        answer = self._answer
        self._sent_at = time.perf_counter()
        self._transport.write(request)
        return await answer

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


class Load:
    """One plan under way."""

    def __init__(self, plan: Plan, bodies: Sequence[bytes]) -> None:
        parts = urlsplit(plan.url)
        assert parts.hostname
        self._address = (parts.hostname, parts.port or 80)
        self._plan = plan
        head = f"POST {parts.path or '/'} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        head += "".join(f"{line}\r\n" for line in plan.headers)
        requests = (f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in bodies)
        self._requests = itertools.cycle(list(requests))
        self._connections: list[Connection | None] = [None] * plan.concurrency
        self._left = 0
        self._until = math.inf
        self._seen = Measurement()

    async def run(self) -> Measurement:
        """Warm up, then measure over the same connections."""
        await self._phase(self._plan.warm_up)
        self._seen.latencies_us.clear()
        started = time.perf_counter()
        self._until = started + (self._plan.seconds or math.inf)
        await self._phase(self._plan.requests)
        self._seen.wall_s = time.perf_counter() - started
        for connection in self._connections:
            if connection is not None:
                connection.close()
        return self._seen

    async def _phase(self, requests: int) -> None:
        self._left = requests
        await asyncio.gather(*(self._worker(slot) for slot in range(self._plan.concurrency)))

    async def _worker(self, slot: int) -> None:
        while self._left > 0 and time.perf_counter() < self._until:
            self._left -= 1
            try:
                connection = await self._connected(slot)
                self._seen.sent += 1
                status, seconds = await connection.exchange(next(self._requests))
            except OSError:
                self._seen.errors += 1
                continue
            if status == 200:
                self._seen.latencies_us.append(seconds * 1e6)
            else:
                self._seen.errors += 1

    async def _connected(self, slot: int) -> Connection:
        connection = self._connections[slot]
        if connection is None or not connection.open:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, *self._address)
            self._connections[slot] = connection
        return connection


def main() -> None:
    """Read the bodies from standard input, write the measurement as JSON to standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--warm-up", type=int, default=0)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--header", action="append", default=[], help="`name: value`; may be repeated")
    given = vars(parser.parse_args())
    plan = Plan(headers=tuple(given.pop("header")), **given)
    bodies = sys.stdin.buffer.read().splitlines()
    gc.disable()  # its pauses would be taken for the server's
    print(json.dumps(asdict(uvloop.run(Load(plan, bodies).run()))))


if __name__ == "__main__":
    main()
