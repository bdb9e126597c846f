"""What does it cost to leave one process? A model in it beside the same one behind HTTP, and in a Ray cluster.

First HTTP, then (with the extra `ray`) the cluster, then a decision log that is shipped beside one that is kept. In
each part all sides stand at once and take turns, round by round: every figure is a ratio of one round's two, so that
it holds on another machine as far as its shape does. On two cores nothing is twice as fast as on one process that
keeps them busy: what is shared is said beside the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import log_shipping
import psutil
import scale_ray
import upstream
from children import Group
from delivery import deliver, errors_last, rule, said
from goals import Spread, shown, spread
from interruption import stoppable
from load import Plan, measure
from machine import ROOT, describe_machine
from router_overhead import await_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESULT = Path(__file__).parent / "results" / "scale.json"
PACKAGES = (
    "litestar",
    "uvicorn",
    "httptools",
    "uvloop",
    "msgspec",
    "pyreqwest",
    "duckdb",
    "onnxruntime",
    "torch",
    "ray",
)
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
EMBEDDED, ENGINE = "embedded", "behind HTTP"
TEXT = "The quick brown fox jumps over the lazy dog, and then it does it again."
HEAD = "| figure | median (least..most of the rounds) |"

NEAR = """\
[log]
path = "{log}"
[routing]
policy = "local-only"
[local]
warm = ["{model}"]
"""
FAR = """\
[log]
path = "{log}"
[routing]
policy = "remote-first"
[[providers]]
name = "engine"
protocol = "openai"
base_url = "{engine}/v1"
[[models]]
id = "{model}"
task = "feature-extraction"
  [[models.candidates]]
  backend = "remote"
  provider = "engine"
  price = {{ per_request_usd = 0.0 }}
"""


class Options(NamedTuple):
    """How much is asked: so many requests by one caller, twice as many by a crowd, so many rounds of both.

    And how many decisions a log takes, at which rate, a round.
    """

    rounds: int
    requests: int
    callers: int
    decisions: int
    rate: float
    seed: int


class Side(Group):
    """One Nearfar, in a process group that is stopped while it is not its turn."""

    def __init__(self, name: str, server: upstream.Served, *behind: Side) -> None:
        self.name, self.url, self.process = name, server.url, server.process
        self._behind = behind

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Its turn, and that of whoever is behind it."""
        with ExitStack() as stack:
            for side in (*self._behind, self):
                stack.enter_context(side.awake())
            yield

    def cpu_s(self) -> float:
        """CPU seconds of its own process so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system


class Cell(NamedTuple):
    """One side in one round: one caller, or the crowd."""

    round: int
    side: str
    callers: int
    p50_ms: float
    rps: float
    cpu_ms: float  # of its own process, a request
    sent: int
    errors: int


# --- the sides ----------------------------------------------------------------------------------


@contextmanager
def nearfar(config: str, errors: IO[str], **words: str) -> Iterator[upstream.Served]:
    """A server with this configuration and a log of its own, ready to be asked."""
    with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
        path = Path(folder) / "nearfar.toml"
        path.write_text(config.format(log=Path(folder) / "log.duckdb", model=MODEL, **words), encoding="utf-8")
        command = [sys.executable, "-m", "router", "serve", "--config", str(path), "--port", "0"]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("NEARFAR_", "HF_", "HUGGING"))}
        with upstream.served(command, cwd=ROOT, env=clean | {"HF_HOME": folder}, stderr=errors) as server:
            await_ready(server)
            yield server


@contextmanager
def sides(errors: IO[str]) -> Iterator[list[Side]]:
    """The model in the server's own process; and a server that asks that one over HTTP."""
    with nearfar(NEAR, errors) as near, nearfar(FAR, errors, engine=near.url) as far:
        embedded = Side(EMBEDDED, near)
        found = [embedded, Side(ENGINE, far, embedded)]
        try:
            for side in found:
                side.pause()
            yield found
        finally:
            for side in found:
                side.send(signal.SIGCONT)


# --- measuring ----------------------------------------------------------------------------------


def measured(options: Options, found: list[Side]) -> Iterator[Cell]:
    """Every side's cells, in another order each round; the first round warms up and is not kept."""
    dice = random.Random(options.seed)
    for number in range(options.rounds + 1):
        for side in dice.sample(found, len(found)):
            for callers, requests in ((1, options.requests), (options.callers, 2 * options.requests)):
                cell = asked(side, number, callers, requests)
                if number:
                    said(f"round {number} {side.name}, {callers} at once: {cell.p50_ms:.2f} ms, {cell.rps:.0f}/s")
                    yield cell


def asked(side: Side, number: int, callers: int, requests: int) -> Cell:
    """One cell."""
    body = json.dumps({"model": MODEL, "input": TEXT, "encoding_format": "base64"}).encode()
    plan = Plan(url=f"{side.url}/v1/embeddings", concurrency=callers, requests=requests, warm_up=callers)
    with side.turn():
        before_s = side.cpu_s()
        came = measure(plan, body)
        cpu_ms = 1000 * (side.cpu_s() - before_s) / max(1, came.sent)
    return Cell(number, side.name, callers, came.quantile_ms(0.5), came.rps, cpu_ms, came.sent, came.errors)


# --- reporting ----------------------------------------------------------------------------------


def ratios(cells: list[Cell]) -> dict[str, Spread | None]:
    """What the rounds say of one side beside the other."""
    alone, crowd = min(cell.callers for cell in cells), max(cell.callers for cell in cells)
    by = {(cell.round, cell.side, cell.callers): cell for cell in cells}
    rounds = sorted({cell.round for cell in cells})

    def each(callers: int, of: Callable[[Cell, Cell], float]) -> Spread | None:
        return spread(of(by[n, ENGINE, callers], by[n, EMBEDDED, callers]) for n in rounds)

    return {
        "p50 of one caller, behind HTTP / embedded": each(alone, lambda far, near: far.p50_ms / near.p50_ms),
        "ms that HTTP adds to one caller's request": each(alone, lambda far, near: far.p50_ms - near.p50_ms),
        "throughput of a crowd, behind HTTP / embedded": each(crowd, lambda far, near: far.rps / near.rps),
        "CPU of the router alone, of a crowd's request, behind HTTP / embedded": each(
            crowd, lambda far, near: far.cpu_ms / near.cpu_ms
        ),
    }


def shipped(found: dict[str, Any]) -> dict[str, Spread | None]:
    """What shipping a decision log costs."""
    return {
        "CPU of a decision, log shipped / kept": found["cpu_times"],
        "rows a second that are shipped in bulk": found["rows_per_s"],
    }


def run(options: Options) -> dict[str, Any]:
    """Measure everything; the report."""
    machine = describe_machine(PACKAGES)
    with errors_last() as errors, sides(errors) as found:
        cells = list(measured(options, found))
    cluster = scale_ray.run(options.rounds, options.requests, options.callers)
    dice = random.Random(options.seed)
    shipping = log_shipping.shipping(options.decisions, options.rate, options.rounds, dice)
    return {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *sys.argv]),
        "machine": machine,
        "settings": options._asdict(),
        "ratios": ratios(cells) | ({} if cluster is None else cluster["ratios"]) | shipped(shipping),
        "errors": sum(cell.errors for cell in cells),
        "faults": shipping["faults"],
        "cells": [cell._asdict() for cell in cells],
        "ray": cluster,
        "shipping": shipping,
    }


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [f"| {what} | {shown(value)} |" for what, value in report["ratios"].items()]
    lacks = [] if report["ray"] else ["", "Ray was not asked: the extra `ray` is not installed."]
    return "\n".join([HEAD, rule(HEAD), *lines, *lacks, *report["faults"]])


def main() -> int:
    """0 when every request was answered, and every row shipped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=100, help="of one caller, a round; a crowd asks twice as many")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--decisions", type=int, default=4000, help="that a log takes, a round")
    parser.add_argument("--rate", type=float, default=500.0, help="of them, a second")
    parser.add_argument("--seed", type=int, default=1, help="of the order within each round")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    parser.add_argument("--save", action="store_true", help=f"write the report to {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    report = run(Options(**{name: getattr(given, name) for name in Options._fields}))
    deliver(report, table(report), to=given.json, keep=RESULT if given.save else None)
    return 1 if report["errors"] or report["faults"] else 0


if __name__ == "__main__":
    sys.exit(stoppable(main))
