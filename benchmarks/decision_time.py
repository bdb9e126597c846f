"""How long does a decision among ten candidates take, and what share of a request is that? Prediction is included.

A real house on fakes that answer at once, with every policy there is: `plan()` alone, its parts (finding, estimating,
the policy), a whole request through the dispatcher with the log on, and one over HTTP from a process of its own. What
is left of a request without a far side or a model is all overhead: no share can be larger. Beside the time on the clock
stands the time on the processor, which other processes and threads do not lengthen.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import upstream
from delivery import deliver, said
from load import Plan, measure
from machine import ROOT, describe_machine

from backends.types import GenerationInput, InferenceRequest, Message, Task
from policies.registry import names
from router.decision_log.log import DecisionLog
from router.errors import RouterError
from router.house import open_house
from router.request import Call, Routing
from router.settings import Secrets, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from policies.base import Policy
    from policies.types import Decision
    from router.http.services import Services

RESULT = Path(__file__).parent / "results" / "decision_time.json"
P50_US, P99_US = 250.0, 1000.0
MODEL, CANDIDATES, NEAR = "bench/chat", 10, 3
WARM_UP = 30
ROUNDS = 10
PACKAGES = ("msgspec", "litestar", "uvicorn", "duckdb")
HEADINGS = (
    "| policy | plan() p50 / p95 / p99 us | of it CPU | find | estimate | policy | rest "
    "| request in process p50 us | share | over HTTP p50 us | share | p50 <= 250, p99 <= 1000 us |"
)
CONFIG = """\
[log]
path = "{log}"
{budgets}[[models]]
id = "{model}"
task = "text-generation"
context_length = 8192
quality = 0.7
"""
BUDGETS = """\
[[budgets]]
scope = "global"
period = "day"
limit_usd = 1000.0
"""
CANDIDATE = """\
  [[models.candidates]]
  backend = "fake"
  provider = "side-{number}"
  script = {{ near = {near}, tokens = 8 }}
  price = {{ input_per_1m_usd = {price}, output_per_1m_usd = {price} }}
"""


class Options(NamedTuple):
    """How often each thing is measured."""

    decisions: int
    requests: int
    over_http: bool


class Timed:
    """A policy whose `decide` is timed, in nanoseconds."""

    def __init__(self, policy: Policy, spent: list[int]) -> None:
        self.name, self.version = policy.name, policy.version
        self.decide: Callable[..., Decision] = stopped(policy.decide, spent)


def stopped(call: Callable[..., Any], spent: list[int]) -> Callable[..., Any]:
    """The call, adding what each of its runs takes to the last figure of `spent`."""

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter_ns()
        try:
            return call(*args, **kwargs)
        finally:
            spent[-1] += time.perf_counter_ns() - began

    return timed


# --- the house ----------------------------------------------------------------------------------


def config(log: Path, *, budgets: bool) -> str:
    """Ten candidates of one model, three of them near, all of different prices; with `budgets`, a daily one."""
    sides = (
        CANDIDATE.format(number=number, near=str(number < NEAR).lower(), price=0.1 + number / 10)
        for number in range(CANDIDATES)
    )
    return CONFIG.format(log=log, model=MODEL, budgets=BUDGETS if budgets else "") + "".join(sides)


@asynccontextmanager
async def warm_house(folder: Path, *, budgets: bool) -> AsyncIterator[Services]:
    """An open house whose estimates were learnt: every candidate has answered some requests of several sizes."""
    path = folder / "nearfar.toml"
    path.write_text(config(folder / "decisions.duckdb", budgets=budgets), encoding="utf-8")
    settings = load(path)
    async with open_house(settings, Secrets(), DecisionLog.open(Path(settings.log.path))) as house:
        for number in range(CANDIDATES):
            for call in itertools.islice(calls(only=(f"side-{number}",)), WARM_UP):
                outcome = await house.dispatcher.infer(call)
                assert outcome.status == "ok", outcome.error
        yield house


def calls(**routing: Any) -> Iterator[Call]:
    """Requests of changing size, so that nothing is learnt by heart."""
    for number in itertools.count():
        words = "Which of two places should a request run in, near or far? " * (1 + number % 16)
        payload = GenerationInput(messages=(Message("user", words),), max_tokens=16 + number % 48)
        request = InferenceRequest(task=Task.TEXT_GENERATION, model=MODEL, payload=payload)
        wanted = Routing(**{"deadline_ms": 60_000.0} | routing)
        yield Call(request=request, routing=wanted, surface="bench", received=time.monotonic())


# --- measuring ----------------------------------------------------------------------------------


async def measured(options: Options) -> dict[str, dict[str, Any]]:
    """Every policy's figures; why not, where one cannot decide here. Where `budget` is, there is a daily budget."""
    found: dict[str, dict[str, Any]] = {}
    for paced in (False, True):
        with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
            await _measure(Path(folder), [name for name in names() if (name == "budget") is paced], options, found)
    return found


async def _measure(folder: Path, policies: list[str], options: Options, found: dict[str, dict[str, Any]]) -> None:
    """In rounds over the policies, so that a machine that is slow for a while is so for all of them."""
    async with warm_house(folder, budgets="budget" in policies) as house:
        for policy in policies:
            found[policy] = await trial(house, policy)
        able = [policy for policy in policies if "refused" not in found[policy]]
        taken = {policy: Taken() for policy in able}
        for number in range(ROUNDS):
            for policy in able:
                await taken[policy].more(house, policy, options)
            said(f"round {number + 1} of {ROUNDS}: {', '.join(able)}")
        for policy in able:
            found[policy] |= taken[policy].report()


async def trial(house: Services, policy: str) -> dict[str, Any]:
    """How many candidates the policy has here; why it has none."""
    try:
        plan = await house.dispatcher.plan(next(calls(policy=policy)))
    except RouterError as error:
        return {"refused": str(error)}
    if not plan.decision.ranked:
        return {"refused": plan.decision.reason}
    return {"candidates": len(plan.candidates), "eligible": len(plan.decision.ranked)}


class Taken:
    """Nanoseconds of one policy: of whole plans on the clock and on the processor, of their parts, of requests."""

    def __init__(self) -> None:
        self.wall: list[int] = []
        self.cpu: list[int] = []
        self.parts: dict[str, list[int]] = {"find": [], "estimate": [], "policy": [], "rest": []}
        self.requests: list[int] = []

    async def more(self, house: Services, policy: str, options: Options) -> None:
        """One round."""
        for call in itertools.islice(calls(policy=policy), options.decisions // ROUNDS):
            began, worked = time.perf_counter_ns(), time.thread_time_ns()
            await house.dispatcher.plan(call)
            self.cpu.append(time.thread_time_ns() - worked)
            self.wall.append(time.perf_counter_ns() - began)
        for name, taken in (await parts(house, policy, options.decisions // ROUNDS)).items():
            self.parts[name] += taken
        self.requests += await requests(house, policy, options.requests // ROUNDS)

    def report(self) -> dict[str, Any]:
        """Quantiles, and of the parts the medians, in microseconds."""
        return {
            "plan": quantiles(self.wall),
            "plan_cpu": quantiles(self.cpu),
            "parts": {f"{name}_us": statistics.median(taken) / 1000 for name, taken in self.parts.items()},
            "request": quantiles(self.requests),
        }


async def parts(house: Services, policy: str, times: int) -> dict[str, list[int]]:
    """Nanoseconds of the parts of each plan, and of what lies between them."""
    planner = house.dispatcher._planner  # noqa: SLF001 - a part of it is replaced by the same with a clock
    spent: dict[str, list[int]] = {"find": [], "estimate": [], "policy": []}
    chosen = planner.policy
    timed = Timed(chosen(next(calls(policy=policy))), spent["policy"])
    finder, estimator = house.finder, house.lessons.estimator
    replaced: list[tuple[object, str, Callable[..., Any]]] = [
        (finder, "for_request", stopped(finder.for_request, spent["find"])),
        (estimator, "estimate", stopped(estimator.estimate, spent["estimate"])),
        (planner, "policy", lambda _: timed),
    ]
    for owner, name, instead in replaced:
        setattr(owner, name, instead)
    whole = []
    try:
        for call in itertools.islice(calls(policy=policy), times):
            for each in spent.values():
                each.append(0)
            began = time.perf_counter_ns()
            await house.dispatcher.plan(call)
            whole.append(time.perf_counter_ns() - began)
    finally:
        for owner, name, _ in replaced:
            delattr(owner, name)
    return spent | {"rest": [all_ns - sum(each) for all_ns, *each in zip(whole, *spent.values(), strict=True)]}


async def requests(house: Services, policy: str, times: int) -> list[int]:
    """Nanoseconds of each request through the dispatcher: decided, answered by a fake at once, and logged."""
    taken = []
    for call in itertools.islice(calls(policy=policy), times):
        began = time.perf_counter_ns()
        outcome = await house.dispatcher.infer(call)
        taken.append(time.perf_counter_ns() - began)
        assert outcome.status == "ok", outcome.error
    return taken


def yardstick(times: int = 2000) -> float:
    """Median microseconds of processor time of a loop that never changes: how fast this machine was just now."""
    taken = []
    for _ in range(times):
        worked = time.thread_time_ns()
        sum(range(1000))
        taken.append(time.thread_time_ns() - worked)
    return statistics.median(taken) / 1000


def over_http(policies: list[str], times: int) -> dict[str, dict[str, float]]:
    """Each policy's requests to a server in a process of its own, one at a time, and what deciding took by its log."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
        log, path = Path(folder) / "decisions.duckdb", Path(folder) / "nearfar.toml"
        path.write_text(config(log, budgets=True), encoding="utf-8")
        command = [sys.executable, "-m", "router", "serve", "--config", str(path), "--port", "0"]
        with upstream.served(command, cwd=ROOT) as server:
            url = f"{server.url}/v1/inference"
            bodies = [body(policy=None, provider=f"side-{number}") for number in range(CANDIDATES)]
            measure(Plan(url=url, concurrency=1, requests=WARM_UP * CANDIDATES, warm_up=0), *bodies)
            for policy in policies:
                plan = Plan(url=url, concurrency=1, requests=times, warm_up=20)
                done = measure(plan, body(policy=policy, provider=None))
                assert done.errors == 0, f"{policy}: {done.errors} errors"
                found[policy] = {"p50_us": done.quantile_ms(0.5) * 1000, "p99_us": done.quantile_ms(0.99) * 1000}
                said(f"{policy}: over HTTP p50 {found[policy]['p50_us']:.0f} us")
            upstream.stop(server.process)
        with duckdb.connect(str(log), read_only=True) as con:
            decided = dict(con.execute("SELECT policy, median(decide_us) FROM decisions GROUP BY 1").fetchall())
    return {policy: figures | {"decide_p50_us": float(decided[policy])} for policy, figures in found.items()}


def body(policy: str | None, provider: str | None) -> bytes:
    routing = {"policy": policy, "only": [provider] if provider else [], "deadline_ms": 60_000}
    inputs = [{"role": "user", "content": "Which of two places should a request run in, near or far?"}]
    request = {"model": MODEL, "task": "text-generation", "inputs": inputs, "parameters": {"max_tokens": 16}}
    return json.dumps(request | {"routing": {name: value for name, value in routing.items() if value}}).encode()


# --- reporting ----------------------------------------------------------------------------------


def quantiles(taken_ns: list[int]) -> dict[str, float]:
    """Nearest ranks, in microseconds."""
    ranked = sorted(taken_ns)
    return {f"p{q}_us": ranked[max(0, math.ceil(q / 100 * len(ranked)) - 1)] / 1000 for q in (50, 95, 99)}


def run(options: Options) -> dict[str, Any]:
    machine, before_us = describe_machine(PACKAGES), yardstick()
    found = asyncio.run(measured(options))
    decided = [policy for policy, figures in found.items() if "plan" in figures]
    http = over_http(decided, options.requests) if options.over_http else {}
    for policy in decided:
        figures = found[policy]
        plan, request = figures["plan"], figures["request"]
        figures["share"] = plan["p50_us"] / request["p50_us"]
        figures["met"] = plan["p50_us"] <= P50_US and plan["p99_us"] <= P99_US
        if policy in http:
            figures["http"] = http[policy] | {"share": http[policy]["decide_p50_us"] / http[policy]["p50_us"]}
    return {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *sys.argv]),
        "machine": machine,
        "yardstick_us": {"before": before_us, "after": yardstick()},
        "settings": options._asdict() | {"candidates": CANDIDATES, "near": NEAR},
        "target": {"p50_us": P50_US, "p99_us": P99_US},
        "policies": found,
    }


def table(report: dict[str, Any]) -> str:
    lines = [HEADINGS, "|---|" + "---:|" * 10 + "---|"]
    for policy, figures in report["policies"].items():
        if "refused" in figures:
            lines.append(f"| {policy} | not here: {figures['refused']} |" + " |" * 10)
            continue
        plan, http = figures["plan"], figures.get("http")
        cells = [
            policy,
            *(" / ".join(f"{of[f'p{q}_us']:.0f}" for q in (50, 95, 99)) for of in (plan, figures["plan_cpu"])),
            *(f"{figures['parts'][f'{name}_us']:.0f}" for name in ("find", "estimate", "policy", "rest")),
            f"{figures['request']['p50_us']:.0f}",
            f"{figures['share']:.0%}",
            f"{http['p50_us']:.0f}" if http else "",
            f"{http['share']:.0%}" if http else "",
            "met" if figures["met"] else "not met",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    before, after = report["yardstick_us"].values()
    lines.append(f"\nsum(range(1000)) took {before:.1f} us of CPU before and {after:.1f} us after.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=5000, help="of each policy")
    parser.add_argument("--requests", type=int, default=2000, help="of each policy, in process and over HTTP")
    parser.add_argument("--no-http", action="store_true", help="leave the server out")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="write the report as JSON; no FILE: print it"
    )
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    report = run(Options(given.decisions, given.requests, over_http=not given.no_http))
    deliver(report, table(report), to=given.json, keep=RESULT if given.save else None)


if __name__ == "__main__":
    main()
