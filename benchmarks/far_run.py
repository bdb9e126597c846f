"""Runs the real estimator on simulated far sides, answers coming in as late as they take, and baselines beside it."""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from far_process import PROCESSES, draw_lengths, draw_request, draw_seconds, true_median

from backends.types import Status, Target, Task, Timings, Usage
from router.estimates import Asked, Estimator
from router.pricing import local_rates
from router.priors import prior_service_s
from router.slate import Candidate, Size
from router.sizes import PRIOR_OUTPUT_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from far_process import Process, Request
    from policies.types import Quantiles

PER_SECOND = 3.0  # requests arriving, all far sides together
TIMEOUT_S = 120.0


class Point(NamedTuple):
    """One request: what was predicted, what it took, and what could have been predicted at best."""

    name: str
    number: int
    seconds: float
    predicted_s: float
    latency: Quantiles | None
    best_s: float
    ten_mean_s: float | None
    ewma_s: float | None
    one_factor_s: float | None


class Baselines:
    """What is usual: a mean of the last ten, a moving mean; and the prior's shape times one moving factor."""

    def __init__(self) -> None:
        self.ten: deque[float] = deque(maxlen=10)
        self.ewma: float | None = None
        self.log_factor: float | None = None

    def predicted(self, shape_s: float) -> tuple[float | None, float | None, float | None]:
        mean = sum(self.ten) / len(self.ten) if self.ten else None
        return mean, self.ewma, None if self.log_factor is None else shape_s * math.exp(self.log_factor)

    def observe(self, seconds: float, shape_s: float) -> None:
        self.ten.append(seconds)
        self.ewma = seconds if self.ewma is None else self.ewma + 0.2 * (seconds - self.ewma)
        seen = math.log(seconds / shape_s)
        self.log_factor = seen if self.log_factor is None else self.log_factor + 0.2 * (seen - self.log_factor)


def candidate_of(process: Process) -> Candidate:
    target = Target(backend="remote", provider=process.name, model="m", task=Task.TEXT_GENERATION)
    return Candidate(id=process.name, target=target, near=False, status=Status(loaded=True))


def size_of(request: Request) -> Size:
    """As the router sees it."""
    return Size(
        items=1,
        input_tokens=request.input_tokens,
        output_tokens=min(request.limit, PRIOR_OUTPUT_TOKENS),
        max_output_tokens=request.limit,
    )


def run(seed: int, each: int) -> Iterator[Point]:
    """`each` requests to each far side, in an order and at times drawn by seed."""
    dice = np.random.default_rng(seed)
    estimator = Estimator(local_rates(None, 2), runtime_started=lambda: False)
    candidates = [candidate_of(process) for process in PROCESSES]
    baselines = [Baselines() for _ in PROCESSES]
    order = dice.permutation(np.repeat(np.arange(len(PROCESSES)), each))
    under_way: list[tuple[float, int, int, Size, int, float, Asked]] = []
    counts, now = [0] * len(PROCESSES), 0.0
    for turn, which in enumerate(map(int, order)):
        now += float(dice.exponential(1 / PER_SECOND))
        while under_way and under_way[0][0] <= now:
            _, _, done, size, tokens, took, asked = heapq.heappop(under_way)
            _learn(estimator, candidates[done], size, tokens, took, asked)
            baselines[done].observe(min(took, TIMEOUT_S), prior_service_s(candidates[done], size))
        request, passed = draw_request(dice), turn / len(order)
        tokens = draw_lengths(PROCESSES[which], request, dice, 1)
        took = float(draw_seconds(PROCESSES[which], request, tokens, passed, dice)[0])
        size = size_of(request)
        [estimate] = estimator.estimate(size, [candidates[which]], lambda _: None, request.intent)
        shape_s = prior_service_s(candidates[which], size)
        yield Point(
            PROCESSES[which].name, counts[which], took, estimate.latency_s, estimate.latency,
            true_median(PROCESSES[which], request, passed, dice), *baselines[which].predicted(shape_s),
        )  # fmt: skip
        counts[which] += 1
        ends = now + min(took, TIMEOUT_S)
        heapq.heappush(under_way, (ends, turn, which, size, int(tokens[0]), took, Asked(request.intent, estimate)))


def _learn(estimator: Estimator, candidate: Candidate, size: Size, tokens: int, took: float, asked: Asked) -> None:
    if took > TIMEOUT_S:
        estimator.outlasted(candidate, size, TIMEOUT_S, asked, silent=False)
        return
    usage = Usage(prompt_tokens=size.input_tokens, completion_tokens=tokens)
    estimator.observe(candidate, size, usage, Timings(service_s=took), took, asked)
