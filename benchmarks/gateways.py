"""What does Nearfar add to a request, and how many does it serve? Beside LiteLLM's proxy and Portkey's gateway.

All stand before the same far side, which costs next to nothing, and get the same load in rounds of random order; who
is not asked is stopped by a signal. Nearfar asks for a key and logs every decision, and its log is counted afterwards.
The peers do neither.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import gateway_peers
import upstream
from delivery import deliver, rule, said
from gateway_peers import LITELLM, NEARFAR, PORTKEY, Gateway, Running, running
from goals import Spread, goal, shown, spread, told
from interruption import stoppable
from load import Measurement, Plan, measure
from machine import ROOT, describe_machine
from router_overhead import BODY, audit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RESULT = Path(__file__).parent / "results" / "gateways.json"
PACKAGES = ("nearfar", "litestar", "uvicorn", "httptools", "uvloop", "msgspec", "pyreqwest", "duckdb")
DIRECT = "no gateway"
CORES = len(os.sched_getaffinity(0))
WIDE, LITELLM_WIDE = (f"{name}, a worker a core" for name in (NEARFAR, LITELLM))
OURS = (NEARFAR, WIDE)
EVERYBODY = (*OURS, PORTKEY, LITELLM, LITELLM_WIDE)
TIMES = (  # one's requests/s, the other's, the goal
    (NEARFAR, LITELLM, 20.0),
    (WIDE, LITELLM_WIDE, 20.0),
    (NEARFAR, PORTKEY, 1.5),
    (WIDE, PORTKEY, 1.5),
)
CROWD = 16
ANSWER = upstream.COMPLETION["choices"][0]["message"]["content"]  # type: ignore[index]
ENOUGH = 1_000_000  # requests: no cell reaches it, its time is over before
HEAD = "| at once | gateway | p50 / p99 ms | added p50 ms | added p99 ms | requests/s | CPU ms/request | errors |"


class Options(NamedTuple):
    """What to measure: every gateway with so many at once, for so long, so often."""

    concurrency: list[int]
    rounds: int
    seconds: float
    seed: int


class Cell(NamedTuple):
    """One gateway, or none, with so many requests at once in one round."""

    round: int
    name: str
    concurrency: int
    answered: int
    p50_ms: float
    p99_ms: float
    rps: float
    sent: int
    errors: int
    cpu_ms: float | None  # of all its processes, per request sent; None of no gateway


# --- measuring ----------------------------------------------------------------------------------


def all_of(far: str, folder: Path, peers: Path) -> tuple[list[Gateway], list[str]]:
    """Every gateway that is installed, Nearfar first, and the names of those that are not."""
    ours = [
        gateway_peers.nearfar(far, made(folder, name), name, workers) for name, workers in ((NEARFAR, 1), (WIDE, CORES))
    ]
    found = {
        LITELLM: gateway_peers.litellm(LITELLM, 1, far, folder, peers),
        LITELLM_WIDE: gateway_peers.litellm(LITELLM_WIDE, CORES, far, folder, peers),
        PORTKEY: gateway_peers.portkey(far, peers),
    }
    there = [each for each in found.values() if each is not None]
    absent = [f"{name} (not installed)" for name, each in found.items() if each is None]
    return [*ours, *there], absent


def made(folder: Path, name: str) -> Path:
    """The folder of one of ours, which is there from now on."""
    own = folder / name.replace(" ", "-")
    own.mkdir(exist_ok=True)
    return own


def started(gateway: Gateway, stack: ExitStack, output: IO[str]) -> Running:
    """Start it, look whether it brings the far side's answer, and stop it where it stands.

    Raises:
        RuntimeError: It does not start, or brings another answer.
    """
    said(f"starting {gateway.name} {gateway.version}")
    party = stack.enter_context(running(gateway, output))
    with party.awake():
        party.answers(gateway.alive)
        if (answer := party.says(BODY)) != ANSWER:
            raise RuntimeError(f"{gateway.name} answers {answer!r}")
    return party


def warmed(party: Running) -> Measurement:
    """Two seconds of load of which only errors count."""
    with party.awake():
        return measure(plan_of(party.url, CROWD, 2.0, party.gateway.headers), BODY)


def plan_of(url: str, concurrency: int, seconds: float, headers: tuple[str, ...]) -> Plan:
    """Each connection asks twice before the clock starts."""
    return Plan(
        url=f"{url}/v1/chat/completions",
        concurrency=concurrency,
        requests=ENOUGH,
        warm_up=2 * concurrency,
        seconds=seconds,
        headers=headers,
    )


def measured(options: Options, far: str, parties: Mapping[str, Running]) -> Iterator[Cell]:
    """Every cell of every round; within a round those of one concurrency follow each other, in random order."""
    dice = random.Random(options.seed)
    names = [DIRECT, *parties]
    for number in range(1, options.rounds + 1):
        for concurrency in dice.sample(options.concurrency, len(options.concurrency)):
            for name in dice.sample(names, len(names)):
                if name == DIRECT:
                    found, cpu_s = measure(plan_of(far, concurrency, options.seconds, ()), BODY), None
                else:
                    found, cpu_s = asked(parties[name], concurrency, options.seconds)
                cell = cell_of(found, number, name, concurrency, cpu_s)
                said(f"round {number} c{concurrency} {name}: p50 {cell.p50_ms:.2f} ms, {cell.rps:.0f} requests/s")
                yield cell


def asked(party: Running, concurrency: int, seconds: float) -> tuple[Measurement, float]:
    """One cell, and the CPU seconds that all its processes took for it."""
    with party.awake():
        before_s = party.cpu_s()
        found = measure(plan_of(party.url, concurrency, seconds, party.gateway.headers), BODY)
        return found, party.cpu_s() - before_s


def cell_of(found: Measurement, number: int, name: str, concurrency: int, cpu_s: float | None) -> Cell:
    return Cell(
        round=number,
        name=name,
        concurrency=concurrency,
        answered=len(found.latencies_us),
        p50_ms=found.quantile_ms(0.5),
        p99_ms=found.quantile_ms(0.99),
        rps=found.rps,
        sent=found.sent,
        errors=found.errors,
        cpu_ms=None if cpu_s is None else cpu_s / max(found.sent, 1) * 1000,
    )


# --- reporting ----------------------------------------------------------------------------------


def run(options: Options, peers: Path) -> dict[str, Any]:
    """Measure everything; the report."""
    machine, began = describe_machine(PACKAGES), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder, tempfile.TemporaryFile("w+") as output:
        try:
            with ExitStack() as stack:
                far = stack.enter_context(upstream.served(upstream.COMMAND))
                gateways, absent = all_of(far.url, Path(folder), peers)
                parties = {each.name: started(each, stack, output) for each in gateways}
                warm_ups = {name: warmed(party) for name, party in parties.items()}
                cells = list(measured(options, far.url, parties))
                rss_mb = {name: party.rss_mb() for name, party in parties.items()}
                said("stopping Nearfar, which drains its log")
                status = [parties[name].end() for name in OURS]
        except BaseException:
            output.seek(0)
            sys.stderr.write(output.read()[-8000:])
            raise
        log = Counter[str]()
        for name in OURS:
            sent = 1 + warm_ups[name].sent + sum(cell.sent for cell in cells if cell.name == name)
            log.update(audit(made(Path(folder), name) / "decisions.duckdb", sent=sent))
    return {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *("DIR" if word == str(peers) else word for word in sys.argv)]),
        "machine": machine,
        "seconds": time.monotonic() - began,
        "versions": {each.name: each.version for each in gateways},
        "not_measured": absent,
        "settings": options._asdict(),
        "goals": goals(cells),
        "rss_mb": rss_mb,
        "log": log,
        "faults": faults(cells, warm_ups, log, status),
        "cells": [cell._asdict() for cell in cells],
    }


def goals(cells: list[Cell]) -> list[dict[str, Any]]:
    """The issue's goals, each with its figure, round by round."""
    found = []
    for field, name, limit in (("p50_ms", "p50", 1.0), ("p99_ms", "p99", 5.0)):
        more = {name: together(cells, added(field), concurrency=1, one=name, other=DIRECT) for name in EVERYBODY}
        ours = more.pop(NEARFAR)
        more.pop(WIDE)  # who asks alone is served by one worker
        found.append(goal(f"added at 1 caller, {name} ms", ours, limit, most=True, against=more))
    for one, other, limit in TIMES:
        times = together(cells, ratio, concurrency=CROWD, one=one, other=other)
        found.append(goal(f"requests/s at {CROWD} callers, {one}, times {other}", times, limit))
    return found


def together(
    cells: list[Cell], figure: Callable[[Cell, Cell], float], *, concurrency: int, one: str, other: str
) -> Spread | None:
    """A figure of two gateways' cells of the same round, over the rounds; None where one of them was not measured."""
    found = {(cell.round, cell.name): cell for cell in cells if cell.concurrency == concurrency}
    rounds = sorted({number for number, _ in found})
    pairs = [(found.get((number, one)), found.get((number, other))) for number in rounds]
    return spread(figure(mine, theirs) for mine, theirs in pairs if mine and theirs)


def added(field: str) -> Callable[[Cell, Cell], float]:
    """How much longer the one takes."""
    return lambda one, other: float(getattr(one, field) - getattr(other, field))


def ratio(one: Cell, other: Cell) -> float:
    """How many times the other's requests/s."""
    return one.rps / other.rps


def faults(
    cells: list[Cell], warm_ups: Mapping[str, Measurement], log: Mapping[str, int], status: list[int]
) -> list[str]:
    """What makes the run worth nothing. A peer's errors are told in the table, and are its own."""
    errors = sum(warm_ups[name].errors for name in OURS)
    errors += sum(cell.errors for cell in cells if cell.name in {*OURS, DIRECT})
    found = [f"{errors} requests failed"] if errors else []
    found += [f"{name}: {count}" for name, count in log.items() if count and name not in {"sent", "decisions"}]
    return found + [f"Nearfar ended with {each}" for each in status if each not in {0, -signal.SIGTERM}]


def table(report: dict[str, Any]) -> str:
    """The report as Markdown: what benchmarks/README.md holds."""
    cells = [Cell(**cell) for cell in report["cells"]]
    names = list(dict.fromkeys(cell.name for cell in cells))
    levels = report["settings"]["concurrency"]
    order = [name for name in (DIRECT, *EVERYBODY) if name in names]
    rows = [_row(cells, concurrency, name) for concurrency in levels for name in order]
    rss = ", ".join(f"{name} {rss_mb:.0f} MB" for name, rss_mb in report["rss_mb"].items())
    log = report["log"]
    below = (
        f"RSS afterwards, of all processes: {rss}. Versions: "
        f"{', '.join(f'{name} {version}' for name, version in report['versions'].items())}. "
        f"Nearfar's log: {log['sent']} requests sent, {log['decisions']} decisions. "
        f"Not measured: {', '.join(report['not_measured']) or 'nothing'}. "
        f"Faults: {'; '.join(report['faults']) or 'none'}."
    )
    return "\n".join([*told(report["goals"]), "", HEAD, rule(HEAD), *rows, "", below])


def _row(cells: list[Cell], concurrency: int, name: str) -> str:
    own = [cell for cell in cells if (cell.concurrency, cell.name) == (concurrency, name)]
    of: dict[str, Any] = {field: spread(getattr(cell, field) for cell in own) for field in ("p50_ms", "p99_ms", "rps")}
    cpu = spread(cell.cpu_ms for cell in own if cell.cpu_ms is not None)
    pair = {"concurrency": concurrency, "one": name, "other": DIRECT}
    p50, p99 = (
        "" if name == DIRECT else shown(together(cells, added(field), **pair)) for field in ("p50_ms", "p99_ms")
    )
    columns = [
        str(concurrency),
        name,
        f"{of['p50_ms']['median']:.2f} / {of['p99_ms']['median']:.2f}",
        p50,
        p99,
        shown(of["rps"]),
        "" if cpu is None else shown(cpu),
        str(sum(cell.errors for cell in own)),
    ]
    return f"| {' | '.join(columns)} |"


# --- the command --------------------------------------------------------------------------------


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="make the peers' environments that are not there yet")
    parser.add_argument("--peers", type=Path, default=gateway_peers.CACHE, metavar="DIR", help="where those are")
    parser.add_argument("--concurrency", default="1,16,64", help="how many at once, comma-separated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each cell")
    parser.add_argument("--seed", type=int, default=1, help="of the order within each round")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    parser.add_argument("--save", action="store_true", help=f"write the report to {RESULT.relative_to(ROOT)}")
    return parser.parse_args()


def main() -> int:
    """0 when every request to Nearfar was answered and logged, else 1."""
    given = parsed()
    levels = [int(text) for text in given.concurrency.split(",")]
    options = Options(concurrency=levels, rounds=given.rounds, seconds=given.seconds, seed=given.seed)
    if given.install:
        gateway_peers.install(given.peers)
    report = run(options, given.peers)
    deliver(report, table(report), to=given.json, keep=RESULT if given.save else None)
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(stoppable(main))
