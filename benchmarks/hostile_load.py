"""A crowd of which half means harm: a server keeps its size, answers the others, and logs each request once.

Starts `nearfar serve` over fakes, opens `--connections` to it, and keeps them for `--minutes`: each asks something
right (whole and streamed), or does something wrong: bodies that are no JSON, nested without end or too long, models
that nobody knows, heads without end or a byte at a time, garbage, bodies that never come, leaving before the answer.
Every request has an id of its own, by which its row is looked up in the log afterwards.

Exit status 1 when a right request failed, a bug was told (5xx but 503), an answered request has not exactly one row,
any request has two, or the memory grows (or nobody can tell whether by 100 bytes a request). DuckDB holds what waits in
its write-ahead log until a checkpoint takes it into the file (at 256 MB), and pages of the file, up to 1 GB in all: its
memory is bounded, rises and falls, and is told by the server (`nearfar_log_memory_bytes`). What is judged is the rest
of the process, after the warm-up, between one checkpoint and the next (`slopes.within_teeth`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import resource
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psutil
from log_memory import beside_the_log, faults_of, measure
from machine import describe_machine
from soak import WARM_UP, growth, watch
from upstream import served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from log_memory import Held
    from soak import Sample

RESULT = Path(__file__).parent / "results" / "hostile_load.json"
PACKAGES = ("litestar", "uvicorn", "httptools", "uvloop", "msgspec", "duckdb")
FILES_BESIDE = 512  # descriptors that are no connections
PATIENCE_S = 60.0
CONFIG = """\
[log]
path = "{log}"
[routing]
offline = true
[[models]]
id = "bench/chat"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  price = {{ per_request_usd = 0.001 }}
  script = {{ near = true, latency_ms = 5, per_token_ms = 1, tokens = 8 }}
[[models]]
id = "bench/vectors"
task = "feature-extraction"
  [[models.candidates]]
  backend = "fake"
  price = {{ per_request_usd = 0.001 }}
  script = {{ near = true, latency_ms = 5 }}
"""
_CHAT = {"model": "bench/chat", "messages": [{"role": "user", "content": "near or far?"}], "max_tokens": 8}
RIGHT: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", _CHAT),
    "streamed": ("/v1/chat/completions", _CHAT | {"stream": True}),
    "embeddings": ("/v1/embeddings", {"model": "bench/vectors", "input": ["near", "far"]}),
    "native": ("/v1/inference", {"model": "bench/chat", "inputs": "near or far?"}),
}
REFUSED: dict[str, bytes] = {
    "no JSON": b'{"model": "bench/chat", ',
    "deep": b"[" * 100_000,
    "huge number": b'{"model": "bench/chat", "inputs": "x", "parameters": {"seed": ' + b"9" * 5000 + b"}}",
    "unknown model": b'{"model": "../../etc/passwd", "inputs": "x"}',
    "not UTF-8": b'{"model": "\xff\xfe", "inputs": "x"}',
}


@dataclass
class Seen:
    """What became of everything."""

    answered: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)


class Caller:
    """One connection, opened again whenever it ends."""

    def __init__(self, place: tuple[str, int], seen: Seen, draw: random.Random) -> None:
        self._place, self._seen, self._draw = place, seen, draw
        self._pipes: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def live(self, until: float, pause_s: float) -> None:
        """Do one thing after the other. What takes longer than `PATIENCE_S` hangs, and is told."""
        deeds: list[tuple[Callable[[], Awaitable[None]], float]] = [
            (self._right, 50), (self._refused, 20), (self._leaves, 10), (self._garbage, 8), (self._large_head, 4),
            (self._slow_head, 4), (self._half_body, 4),
        ]  # fmt: skip
        await asyncio.sleep(self._draw.uniform(0, pause_s))
        while time.monotonic() < until:
            [(deed, _)] = self._draw.choices(deeds, [weight for _, weight in deeds])
            name = deed.__name__.strip("_")
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await deed()
                self._seen.done[name] += 1
            except TimeoutError:
                self._seen.failed[f"{name}: hangs"] += 1
                await self._close()
            except (OSError, EOFError, asyncio.IncompleteReadError):
                self._seen.failed[f"{name}: connection lost"] += name == "right"
                await self._close()
            await asyncio.sleep(self._draw.expovariate(1 / pause_s))
        await self._close()

    async def _right(self) -> None:
        name = self._draw.choice(list(RIGHT))
        path, body = RIGHT[name]
        began = time.monotonic()
        status, said = await self._asked(path, json.dumps(body).encode())
        if status == 200:
            self._seen.latencies_s.append(time.monotonic() - began)
        elif status != 503:
            self._seen.failed[f"{name}: {status} {said[:120]!r}"] += 1

    async def _refused(self) -> None:
        name = self._draw.choice(list(REFUSED))
        status, said = await self._asked("/v1/inference", REFUSED[name])
        if not 400 <= status < 500:
            self._seen.failed[f"{name}: {status} {said[:120]!r}"] += 1

    async def _leaves(self) -> None:
        path, body = RIGHT[self._draw.choice(list(RIGHT))]
        _, writer = await self._open()
        request_id = str(uuid.uuid4())
        self._seen.left.add(request_id)
        writer.write(_request(path, json.dumps(body).encode(), request_id))
        await writer.drain()
        await asyncio.sleep(self._draw.uniform(0, 0.05))
        await self._close()

    async def _garbage(self) -> None:
        _, writer = await self._fresh()
        writer.write(self._draw.randbytes(300) + b"\r\n\r\n")
        await self._ended()

    async def _large_head(self) -> None:
        _, writer = await self._fresh()
        writer.write(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nx-large: " + b"a" * 300_000 + b"\r\n\r\n")
        await self._ended()

    async def _slow_head(self) -> None:
        _, writer = await self._fresh()
        for byte in b"GET /health/live":
            writer.write(bytes([byte]))
            await asyncio.sleep(self._draw.uniform(0.1, 1))
        await self._close()

    async def _half_body(self) -> None:
        _, writer = await self._fresh()
        request_id = str(uuid.uuid4())
        self._seen.left.add(request_id)
        writer.write(_request("/v1/inference", b"{" * 500, request_id)[:-200])
        await writer.drain()
        await asyncio.sleep(self._draw.uniform(0, 3))
        await self._close()

    async def _asked(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Ask and wait. A connection that the server closed while it was idle is opened anew, as every client does."""
        reused = self._pipes is not None
        try:
            return await self._asked_once(path, body)
        except (ConnectionError, asyncio.IncompleteReadError) as lost:
            if not reused or getattr(lost, "partial", b""):
                raise
            await self._close()
            return await self._asked_once(path, body)

    async def _asked_once(self, path: str, body: bytes) -> tuple[int, bytes]:
        request_id = str(uuid.uuid4())
        reader, writer = await self._open()
        self._seen.left.add(request_id)
        writer.write(_request(path, body, request_id))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        said = await _body(reader, head)
        self._seen.left.discard(request_id)
        self._seen.ids.add(request_id)
        status = int(head[9:12])
        self._seen.answered[str(status)] += 1
        if b"connection: close" in head:
            await self._close()
        return status, said

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection, as it is; a new one where the server has closed it, as it does with idle ones."""
        if self._pipes is None or self._pipes[0].at_eof() or self._pipes[1].is_closing():
            return await self._fresh()
        return self._pipes

    async def _fresh(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await self._close()
        self._pipes = await asyncio.open_connection(*self._place)
        return self._pipes

    async def _ended(self) -> None:
        """Whatever comes until the server closes."""
        if self._pipes is not None:
            with contextlib.suppress(ConnectionError):
                await self._pipes[0].read()
        await self._close()

    async def _close(self) -> None:
        if self._pipes is not None:
            self._pipes[1].close()
            with contextlib.suppress(OSError):
                await self._pipes[1].wait_closed()
        self._pipes = None


def _request(path: str, body: bytes, request_id: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-request-id: {request_id}\r\n"
    )
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """By length or in chunks, as the head says."""
    if b"content-length: " in head:
        return await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    whole = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        whole += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return whole


async def crowd(
    url: str, process: psutil.Process, wal: Path, options: argparse.Namespace
) -> tuple[list[Sample], list[Held], Seen]:
    """Let them all live for so long."""
    host, _, port = url.removeprefix("http://").partition(":")
    seen, samples, began = Seen(), [], time.monotonic()
    until = began + options.minutes * 60
    held: list[Held] = []
    watching = [
        asyncio.create_task(watch(process, samples, began)),
        asyncio.create_task(measure(url, wal, held, samples)),
    ]
    callers = [Caller((host, int(port)), seen, random.Random(n)) for n in range(options.connections)]
    await asyncio.gather(*(caller.live(until, options.pause_s) for caller in callers))
    for task in watching:
        task.cancel()
    told = sum(sample.at_s <= until - began for sample in samples[: len(held)])  # the others: of a crowd that leaves
    return samples[:told], held[:told], seen


def rows_of(log: Path, seen: Seen) -> dict[str, int]:
    """How many requests the log knows, against those that were sent."""
    with duckdb.connect(str(log), read_only=True) as con:
        found = dict(con.execute("SELECT request_id, count(*) FROM decisions GROUP BY request_id").fetchall())
    return {
        "answered": len(seen.ids),
        "answered_with_one_row": sum(found.get(request_id) == 1 for request_id in seen.ids),
        "left": len(seen.left),
        "left_with_one_row": sum(found.get(request_id) == 1 for request_id in seen.left),
        "with_two_rows": sum(count > 1 for count in found.values()),
        "of_nobody": len(found.keys() - seen.ids - seen.left),
    }


def judged(samples: list[Sample], held: list[Held], seen: Seen, rows: dict[str, int]) -> dict[str, Any]:
    """The report, with everything that speaks against the server under `faults`."""
    size, files = growth(samples, lambda s: s.rss_bytes), growth(samples, lambda s: s.files)
    grows = beside_the_log(samples, held, sum(seen.done.values()))
    faults = [f"{what} x{count}" for what, count in seen.failed.items() if count]
    faults += [f"status {status} x{n}" for status, n in seen.answered.items() if status >= "500" and status != "503"]
    if rows["answered"] != rows["answered_with_one_row"]:
        faults.append("answered requests without exactly one row")
    if rows["with_two_rows"]:
        faults.append("requests with two rows")
    faults += faults_of(grows)
    ordered = sorted(seen.latencies_s) or [float("nan")]
    return {
        "done": dict(seen.done),
        "statuses": dict(seen.answered),
        "right_answered": len(seen.latencies_s),
        "ms": {f"p{q}": 1000 * ordered[min(len(ordered) - 1, len(ordered) * q // 100)] for q in (50, 90, 99)},
        "rows": rows,
        "rss": size | {"beside_the_log": grows},
        "files": files,
        "faults": faults,
        "samples": [asdict(sample) | asdict(now) for sample, now in zip(samples, held, strict=True)],
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start the server, let the crowd at it, stop it, and count its rows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.connections + FILES_BESIDE
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))
    with tempfile.TemporaryDirectory() as folder:
        config, log = Path(folder) / "nearfar.toml", Path(folder) / "log.duckdb"
        wal = log.with_name(f"{log.name}.wal")
        config.write_text(CONFIG.format(log=log))
        command = [sys.executable, "-m", "router", "serve", "--port", "0", "--config", str(config)]
        with (Path(folder) / "stderr.txt").open("w+") as said:  # a line for each request that is no HTTP
            with served(command, stderr=said) as (process, url):
                samples, held, seen = asyncio.run(crowd(url, psutil.Process(process.pid), wal, options))
            said.seek(0)
            seen.failed.update(line for line in said if line.startswith(("ERROR ", "Traceback")))
        rows = rows_of(log, seen)
    how = {"connections": options.connections, "minutes": options.minutes, "pause_s": options.pause_s}
    return {"machine": describe_machine(PACKAGES), **how, **judged(samples, held, seen, rows)}


def told(report: dict[str, Any]) -> str:
    """The report in a few lines."""
    rows, rss = report["rows"], report["rss"]
    grows = rss["beside_the_log"] or dict.fromkeys(("slope", "low", "high"), float("nan"))
    slope, low, high = (grows[name] for name in ("slope", "low", "high"))
    levels = ", ".join(f"{level / 1e6:.0f}" for level in grows.get("levels", ()))
    return f"""\
{report["connections"]} connections, {report["minutes"]:g} minutes; deeds {report["done"]}
statuses {report["statuses"]}
right requests: {report["right_answered"]}, ms { ({name: round(ms, 1) for name, ms in report["ms"].items()}) }
rows: {rows["answered_with_one_row"]} of {rows["answered"]} answered, {rows["left_with_one_row"]} of {rows["left"]} left
RSS {rss["first_half"] / 1e6:.0f} -> {rss["second_half"] / 1e6:.0f} MB (halves after {WARM_UP:.0%}); beside \
what DuckDB holds {slope:+.0f} bytes a request (95 %: {low:+.0f} .. {high:+.0f}) between checkpoints, at {levels} MB
files {report["files"]}
faults: {"; ".join(report["faults"]) or "none"}"""


def main() -> None:
    """Run, tell, and fail where there is something to tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--pause-s", type=float, default=2.0, help="mean time between a connection's deeds")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--save", action="store_true", help=f"write the report to {RESULT.name}")
    options = parser.parse_args()
    report = run(options)
    if options.save:
        RESULT.write_text(json.dumps(report, indent=1) + "\n")
    sys.stdout.write((json.dumps(report) if options.json else told(report)) + "\n")
    sys.exit(1 if report["faults"] else 0)


if __name__ == "__main__":
    main()
