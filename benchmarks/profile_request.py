"""Where does the time of a request go? A flame graph of the whole server while it answers, and shares by library.

Nearfar as `router_overhead.py` runs it, with the log on, and with auth on: one key, which every request sends. py-spy
(`pip install py-spy`, no part of this project) looks at its Python threads from outside; what waits is left out, so
that shares are of processor time. Beside them stands that time by the system's account, by thread: most of what the far
side's client and DuckDB do happens in threads that know no Python, and is in no flame graph of it.
"""

from __future__ import annotations

import argparse
import http.client
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import psutil
import upstream
from delivery import deliver, rule, said
from gateway_peers import nearfar
from machine import ROOT, describe_machine
from router_overhead import BODY, PACKAGES, await_ready

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parent / "results"
WARM_UP = 300
RATE = 100  # samples a second; the server stands still for each, or stacks would be read while they change
LIBRARIES = (
    "router/decision_log", "router/http", "router/prediction", "router/access", "router/telemetry", "router/",
    "policies/", "backends/remote", "backends/", "litestar", "uvicorn", "uvloop", "asyncio", "contextlib",
    "prometheus_client", "msgspec", "pyreqwest", "duckdb", "httptools",
)  # fmt: skip
OTHER = "elsewhere"


class Callers:
    """Callers in threads, each with a connection of its own, until they are stopped."""

    def __init__(self, url: str, headers: Sequence[str], count: int) -> None:
        self._address = urlsplit(url).netloc
        self._headers = dict(line.split(": ", 1) for line in (*headers, "content-type: application/json"))
        self._stopped = threading.Event()
        self.answered = [0] * count
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._address)
        while not self._stopped.is_set():
            connection.request("POST", "/v1/chat/completions", BODY, self._headers)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            self.answered[number] += 1
        connection.close()


def recorded(pid: int, seconds: float, kind: str, path: Path) -> str:
    """What py-spy saw of a process in so many seconds.

    Raises:
        RuntimeError: py-spy is not here, or may not look.
    """
    spy = shutil.which("py-spy")
    if spy is None:
        raise RuntimeError("This needs py-spy: pip install py-spy.")
    command = [spy, "record", "--pid", str(pid), "--threads", "--rate", str(RATE)]
    done = subprocess.run(
        [*command, "--duration", str(round(seconds)), "--format", kind, "--output", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"py-spy failed: {done.stderr.strip()}")
    return path.read_text(encoding="utf-8")


def spent(pid: int) -> dict[int, float]:
    """CPU seconds of each thread of a process so far."""
    return {thread.id: thread.user_time + thread.system_time for thread in psutil.Process(pid).threads()}


def shares(stacks: str) -> dict[str, float]:
    """Of all samples, which share each library has: by the innermost frame of a stack that is some library's."""
    found: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        inner = reversed(stack.split(";"))
        libraries = (library for frame in inner for library in LIBRARIES if library in frame)
        found[next(libraries, OTHER)] += int(count)
    return {library: count / found.total() for library, count in found.most_common()}


def run(callers: int, seconds: float, graph: Path) -> dict[str, Any]:
    """Serve, warm up, look twice: once for the flame graph, once for the shares."""
    machine = describe_machine(PACKAGES)
    with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder, upstream.served(upstream.COMMAND) as far:
        gateway = nearfar(far.url, Path(folder))
        with upstream.served(gateway.command(0), cwd=ROOT, env=gateway.env) as server:
            await_ready(server)
            with Callers(server.url, gateway.headers, callers) as asking:
                while sum(asking.answered) < WARM_UP:
                    time.sleep(0.05)
                began, before = spent(server.process.pid), sum(asking.answered)
                time.sleep(seconds)  # unobserved: py-spy reads the server's memory, which costs it a little
                answered, ended = sum(asking.answered) - before, spent(server.process.pid)
                threads = [(ended[tid] - began.get(tid, 0.0)) / answered * 1000 for tid in ended]
                said(f"{sum(threads):.3f} ms of CPU a request; looking")
                recorded(server.process.pid, seconds, "flamegraph", graph)
                found = shares(recorded(server.process.pid, seconds, "raw", Path(folder) / "stacks"))
    return {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *sys.argv]),
        "machine": machine,
        "callers": callers,
        "cpu_ms": sum(threads),
        "busiest_threads_ms": sorted(threads, reverse=True)[:4],
        "shares": found,
    }


def table(report: dict[str, Any]) -> str:
    """The shares as Markdown, and what they are of."""
    head = "| where | share of the Python threads |"
    lines = [f"| {name} | {share:.1%} |" for name, share in report["shares"].items() if share >= 0.005]
    busiest = ", ".join(f"{each:.3f}" for each in report["busiest_threads_ms"])
    told = f"CPU: {report['cpu_ms']:.3f} ms a request, {report['callers']} at once; the busiest threads: {busiest}."
    return "\n".join([told, "", head, rule(head), *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, default=1, help="at once")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each look")
    parser.add_argument(
        "--graph", type=Path, default=RESULTS / "profile_request.svg", help="where the flame graph goes"
    )
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    given = parser.parse_args()
    report = run(given.callers, given.seconds, given.graph)
    deliver(report, table(report), to=given.json, keep=None)


if __name__ == "__main__":
    main()
