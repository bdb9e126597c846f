"""May replay be believed? How often its 95 % intervals hold the truth, and what its event replay makes of queues.

Worlds whose truth is known (`replay_worlds.py`): many logs of each are replayed, and every interval is compared with
what the target policy is really worth. With `--data` two of them are real: RouteLLM's prompts, which a weak and a
strong model both answered, and the arrivals of Azure's conversation trace, before one near server that cannot keep up.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import msgspec
import replay_worlds as worlds
from machine import describe_machine
from rich.console import Console
from rich.table import Table

from router.replay import audit, estimators, latency
from router.replay.evidence import weigh
from router.replay.logged import traffic
from router.replay.replayed import Clock
from router.replay.stations import stations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from policies.types import Constraints, Estimate
    from router.replay.logged import Logged
    from router.replay.targets import Choice

RESULT = Path(__file__).parent / "results" / "replay_honesty.json"
CELLS = ((2000, 0.2, 1), (5000, 0.1, 1), (10_000, 0.05, 1), (3000, 0.2, 5))  # requests, epsilon, requests a session
SHARES = (1.0, 0.8, 0.1)
WEAK_WINS = 400  # characters up to which the logging policy asks the weak model


class World(NamedTuple):
    """Prompts to draw from, the logging policy's favourite and the targets."""

    name: str
    draw: Callable[[int, random.Random, int], list[worlds.Prompt]]
    greedy: Callable[[worlds.Prompt], int]
    targets: dict[str, Callable[[worlds.Prompt], int]]
    truth: Callable[[Callable[[worlds.Prompt], int]], tuple[float, float]]


class Mixed:
    """A target that sends a share near, by chance."""

    version = "1"

    def __init__(self, share: float) -> None:
        self.name, self._share, self._rng = f"{share:.0%} near", share, random.Random(11)

    def choice(self, request: Logged) -> Choice:  # noqa: ARG002 -- as every target
        """With which probability each side is first."""
        return {arm: p for arm, p in (("near", self._share), ("far", 1 - self._share)) if p}

    def ranked(self, estimates: Sequence[Estimate], limits: Constraints) -> tuple[str, ...]:  # noqa: ARG002
        """One side and then the other, whatever is estimated."""
        return ("near", "far") if self._rng.random() < self._share else ("far", "near")


def made_up_world() -> World:
    """Three candidates, endless prompts."""
    endless = worlds.made_up(200_000, random.Random(0))

    def truth(target: Callable[[worlds.Prompt], int]) -> tuple[float, float]:
        return _worth(endless, target)

    return World(
        "made up",
        worlds.made_up,
        lambda p: 1 if p.predicted_usd[0] < 0.0016 else 0,
        {"second, if easier": lambda p: 1 if p.predicted_usd[0] < 0.0013 else 0, "always the second": lambda _: 1},
        truth,
    )


def real_world(file: Path) -> World:
    """Two models' answers to real prompts; a log draws from them with replacement, so they are the whole truth."""
    rows = duckdb.sql(f"SELECT weak_correct, strong_correct, length(prompt) FROM read_parquet('{file}')").fetchall()
    every = worlds.table(*zip(*rows, strict=True))
    short = 0.6e-6 * (WEAK_WINS / 4 + 100)
    return World(
        "RouteLLM",
        lambda n, rng, _: rng.choices(every, k=n),
        lambda p: 0 if p.usd[0] < short else 1,
        {
            "weak up to 600 characters": lambda p: 0 if p.usd[0] < 0.6e-6 * 250 else 1,
            "always weak": lambda _: 0,
            "always strong": lambda _: 1,
        },
        lambda target: _worth(every, target),
    )


def _worth(prompts: Sequence[worlds.Prompt], target: Callable[[worlds.Prompt], int]) -> tuple[float, float]:
    """What a target really costs and is worth, on average."""
    asked = [(p, target(p)) for p in prompts]
    return sum(p.usd[a] for p, a in asked) / len(asked), sum(p.right[a] for p, a in asked) / len(asked)


def coverage(world: World, cell: tuple[int, float, int], logs: int, wrong: float = 1.0) -> Iterator[dict[str, Any]]:
    """For each target and method how often its interval holds the truth, over many logs."""
    count, epsilon, per_session = cell
    for name, target in world.targets.items():
        truth = dict(zip(("price", "quality"), world.truth(target), strict=True))
        cells: dict[tuple[str, str], list[tuple[bool, float, float]]] = {}
        refusals: dict[str, int] = {}
        for n in range(logs):
            rng = random.Random(f"{world.name}{cell}{name}{n}")
            prompts = world.draw(count, rng, per_session)
            log = traffic(worlds.Logger(world.greedy, epsilon, wrong).log(prompts, rng))
            weighed = weigh(log.requests, [{str(target(p)): 1.0} for p in prompts])
            for quantity, true in truth.items():
                case = estimators.evidence(log, weighed, quantity)
                said = audit.objection(log.requests) or estimators.objection(case)
                if said:
                    refusals[said.partition(":")[0][:40]] = refusals.get(said.partition(":")[0][:40], 0) + 1
                    continue
                for figure in estimators.figures(case, anytime=False):
                    held = figure.low <= true <= figure.high
                    cells.setdefault((quantity, figure.method), []).append(
                        (held, (figure.high - figure.low) / 2, case.ess)
                    )
        for (quantity, method), seen in cells.items():
            yield {
                "world": world.name, "requests": count, "epsilon": epsilon, "per_session": per_session, "target": name,
                "quantity": quantity, "method": method, "logs": len(seen), "refused": logs - len(seen),
                "coverage": sum(held for held, _, _ in seen) / len(seen),
                "half_width": sum(half for _, half, _ in seen) / len(seen),
                "ess": sum(ess for _, _, ess in seen) / len(seen), "truth": truth[quantity],
            }  # fmt: skip
        if refusals:
            yield {"world": world.name, "requests": count, "epsilon": epsilon, "target": name, "refusals": refusals}


def queues(arrivals: Sequence[worlds.Arrival], share: float) -> list[dict[str, Any]]:
    """For each target: what really happens, what SNIPS says, and what event replay says, of one log."""
    log = traffic(worlds.live(arrivals, worlds.split(share, 1), share))
    as_price = traffic([msgspec.structs.replace(one, cost_usd=one.latency_ms) for one in log.requests])
    tick = Clock().tick
    here = latency.judge(log, stations(log.requests, tick), worlds.DEADLINE_MS, tick)
    found = []
    for near in SHARES:
        target = Mixed(near)
        real = worlds.live(arrivals, worlds.split(near, 2))
        weighed = weigh(log.requests, [target.choice(one) for one in log.requests])
        case = estimators.evidence(as_price, weighed, "price")
        snips = next(f for f in estimators.figures(case, anytime=False) if f.method == "snips")
        told = {f.quantity: f for f in latency.figures(here, target, tick)}  # type: ignore[arg-type]
        found.append(
            {
                "target": target.name,
                "truth_mean_ms": sum(one.latency_ms or 0.0 for one in real) / len(real),
                "truth_misses": sum((one.latency_ms or 0.0) > worlds.DEADLINE_MS for one in real) / len(real),
                "snips_mean_ms": (snips.estimate, snips.low, snips.high),
                "events_mean_ms": _three(told["latency_mean"]),
                "events_misses": _three(told["deadline_misses"]),
                "refusal": told["latency_mean"].refusal,
            }
        )
    return found


def _three(figure: Any) -> tuple[float | None, float | None, float | None]:
    return figure.estimate, figure.low, figure.high


def read_trace(file: Path, count: int) -> list[worlds.Arrival]:
    """The first arrivals of Azure's trace. One near server would have 1.85 times what it can serve."""
    with file.open() as lines:
        rows = list(csv.DictReader(lines))[:count]
    times = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows]
    sizes = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in rows]
    read, written = (sum(column) for column in zip(*sizes, strict=True))
    spare_ms = 1.85 * (times[-1] - times[0]) * 1000 - 0.05 * read
    made = [(at - times[0], *size) for at, size in zip(times, sizes, strict=True)]
    return worlds.from_trace(made, random.Random(4), max(1.0, spare_ms / written))


def report(options: argparse.Namespace) -> dict[str, Any]:
    """Everything measured."""
    known = [made_up_world()]
    arrivals = worlds.made_up_arrivals(options.requests, 1.85, random.Random(4))
    if options.data is not None:
        known.append(real_world(options.data / "routellm_weak_strong.parquet"))
        arrivals = read_trace(options.data / "azure_llm_trace_conv.csv", options.requests)
    cells = CELLS[: options.cells]
    rows = [
        row
        for world in known
        for cell in cells
        if world.name == "made up" or cell[2] == 1
        for row in coverage(world, cell, options.logs)
    ]
    wrong = list(coverage(known[0], (20_000, 0.1, 1), max(1, options.logs // 10), wrong=0.8))
    return {
        "machine": describe_machine(("duckdb",)),
        "logs": options.logs,
        "coverage": [row for row in rows if "coverage" in row],
        "refusals": [row for row in rows if "refusals" in row],
        "wrong_by_a_fifth": wrong,
        "arrivals": "Azure conversation trace" if options.data is not None else "at random",
        "events": queues(arrivals, 0.4),
    }


def show(made: dict[str, Any]) -> None:
    """The tables."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table(
        title=f"how often nominal 95 % intervals hold the truth, over {made['logs']} logs", title_justify="left"
    )
    for column in (
        "world",
        "requests",
        "epsilon",
        "a session",
        "target",
        "of",
        "by",
        "ESS",
        "covers",
        "+/-",
        "refused",
    ):
        table.add_column(column)
    for row in made["coverage"]:
        table.add_row(
            row["world"], f"{row['requests']}", f"{row['epsilon']}", f"{row['per_session']}", row["target"],
            row["quantity"], row["method"], f"{row['ess']:.0f}", f"{row['coverage']:.1%}", f"{row['half_width']:.3g}",
            f"{row['refused']}",
        )  # fmt: skip
    console.print(table)
    for row in [*made["refusals"], *made["wrong_by_a_fifth"]]:
        if "refusals" in row:
            console.print(f"{row['world']}, {row['requests']} requests, {row['target']}: {row['refusals']}")
    table = Table(title=f"latency where requests meet in a queue ({made['arrivals']})", title_justify="left")
    for column in ("target", "truth: mean", "late", "SNIPS: mean", "event replay: mean", "late"):
        table.add_column(column)
    for row in made["events"]:
        events = row["refusal"] or _seconds(row["events_mean_ms"])
        late = "" if row["refusal"] else f"{row['events_misses'][0]:.1%}"
        table.add_row(
            row["target"], f"{row['truth_mean_ms'] / 1000:.2f} s", f"{row['truth_misses']:.1%}",
            _seconds(row["snips_mean_ms"]), events, late,
        )  # fmt: skip
    console.print(table)


def _seconds(three: tuple[float, float, float]) -> str:
    return "{:.2f} s ({:.2f} .. {:.2f})".format(*(value / 1000 for value in three))


def main() -> None:
    """Measure, show, and keep what was measured where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="folder with routellm_weak_strong.parquet and azure_llm_trace_conv.csv"
    )
    parser.add_argument("--logs", type=int, default=500, help="logs of each cell")
    parser.add_argument("--cells", type=int, default=len(CELLS), help="how many of the cells")
    parser.add_argument("--requests", type=int, default=19_366, help="requests of the world with queues")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--save", action="store_true", help=f"keep the result in {RESULT.name}")
    options = parser.parse_args()
    made = report(options)
    if options.save:
        RESULT.write_text(f"{msgspec.json.format(msgspec.json.encode(made), indent=1).decode()}\n")
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
    else:
        show(made)


if __name__ == "__main__":
    main()
