"""How much of what a clairvoyant would make of a real arrival trace the policies make, and others beside them.

`python benchmarks/policy_regret.py TRACE.csv [--live SECONDS [--pace 10]] [--json FILE|-] [--save]`

TRACE.csv is one of the Azure LLM inference traces of 2023 (TIMESTAMP, ContextTokens, GeneratedTokens; CC-BY 4.0). The
near place takes what the near chat model was measured to take here, just before. Utility is what an answer in time is
worth less what it cost. `--live` sends a part of the trace through the real server as well: faster, as its sizes, times
and values are that much smaller, and with the trace's lengths as limits, as a real near model stops nowhere else.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delivery import deliver, said
from machine import describe_machine
from regret_choosers import (
    Clairvoyant,
    LeastBusy,
    LowestListPrice,
    LowestMeanLatency,
    Product,
    Random,
    RoundRobin,
)
from regret_live import Live, far_side, replayed, router
from regret_near import measured
from regret_simulation import simulate
from regret_world import FAR, MOST_OUTPUT, Place, World, hastened, read_trace, thinned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from regret_simulation import Chooser, Done

    Arms = dict[str, Callable[[World, int], Chooser]]

POLICIES = ("balanced", "slo")
OTHERS = ("random", "round-robin", "least-busy", "lowest-mean-latency", "lowest-list-price")
NEAR_PRICES = (0.0, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5)  # dollars a second that the oracle is tried with; the best one counts
SAMPLE = 24  # requests of the trace that the near place is measured with
WATTS, USD_PER_KWH = 15.0, 0.30  # of the near machine while busy: an owned one, which costs its energy


def main() -> None:
    options = _options()
    trace = read_trace(options.trace)
    near = measured(random.Random(1).sample(trace, SAMPLE), usd_per_hour=WATTS / 1000 * USD_PER_KWH)
    places = (near, *FAR)
    requests = thinned(trace, near, options.load)
    report: dict[str, Any] = {
        "machine": describe_machine(["nearfar", "xllamacpp", "torch"]),
        "trace": options.trace.name,
        "options": {key: value for key, value in vars(options).items() if key not in {"trace", "json", "save"}},
        "near": {"per_input_s": near.per_input_s, "per_output_s": near.per_output_s, "first_s": near.first_s},
        "requests": len(requests),
        "near_load": sum(near.expected_s(request) for request in requests) / requests[-1].at_s,
        "simulated": _simulated(requests, places, options),
    }
    if options.live:
        report["live"] = _live(requests, places, options)
    told = _told(report, options)
    deliver(report, told, to=options.json, keep=_kept() if options.save else None)


def _simulated(requests: Sequence[Any], places: Sequence[Place], options: argparse.Namespace) -> dict[str, Any]:
    """Every arm over several worlds: the mean of each figure, and the utility's extremes."""
    arms: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        world = World(requests, places, seed)
        for name, chooser in _arms(options).items():
            done = simulate(world, chooser(world, seed), deadline_s=options.deadline, max_tokens=MOST_OUTPUT)
            arms.setdefault(name, []).append(_figures(done, options.value))
        arms.setdefault("oracle", []).append(_oracle(world, options.deadline, options.value))
    best = [figures["utility"] for figures in arms["oracle"]]
    return {name: _over_worlds(figures, best) for name, figures in arms.items()}


def _arms(options: argparse.Namespace) -> Arms:
    def product(policy: str) -> Callable[[World, int], Chooser]:
        return lambda world, seed: Product(
            policy,
            world.places,
            deadline_s=options.deadline,
            max_tokens=MOST_OUTPUT,
            explore=options.explore,
            seed=seed,
        )

    return {name: product(name) for name in POLICIES} | _others()


def _others() -> Arms:
    return {
        "random": lambda world, seed: Random(world.places, seed),
        "round-robin": lambda world, _: RoundRobin(world.places),
        "least-busy": lambda world, seed: LeastBusy(world.places, seed),
        "lowest-mean-latency": lambda world, _: LowestMeanLatency(world.places),
        "lowest-list-price": lambda world, _: LowestListPrice(world.places),
    }


def _oracle(world: World, deadline_s: float, value_usd: float) -> dict[str, float]:
    """The best of the clairvoyants."""
    seers = (
        Clairvoyant(world, deadline_s=deadline_s, value_usd=value_usd, near_usd_per_s=price) for price in NEAR_PRICES
    )
    found = [
        _figures(simulate(world, seer, deadline_s=deadline_s, max_tokens=MOST_OUTPUT), value_usd) for seer in seers
    ]
    return max(found, key=lambda figures: figures["utility"])


def _figures(done: Sequence[Done], value_usd: float) -> dict[str, float]:
    count, ranked = len(done), sorted(one.latency_s for one in done)
    shares = Counter(one.place.name for one in done)
    return {
        "in_time": sum(one.in_time for one in done) / count,
        "mean_s": statistics.fmean(ranked),
        "p95_s": ranked[int(0.95 * (count - 1))],
        "cost_per_1000_usd": 1000 * sum(one.cost_usd for one in done) / count,
        "utility": 1000 * sum(value_usd * one.in_time - one.cost_usd for one in done) / count,
        "near_share": shares["near"] / count,
    }


def _over_worlds(figures: Sequence[dict[str, float]], best: Sequence[float]) -> dict[str, float]:
    ratios = [one["utility"] / most for one, most in zip(figures, best, strict=True)]
    means = {name: statistics.fmean(one[name] for one in figures) for name in figures[0]}
    return means | {"of_oracle": statistics.fmean(ratios), "least": min(ratios), "most": max(ratios)}


def _live(requests: Sequence[Any], places: Sequence[Place], options: argparse.Namespace) -> dict[str, Any]:
    """A part of the trace through a real server an arm; the clairvoyant meets the same part in simulation.

    All of it `pace` times as fast, deadline and value of an answer included.
    """
    quick, there = hastened(requests, places, options.pace)
    part = [request for request in quick if request.at_s <= options.live]
    world = World(part, there, seed=0, pace=options.pace)
    deadline_s, value_usd = options.deadline / options.pace, options.value / options.pace
    arms: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, far_side(world, Path(name)) as far:
        for arm in (*POLICIES, *OTHERS):
            folder = Path(name) / arm
            folder.mkdir()
            with (folder / "errors").open("w") as errors, router(far.url, world, folder, errors) as server:
                chooser = None if arm in POLICIES else _others()[arm](world, 0)
                live = Live(arm if arm in POLICIES else None, chooser, deadline_s)
                arms[arm] = _figures(asyncio.run(replayed(server.url, world, live)), value_usd)
            said(f"{arm}: {arms[arm]['in_time']:.1%} in time")
    arms["oracle"] = _oracle(world, deadline_s, value_usd)
    return {"requests": len(part), "arms": {k: _over_worlds([v], [arms["oracle"]["utility"]]) for k, v in arms.items()}}


def _told(report: dict[str, Any], options: argparse.Namespace) -> str:
    near = report["near"]
    lines = [
        f"{report['requests']} requests, for near alone {report['near_load']:.2f} times what it can serve.",
        f"Deadline {options.deadline:g} s; an answer in time is worth ${options.value:g}.",
        f"Near, as measured: {1 / near['per_output_s']:.0f} tokens/s written, {1 / near['per_input_s']:.0f} read.",
        "",
        f"Simulated, {options.seeds} worlds, exploration {options.explore:g}:",
        "",
        *_table(report["simulated"]),
    ]
    if "live" in report:
        lines += [
            "",
            f"Through the real server, {options.pace:g} times as fast, {report['live']['requests']} requests:",
            "",
            *_table(report["live"]["arms"]),
        ]
    return "\n".join(lines)


def _table(arms: dict[str, dict[str, float]]) -> list[str]:
    head = "| | of the oracle's utility | in time | mean s | p95 s | $ / 1000 | near |"
    rows = [
        f"| {name} | {a['of_oracle']:.1%} ({a['least']:.1%}..{a['most']:.1%}) | {a['in_time']:.1%} | "
        f"{a['mean_s']:.2f} | {a['p95_s']:.2f} | {a['cost_per_1000_usd']:.4f} | {a['near_share']:.0%} |"
        for name, a in sorted(arms.items(), key=lambda item: -item[1]["of_oracle"])
    ]
    return [head, "|---|---|---|---|---|---|---|", *rows]


def _kept() -> Path:
    return Path(__file__).parent / "results" / "policy_regret.json"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path, help="a CSV of the trace")
    parser.add_argument("--deadline", type=float, default=15.0, help="seconds an answer may take")
    parser.add_argument("--value", type=float, default=0.001, help="dollars that an answer in time is worth")
    parser.add_argument("--load", type=float, default=1.85, help="all of it near, in what near can serve")
    parser.add_argument("--explore", type=float, default=0.05, help="share of the policies' decisions left to chance")
    parser.add_argument("--seeds", type=int, default=5, help="worlds to simulate")
    parser.add_argument("--live", type=float, default=0.0, help="seconds of the trace through the real server")
    parser.add_argument("--pace", type=float, default=10.0, help="how much faster than the trace that part is")
    parser.add_argument("--json", metavar="FILE", help="write the report there; - is standard output")
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
