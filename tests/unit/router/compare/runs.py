"""Simulated runs whose truth is known: inputs of different length, a machine that changes, requests that stall."""

import math
import random
from datetime import UTC, datetime

from router.compare.run import Closed, Load, Run, Served, Trial

STARTED = datetime(2026, 11, 27, 3, tzinfo=UTC)


def served(name: str, backend: str = "local") -> Served:
    return Served(name=name, candidate_id=f"{backend}:{name}", model=name, backend=backend, provider=backend)


def simulated(
    seed: int,
    *,
    factors: dict[str, float] | None = None,
    inputs: int = 20,
    repeats: int = 5,
    load: Load | None = None,
    remembers: float = 0.9,
    stalls: float = 0.04,
    **about,
) -> Run:
    """A run in which each candidate takes so many times as long as the machine's own pace for the input.

    Latency is the product of the input's length (log-normal), the machine's pace (an autoregression over the trials in
    the order in which they ran, whose neighbours are alike), and a heavy tail: log-normal, with one request in 25
    stalled for up to twenty times as long (Pareto).
    """
    chance, factors = random.Random(seed), factors or {"a": 1.0, "b": 1.0}
    lengths = [chance.lognormvariate(0, 0.5) for _ in range(inputs)]
    trials, now, pace = [], 0.0, chance.gauss(0, 0.2)
    for block, (repeat, at) in enumerate(_shuffled(chance, repeats, inputs)):
        for name in chance.sample(sorted(factors), len(factors)):
            pace = remembers * pace + math.sqrt(1 - remembers**2) * chance.gauss(0, 0.2)
            took = 0.02 * factors[name] * lengths[at] * math.exp(pace) * _tail(chance, stalls)
            trials.append(
                Trial(number=len(trials), block=block, repeat=repeat, input=at, candidate=name, due_s=now, sent_s=now,
                      total_s=took, status="ok", input_tokens=10, cost_usd=took * 1e-5, cost_source="measured")
            )  # fmt: skip
            now += took
    return run(
        trials, inputs=inputs, repeats=repeats, load=load, candidates=tuple(map(served, sorted(factors))), **about
    )


def run(trials: list[Trial], *, candidates: tuple[Served, ...], load: Load | None = None, **about) -> Run:
    """A run of these trials that ended as planned."""
    told = {"inputs": 1 + max((trial.input for trial in trials), default=0), "repeats": 1, "ended_at": STARTED}
    told |= {"planned": len(trials), "warm_up": 0, "seed": 0, "task": "feature-extraction", "suite": "simulated"}
    return Run(
        run_id="r", loads=(load or Closed(),), candidates=candidates, started_at=STARTED, trials=tuple(trials),
        **told | about,
    )  # fmt: skip


def _shuffled(chance: random.Random, repeats: int, inputs: int) -> list[tuple[int, int]]:
    order = [(repeat, at) for repeat in range(repeats) for at in range(inputs)]
    chance.shuffle(order)
    return order


def _tail(chance: random.Random, stalls: float) -> float:
    stalled = min(20.0, chance.paretovariate(1.1)) if chance.random() < stalls else 1.0
    return chance.lognormvariate(0, 0.1) * stalled
