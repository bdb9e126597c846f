"""What does the router add to a request? The same far side, asked directly and through Nearfar, from outside.

In one run, per round and concurrency, in random order: load -> upstream, and load -> Nearfar (log on) -> upstream.
Added latency is the difference of their quantiles; afterwards the log must hold a row for every request sent.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import duckdb
import psutil
import upstream
from delivery import deliver, errors_last, said
from interruption import stoppable
from load import Measurement, Plan, measure
from machine import ROOT, describe_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULT = Path(__file__).parent / "results" / "router_overhead.json"
READY_S = 60.0
PACKAGES = ("litestar", "uvicorn", "httptools", "uvloop", "msgspec", "pyreqwest", "duckdb")

CONFIG = """\
[log]
path = "{log}"
durability = "{durability}"
[[providers]]
name = "upstream"
protocol = "openai"
base_url = "{upstream}/v1"
[[models]]
id = "bench/chat"
task = "text-generation"
  [[models.candidates]]
  backend = "remote"
  provider = "upstream"
  model = "bench-chat"
  price = {{ input_per_1m_usd = 0.1, output_per_1m_usd = 0.1 }}
"""
HEADINGS = (
    "| at once | direct p50 / p99 ms | proxied p50 / p99 ms | added p50 ms (min..max) | added p99 ms (min..max) "
    "| direct req/s | proxied req/s | ratio | router CPU ms/req | errors |"
)
BODY = json.dumps(
    {
        "model": "bench/chat",
        "messages": [
            {"role": "system", "content": "You answer in one sentence."},
            {"role": "user", "content": "Which of two places should a request run in, near or far?"},
        ],
        "max_tokens": 64,
    }
).encode()


class Options(NamedTuple):
    """What to measure: (concurrency, requests) pairs, each so many times."""

    levels: list[tuple[int, int]]
    rounds: int
    durability: str
    seed: int


class Cell(NamedTuple):
    """One path at one concurrency in one round."""

    round: int
    path: str
    concurrency: int
    requests: int
    p50_ms: float
    p99_ms: float
    rps: float
    sent: int
    errors: int
    router_cpu_ms: float | None  # CPU the router's process used per request, on all its threads; None when direct


class Router(NamedTuple):
    """Nearfar under test."""

    server: upstream.Served
    log: Path

    def cpu_s(self) -> float:
        """CPU seconds of the process so far."""
        times = psutil.Process(self.server.process.pid).cpu_times()
        return times.user + times.system


# --- the processes ------------------------------------------------------------------------------


@contextmanager
def nearfar(far: str, durability: str, errors: IO[str]) -> Iterator[Router]:
    """Nearfar with one model, served by the upstream, and a log in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
        log, config = Path(folder) / "decisions.duckdb", Path(folder) / "nearfar.toml"
        config.write_text(CONFIG.format(log=log, durability=durability, upstream=far), encoding="utf-8")
        command = [sys.executable, "-m", "router", "serve", "--config", str(config), "--port", "0"]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("NEARFAR_", "HF_", "HUGGING"))}
        with upstream.served(command, cwd=ROOT, env=clean | {"HF_HOME": folder}, stderr=errors) as server:
            await_ready(server)
            yield Router(server, log)


def await_ready(server: upstream.Served) -> None:
    """Connect until it says that it is ready.

    Raises:
        RuntimeError: it ended, or a minute passed.
    """
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/health/ready", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)  # between two tries, so that these do not take the CPU it starts with
    raise RuntimeError(f"{server.url} did not become ready, exit status {server.process.poll()}")


# --- measuring ----------------------------------------------------------------------------------


def run(options: Options) -> dict[str, Any]:
    """Measure everything; the report."""
    machine = describe_machine(PACKAGES)
    with (
        errors_last() as errors,
        upstream.served(upstream.COMMAND) as far,
        nearfar(far.url, options.durability, errors) as router,
    ):
        said(f"{far.url} behind {router.server.url}, log in {options.durability} durability")
        cells = list(measured(options, far.url, router))
        rss_mb = psutil.Process(router.server.process.pid).memory_info().rss / 1e6
        said("stopping the router, which drains its log")
        status = upstream.stop(router.server.process)
        log = audit(router.log, sent=sum(c.sent for c in cells if c.path == "proxied"))
    return {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *sys.argv]),
        "machine": machine,
        "settings": options._asdict(),
        "levels": [summary(cells, concurrency) for concurrency, _ in options.levels],
        "errors": sum(c.errors for c in cells),
        "log": log,
        "router": {"exit_status": status, "rss_mb": rss_mb},
        "cells": [c._asdict() for c in cells],
    }


def measured(options: Options, far: str, router: Router) -> Iterator[Cell]:
    """Every cell of every round. The two paths of a level follow each other, so that both see the same machine."""
    dice = random.Random(options.seed)
    urls = {"direct": far, "proxied": router.server.url}
    for number in range(1, options.rounds + 1):
        for concurrency, requests in dice.sample(options.levels, len(options.levels)):
            for path in dice.sample(sorted(urls), 2):
                plan = Plan(
                    url=f"{urls[path]}/v1/chat/completions",
                    concurrency=concurrency,
                    requests=requests,
                    warm_up=max(concurrency, requests // 10),
                )
                before_s = router.cpu_s()
                found = measure(plan, BODY)
                cell = cell_of(plan, found, number, path, router.cpu_s() - before_s)
                said(f"round {number} c{concurrency} {path}: p50 {cell.p50_ms:.2f} ms, {cell.rps:.0f} requests/s")
                yield cell


def cell_of(plan: Plan, found: Measurement, number: int, path: str, cpu_s: float) -> Cell:
    return Cell(
        round=number,
        path=path,
        concurrency=plan.concurrency,
        requests=plan.requests,
        p50_ms=found.quantile_ms(0.5),
        p99_ms=found.quantile_ms(0.99),
        rps=found.rps,
        sent=found.sent,
        errors=found.errors,
        router_cpu_ms=cpu_s / max(found.sent, 1) * 1000 if path == "proxied" else None,
    )


def audit(log: Path, *, sent: int) -> dict[str, int]:
    """Compare the log with what was sent. Anything but zeros after `decisions` is a fault."""
    with duckdb.connect(str(log), read_only=True) as con:
        found = con.execute("""
            SELECT sum(n), sum(unsettled), sum(gaps), sum(greatest(n - numbers, 0)), (SELECT count(*) FROM attempts)
            FROM (SELECT count(*) AS n, count(DISTINCT seq) AS numbers, count(*) FILTER (status = 'open') AS unsettled,
                         coalesce(max(seq), 0) - count(DISTINCT seq) AS gaps
                  FROM decisions GROUP BY boot_id)""").fetchone()
    assert found is not None
    decisions, unsettled, gaps, twice, attempts = (int(number or 0) for number in found)
    return {
        "sent": sent,
        "decisions": decisions,
        "rows_lost": sent - decisions,
        "attempts_lost": sent - attempts,
        "unsettled": unsettled,
        "seq_gaps": gaps,
        "seq_twice": twice,
    }


# --- reporting ----------------------------------------------------------------------------------


def summary(cells: list[Cell], concurrency: int) -> dict[str, Any]:
    """One concurrency over all rounds: medians of both paths, and of their differences, with the extremes."""
    direct, proxied = (
        sorted((c for c in cells if c.concurrency == concurrency and c.path == path), key=lambda c: c.round)
        for path in ("direct", "proxied")
    )
    return {
        "concurrency": concurrency,
        "requests": direct[0].requests,
        "direct": figures(direct),
        "proxied": figures(proxied) | {"router_cpu_ms": spread([c.router_cpu_ms or 0.0 for c in proxied])},
        "added": {
            "p50_ms": spread([p.p50_ms - d.p50_ms for d, p in zip(direct, proxied, strict=True)]),
            "p99_ms": spread([p.p99_ms - d.p99_ms for d, p in zip(direct, proxied, strict=True)]),
        },
        "rps_ratio": spread([p.rps / d.rps if d.rps else 0.0 for d, p in zip(direct, proxied, strict=True)]),
        "errors": sum(c.errors for c in direct + proxied),
    }


def figures(cells: list[Cell]) -> dict[str, Any]:
    return {
        "p50_ms": spread([c.p50_ms for c in cells]),
        "p99_ms": spread([c.p99_ms for c in cells]),
        "rps": spread([c.rps for c in cells]),
    }


def spread(values: list[float]) -> dict[str, float]:
    """The median over the rounds, and how far they lie apart."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def table(report: dict[str, Any]) -> str:
    """The report as Markdown: what benchmarks/README.md holds."""
    log = report["log"]
    below = (
        f"Rows lost: {log['rows_lost']} ({log['sent']} requests sent, {log['decisions']} decisions in the log; "
        f"{log['attempts_lost']} attempts lost, {log['unsettled']} unsettled, {log['seq_gaps']} gaps in `seq`). "
        f"Router RSS afterwards: {report['router']['rss_mb']:.0f} MB."
    )
    rule = "|---" * (HEADINGS.count("|") - 1) + "|"
    return "\n".join([HEADINGS, rule, *(_line(level) for level in report["levels"]), "", below])


def _line(level: dict[str, Any]) -> str:
    direct, proxied, added = level["direct"], level["proxied"], level["added"]
    columns = [
        str(level["concurrency"]),
        f"{direct['p50_ms']['median']:.2f} / {direct['p99_ms']['median']:.2f}",
        f"{proxied['p50_ms']['median']:.2f} / {proxied['p99_ms']['median']:.2f}",
        *("{median:.2f} ({min:.2f}..{max:.2f})".format(**added[name]) for name in ("p50_ms", "p99_ms")),
        f"{direct['rps']['median']:.0f}",
        f"{proxied['rps']['median']:.0f}",
        f"{level['rps_ratio']['median']:.3f}",
        f"{proxied['router_cpu_ms']['median']:.2f}",
        str(level["errors"]),
    ]
    return f"| {' | '.join(columns)} |"


# --- the command --------------------------------------------------------------------------------


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, help="per cell; by default 2000 one at a time, else 6000")
    parser.add_argument("--concurrency", default="1,16,64", help="how many at once, comma-separated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--durability", choices=["batch", "strict"], default="batch")
    parser.add_argument("--seed", type=int, default=1, help="of the order within each round")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    parser.add_argument("--save", action="store_true", help=f"write the report to {RESULT.relative_to(ROOT)}")
    return parser.parse_args()


def options_of(given: argparse.Namespace) -> Options:
    levels = [
        (int(text), given.requests or (2000 if int(text) == 1 else 6000)) for text in given.concurrency.split(",")
    ]
    return Options(levels=levels, rounds=given.rounds, durability=given.durability, seed=given.seed)


def main() -> int:
    """0 when every request was answered and logged, else 1."""
    given = parsed()
    report = run(options_of(given))
    deliver(report, table(report), to=given.json, keep=RESULT if given.save else None)
    faults = sum(abs(count) for name, count in report["log"].items() if name not in {"sent", "decisions"})
    return 1 if report["errors"] or faults else 0


if __name__ == "__main__":
    sys.exit(stoppable(main))
