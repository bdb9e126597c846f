"""What reaches callers when the far side fails? Goodput, latency and cost per good answer, by share of faults.

A scripted far side (lognormal latencies, seeded) fails a share of its requests: a 500, a reset, silence, or an answer
cut in the middle. In one run, per round and in random order: callers ask it directly, and through Nearfar with a second
far side or with this machine behind it, hedged or not. Text is streamed; hedging of text is asked for, which by default
it is not. What each answer cost is read from the decision logs afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import faults_arms
import httpx
import upstream
from delivery import deliver, errors_last, said
from faults_arms import ARMS, DIRECT, LIMIT_S, TASKS
from faults_load import Answer, Asked, ask_all, text_of
from faults_report import Cell, charts, summary, table
from interruption import stoppable
from machine import ROOT, describe_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from faults_load import Answer

RESULT = Path(__file__).parent / "results" / "faults.json"
PACKAGES = ("litestar", "uvicorn", "pyreqwest", "duckdb", "torch", "transformers")
NEVER = 0.0  # a share of faults
LOAD_S = 300.0
WARM_UP = 40  # requests of each cell, so that the usual latency of its far sides is known; neither timed nor counted


@dataclass(frozen=True)
class Options:
    """What to measure."""

    shares: Sequence[float]  # percent
    requests: int
    callers: int
    rounds: int
    warm_up: int
    seed: int


@dataclass(frozen=True)
class Bill:
    """What the log says of one request."""

    cost_usd: float
    unknown: int  # attempts whose cost is not known
    attempts: int
    hedges: int


def run(options: Options) -> dict[str, Any]:
    """Measure everything; the report."""
    machine = describe_machine(PACKAGES)
    with (
        errors_last() as errors,
        tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder,
        ExitStack() as servers,
    ):
        far = servers.enter_context(faults_arms.provider(sorted({NEVER, *options.shares}), options.seed))
        routers = {
            hedging: servers.enter_context(faults_arms.router(far.url, Path(folder), hedging, options.shares, errors))
            for hedging in sorted({arm.hedging for arm in ARMS})
        }
        answered = asyncio.run(_measured(options, far.url, {name: each.url for name, each in routers.items()}))
        said("stopping the routers, which drain their logs")
        for each in routers.values():
            upstream.stop(each.process)
        bills = {key: bill for name in routers for key, bill in _bills(Path(folder) / f"{name}.duckdb").items()}
    cells = [cell_of(*each, bills) for each in answered]
    return {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *sys.argv]),
        "machine": machine,
        "settings": options.__dict__,
        "summary": summary(cells),
        "cells": [cell.__dict__ for cell in cells],
    }


Measured = tuple[dict[str, Any], list["Answer"], float]


async def _measured(options: Options, far: str, routers: Mapping[str, str]) -> list[Measured]:
    """Every cell of every round, in an order drawn anew: what it was, its answers, and its seconds."""
    limits = httpx.Limits(max_connections=options.callers * 2)
    async with httpx.AsyncClient(timeout=None, limits=limits) as client:  # a caller's patience is its own
        whole = await text_of(client, Asked(far, "chat", f"mixed-{NEVER:g}"))
        await _load_near(client, options, routers)
        return [each async for each in _rounds(client, options, far, routers, whole)]


async def _load_near(client: httpx.AsyncClient, options: Options, routers: Mapping[str, str]) -> None:
    """Have every near model loaded before anything is timed.

    Raises:
        RuntimeError: one does not answer.
    """
    for arm in (arm for arm in ARMS if arm.second == "near"):
        for task, share in ((task, share) for task in TASKS for share in options.shares):
            asked = Asked(routers[arm.hedging], task, arm.model(task, share), LOAD_S, near=True)
            (answer,) = await ask_all(client, asked, requests=1, callers=1)
            if answer.ended != "ok":
                raise RuntimeError(f"near {task} of {arm.name!r}: {answer.ended}")


async def _rounds(
    client: httpx.AsyncClient, options: Options, far: str, routers: Mapping[str, str], text: str
) -> AsyncIterator[Measured]:
    dice = random.Random(options.seed)
    cells = [(task, share) for task in TASKS for share in options.shares]
    for number in range(1, options.rounds + 1):
        for task, share in dice.sample(cells, len(cells)):
            for arm in dice.sample([None, *ARMS], len(ARMS) + 1):
                if arm is None:
                    asked = Asked(far, task, f"mixed-{share:g}", LIMIT_S * 2, text)
                else:
                    asked = Asked(routers[arm.hedging], task, arm.model(task, share), text=text)
                what = {"round": number, "task": task, "share": share, "arm": DIRECT if arm is None else arm.name}
                if number == 1 and arm is not None:
                    await ask_all(client, asked, requests=options.warm_up, callers=options.callers)
                began = asyncio.get_running_loop().time()
                answers = await ask_all(client, asked, requests=options.requests, callers=options.callers)
                wall_s = asyncio.get_running_loop().time() - began
                good = sum(answer.ended == "ok" for answer in answers)
                said(f"round {number} {task} {share:g} % {what['arm']}: {good}/{len(answers)} in {wall_s:.1f} s")
                yield what, answers, wall_s


def _bills(log: Path) -> dict[str, Bill]:
    """By decision, what its attempts cost: all of them, also those that failed or lost a hedge."""
    with duckdb.connect(str(log), read_only=True) as con:
        rows = con.execute("""
            SELECT decision_id::VARCHAR, coalesce(sum(cost_usd), 0), count(*) FILTER (cost_usd IS NULL), count(*),
                   count(*) FILTER (role = 'hedge')
            FROM attempts GROUP BY decision_id""").fetchall()
    return {key: Bill(*rest) for key, *rest in rows}


def cell_of(what: dict[str, Any], answers: list[Answer], wall_s: float, bills: Mapping[str, Bill]) -> Cell:
    """One cell: what its callers got, and what the log says it cost. Without a router nobody kept a log."""
    found = [bills[answer.decision_id] for answer in answers if answer.decision_id is not None]
    ends: dict[str, int] = {}
    for answer in answers:
        ends[answer.ended] = ends.get(answer.ended, 0) + 1
    logged = what["arm"] != DIRECT
    return Cell(
        **what,
        requests=len(answers),
        ends=ends,
        wall_s=wall_s,
        good_ms=sorted(answer.taken_s * 1000 for answer in answers if answer.ended == "ok"),
        cost_usd=sum(bill.cost_usd for bill in found) if logged else None,
        unknown_costs=sum(bill.unknown for bill in found) if logged else None,
        attempts=sum(bill.attempts for bill in found) if logged else None,
        hedges=sum(bill.hedges for bill in found) if logged else None,
    )


# --- the command --------------------------------------------------------------------------------


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", default="0,1,5,20", help="percent of far requests that fail, comma-separated")
    parser.add_argument("--requests", type=int, default=300, help="of a cell in a round")
    parser.add_argument("--callers", type=int, default=8, help="at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="of latencies, faults and the order within each round")
    parser.add_argument("--quick", action="store_true", help="does it run? 24 requests, one round, 0 and 20 percent")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    parser.add_argument("--plot", metavar="FILE", help="write the charts as SVG")
    parser.add_argument("--save", action="store_true", help=f"write both beside {RESULT.relative_to(ROOT)}")
    return parser.parse_args()


def options_of(given: argparse.Namespace) -> Options:
    if given.quick:
        return Options(shares=[0, 20], requests=24, callers=8, rounds=1, warm_up=8, seed=given.seed)
    shares = [float(text) for text in given.shares.split(",")]
    return Options(shares, given.requests, given.callers, given.rounds, WARM_UP, given.seed)


def main() -> int:
    """0 when no arm with a router took a broken answer for a success, else 1."""
    given = parsed()
    report = run(options_of(given))
    deliver(report, table(report), to=given.json, keep=RESULT if given.save else None)
    plots = [given.plot, RESULT.with_suffix(".svg") if given.save else None]
    for file in (plot for plot in plots if plot is not None):
        Path(file).write_text(charts(report), encoding="utf-8")
    routed = [cell for cell in report["cells"] if cell["arm"] != DIRECT]
    return 1 if any("false success" in cell["ends"] for cell in routed) else 0


if __name__ == "__main__":
    sys.exit(stoppable(main))
