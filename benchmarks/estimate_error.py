"""How far are predictions of latency off, and do their quantiles keep their word? Far simulated, near for real.

Far: four far sides whose delays drift, jump, have two modes and heavy tails (`far_process.py`), asked through the real
estimator, answers coming in as late as they take. Their distributions are known, so the error of the best predictor
there can be is, too. Near: a house in this process, with MiniLM and SmolLM2, asked for many sizes, alone and several
at once. Also: what predicting and learning cost. Exit status 1 when a bound that is stated in the tables is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import charts
import far_run
import near_run
from delivery import deliver, rule, said
from far_process import PROCESSES, Request
from machine import ROOT, describe_machine

from backends.types import Timings, Usage
from router.estimates import Asked, Estimator
from router.pricing import local_rates
from router.sections import Price

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from far_run import Point
    from near_run import Near

    from policies.types import Quantiles

RESULT = Path(__file__).parent / "results" / "estimate_error.json"
PACKAGES = ("torch", "onnxruntime", "duckdb", "msgspec", "numpy")
SHARES = {"p50_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99}
FAR_SKIPPED, NEAR_SKIPPED = 50, 200  # observations of each candidate before the count begins
MOST_OVER_BEST, MOST_NEAR_ERROR, COVERED, MOST_US = 1.10, 0.15, (0.93, 0.97), 20.0
BASELINES = {
    "ten-sample mean": lambda p: p.ten_mean_s,
    "EWMA": lambda p: p.ewma_s,
    "shape x one factor": lambda p: p.one_factor_s,
}
BLOCK = 200  # observations a point of the plot stands for


# --- measuring ----------------------------------------------------------------------------------


def error(pairs: Sequence[tuple[float | None, float]]) -> float | None:
    """The median of |predicted - observed| / observed; None where nothing was predicted."""
    known = [abs(predicted - seconds) / seconds for predicted, seconds in pairs if predicted is not None]
    return statistics.median(known) if known else None


def coverage(pairs: Sequence[tuple[Quantiles | None, float]]) -> dict[str, float | None]:
    """The share of what was observed that lay below each predicted quantile."""
    known = [(latency, seconds) for latency, seconds in pairs if latency is not None]
    if not known:
        return dict.fromkeys(SHARES)
    return {name: sum(s <= getattr(q, name) for q, s in known) / len(known) for name in SHARES}


def far(seeds: Sequence[int], each: int) -> dict[str, Any]:
    """Every far side over all seeds, and all of them together; the coverage of p95 over time."""
    points: list[Point] = []
    for seed in seeds:
        points += far_run.run(seed, each)
        said(f"far: seed {seed} is done")
    counted = [point for point in points if point.number >= FAR_SKIPPED]
    rows = [_far_row(process.name, [p for p in counted if p.name == process.name]) for process in PROCESSES]
    blocks = range(0, each, BLOCK)
    over_time = {
        process.name: [
            coverage(
                [(p.latency, p.seconds) for p in points if p.name == process.name and start <= p.number < start + BLOCK]
            )["p95_s"]
            for start in blocks
        ]
        for process in PROCESSES
    }
    return {"rows": [*rows, _far_row("all", counted)], "blocks": list(blocks), "p95_over_time": over_time}


def _far_row(name: str, points: list[Point]) -> dict[str, Any]:
    best = error([(p.best_s, p.seconds) for p in points])
    assert best
    return {
        "name": name,
        "requests": len(points),
        "error": (mine := error([(p.predicted_s, p.seconds) for p in points])),
        "best_error": best,
        "over_best": (mine or 0.0) / best,
        "baselines": {
            label: (error([(of(p), p.seconds) for p in points]) or 0.0) / best for label, of in BASELINES.items()
        },
        "coverage": coverage([(p.latency, p.seconds) for p in points]),
        "p95_over_median": statistics.median(p.latency.p95_s / p.latency.p50_s for p in points if p.latency),
    }


async def near(arms: Sequence[near_run.Arm], seed: int, models: Path | None) -> list[dict[str, Any]]:
    """A row per arm: of what came after the first 200 requests of a model."""
    found: dict[str, list[Near]] = {}
    async for one in near_run.run(arms, seed, models):
        found.setdefault(one.arm, []).append(one)
    rows, learnt = [], set()
    for arm in arms:
        skipped = 0 if arm.model in learnt else min(NEAR_SKIPPED, arm.requests - 1)
        learnt.add(arm.model)
        rows.append(_near_row(arm.name, found[arm.name], skipped))
    return rows


def _near_row(name: str, asked: list[Near], skipped: int) -> dict[str, Any]:
    """Baselines know every answer that came before this one, also those that came after it was asked."""
    baselines = far_run.Baselines()
    naive: list[tuple[float | None, float | None, float]] = []
    for one in asked:
        mean_s, moving_s, _ = baselines.predicted(1.0)
        naive.append((mean_s, moving_s, one.seconds))
        baselines.observe(one.seconds, 1.0)
    points = asked[skipped:]
    streamed = [(p.first_token, p.first_token_s) for p in points if p.first_token_s is not None]
    return {
        "name": name,
        "requests": len(points),
        "skipped": skipped,
        "median_ms": statistics.median(p.seconds for p in points) * 1000,
        "error": error([(p.predicted_s, p.seconds) for p in points]),
        "ten_mean_error": error([(mean_s, seconds) for mean_s, _, seconds in naive[skipped:]]),
        "ewma_error": error([(moving_s, seconds) for _, moving_s, seconds in naive[skipped:]]),
        "coverage": coverage([(p.latency, p.seconds) for p in points]),
        "first_token_error": error([(q and q.p50_s, s) for q, s in streamed]),
        "first_token_p95": coverage(streamed)["p95_s"],
    }


def cost(rounds: int = 2000) -> dict[str, float]:
    """Microseconds of CPU a candidate: predicting, and learning of one answer. The least of five tries."""
    estimator = Estimator(local_rates(None, 2), runtime_started=lambda: False)
    price = Price(input_per_1m_usd=1.0, output_per_1m_usd=2.0)
    candidates = [far_run.candidate_of(PROCESSES[n % len(PROCESSES)], f"{n}", price) for n in range(10)]
    size = far_run.size_of(Request("chat", 300, 256))
    usage, timings = Usage(prompt_tokens=300, completion_tokens=100), Timings(service_s=1.5, first_token_s=0.3)
    estimates = estimator.estimate(size, candidates, lambda _: None, "chat")
    for _ in range(300):
        for candidate, estimate in zip(candidates, estimates, strict=True):
            estimator.observe(candidate, size, usage, timings, 1.5, Asked("chat", estimate))

    def predict() -> None:
        estimator.estimate(size, candidates, lambda _: None, "chat")

    def learn() -> None:
        for candidate, estimate in zip(candidates, estimates, strict=True):
            estimator.observe(candidate, size, usage, timings, 1.5, Asked("chat", estimate))

    return {"predict_us": _least_us(predict, rounds) / 10, "learn_us": _least_us(learn, rounds // 20) / 10}


def _least_us(work: Callable[[], None], rounds: int) -> float:
    tries = []
    for _ in range(5):
        began = time.thread_time()
        for _ in range(rounds):
            work()
        tries.append((time.thread_time() - began) / rounds * 1e6)
    return min(tries)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Measure everything; the report."""
    seeds = [int(seed) for seed in given.seeds.split(",")]
    arms = near_run.arms(given.near, text=given.text)
    report: dict[str, Any] = {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *sys.argv]),
        "machine": describe_machine(PACKAGES),
        "settings": {"seeds": seeds, "each": given.each, "near_requests": given.near, "near_text": given.text},
        "cost": cost(),
        "far": far(seeds, given.each),
        "near": asyncio.run(near(arms, seeds[0], given.models)) if given.near else [],
    }
    return report | {"broken": list(broken(report))}


def broken(report: dict[str, Any]) -> list[str]:
    """Which of the stated bounds do not hold."""
    found = []
    for row in report["far"]["rows"]:
        if row["over_best"] > MOST_OVER_BEST:
            found.append(f"{row['name']}: error is {row['over_best']:.2f} times the best there can be")
        if not COVERED[0] <= row["coverage"]["p95_s"] <= COVERED[1]:
            found.append(f"{row['name']}: p95 covers {row['coverage']['p95_s']:.1%}")
    for row in report["near"]:
        if row["error"] > MOST_NEAR_ERROR:
            found.append(f"{row['name']}: error is {row['error']:.1%}")
        if not COVERED[0] <= row["coverage"]["p95_s"] <= COVERED[1]:
            found.append(f"{row['name']}: p95 covers {row['coverage']['p95_s']:.1%}")
    if report["cost"]["predict_us"] > MOST_US:
        found.append(f"predicting takes {report['cost']['predict_us']:.1f} us a candidate")
    return found


# --- reporting ----------------------------------------------------------------------------------


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        "| far side | requests | error | best there can be | times best | "
        + " | ".join(f"{label}, times best" for label in BASELINES)
        + " | below p50 / p90 / p95 / p99 | p95 ÷ median |",
    ]
    lines.append(rule(lines[0]))
    for row in report["far"]["rows"]:
        cells = [
            row["name"], str(row["requests"]), f"{row['error']:.1%}", f"{row['best_error']:.1%}",
            f"{row['over_best']:.2f}",
            *(f"{row['baselines'][label]:.2f}" for label in BASELINES), _shares(row["coverage"]),
            f"{row['p95_over_median']:.2f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    if report["near"]:
        head = "| near | requests (after) | median ms | error | ten-sample mean | EWMA | below p50 / p90 / p95 / p99 "
        head += "| first token: error, p95 |"
        lines += ["", head, rule(head)]
        lines += [_near_line(row) for row in report["near"]]
    took = report["cost"]
    lines += [
        "",
        f"CPU: predicting {took['predict_us']:.1f} us a candidate, learning of an answer {took['learn_us']:.0f} us.",
    ]
    bounds = (
        f"Bounds: far error <= {MOST_OVER_BEST} x best, near error <= {MOST_NEAR_ERROR:.0%}, p95 covers 93 to 97 %."
    )
    return "\n".join([*lines, bounds, *(f"BROKEN: {what}." for what in report["broken"])])


def _near_line(row: dict[str, Any]) -> str:
    first = row["first_token_error"]
    told = "-" if first is None else f"{first:.1%}, {row['first_token_p95']:.1%}"
    cells = [
        row["name"], f"{row['requests']} ({row['skipped']})", f"{row['median_ms']:.1f}", f"{row['error']:.1%}",
        *(f"{row[name] or 0:.1%}" for name in ("ten_mean_error", "ewma_error")), _shares(row["coverage"]), told,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _shares(covered: dict[str, float | None]) -> str:
    return " / ".join("-" if share is None else f"{100 * share:.1f}" for share in covered.values()) + " %"


def plot(report: dict[str, Any]) -> str:
    """The share of answers below the predicted p95, over time."""
    told = report["far"]
    marks = [str(start + BLOCK) if index % 2 else "" for index, start in enumerate(told["blocks"])]
    panels = [
        charts.Panel(
            f"{name}: % below predicted p95",
            marks,
            [
                charts.Series("observed", [None if share is None else 100 * share for share in shares]),
                charts.Series("promised", [95.0] * len(shares)),
            ],
        )
        for name, shares in told["p95_over_time"].items()
    ]
    return charts.page(panels, columns=2, below="observations of the candidate")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3,4,5", help="of the simulated far sides; near takes the first")
    parser.add_argument("--each", type=int, default=2000, help="requests to each far side")
    parser.add_argument("--near", type=int, default=600, help="requests of an arm near; 0 leaves near out")
    parser.add_argument(
        "--no-text", dest="text", action="store_false", help="near, embed only: writing takes ten minutes"
    )
    parser.add_argument("--models", type=Path, help="where unpacked weights are; by default Nearfar's own folder")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the coverage over time")
    parser.add_argument(
        "--save", action="store_true", help=f"write report and plot to {RESULT.parent.relative_to(ROOT)}"
    )
    return parser.parse_args()


def main() -> int:
    """0 when every bound holds, else 1."""
    given = parsed()
    report = run(given)
    deliver(report, table(report), to=given.json, keep=RESULT if given.save else None)
    for file in filter(None, (given.plot, RESULT.with_suffix(".svg") if given.save else None)):
        file.write_text(plot(report), encoding="utf-8")
    return 1 if report["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
