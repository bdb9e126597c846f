"""Far sides whose delays are known exactly: drifting, bimodal, heavy-tailed, growing with prompt and answer.

What one request takes is (fixed + prompt tokens x a + answer tokens x b) x level(t) x replica x noise: the level drifts or
jumps, a share of the replicas is slower, the noise is lognormal with a Pareto tail, and how long the answer is depends on
what the prompt wants. Nothing of that is told to whoever predicts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

INTENTS = {"chat": (120, 0.6), "extract": (15, 0.35), "summarise": (220, 0.4), "code": (450, 0.7)}
LIMITS = (64, 256, 1024)
SAMPLES = 600  # of each request's distribution, for its median


@dataclass(frozen=True)
class Process:
    """One far side.

    Attributes:
        verbosity: Times as long as usual its answers are.
        level: Of the share of the run that has passed.
        slow_share: Of its replicas, likewise.
        slow_times: As long as the others they take.
        sigma: Of the lognormal noise.
        tail_share: Of the requests whose noise is also Pareto's, from 1, with the exponent `tail_alpha`.
    """

    name: str
    fixed_s: float
    s_per_input_token: float
    s_per_output_token: float
    verbosity: float = 1.0
    level: Callable[[float], float] = lambda _: 1.0
    slow_share: Callable[[float], float] = lambda _: 0.0
    slow_times: float = 1.0
    sigma: float = 0.25
    tail_share: float = 0.0
    tail_alpha: float = 1.5


@dataclass(frozen=True)
class Request:
    """What is asked: all of it is known when it is decided."""

    intent: str
    input_tokens: int
    limit: int


PROCESSES = (
    Process("steady", 0.35, 4e-5, 0.012, sigma=0.3, tail_share=0.03),
    Process("bimodal", 0.25, 1e-4, 0.02, 0.8, slow_share=lambda _: 0.3, slow_times=4.0, sigma=0.2, tail_share=0.02),
    Process("drifting", 0.5, 2e-5, 0.008, 1.3, level=lambda x: (3.0 if 0.3 < x < 0.55 else 1.0) * (1 + 0.4 * x)),
    Process(
        "stormy", 0.3, 6e-5, 0.03, level=lambda x: math.exp(0.5 * math.sin(9 * x)),
        slow_share=lambda x: 0.1 + 0.3 * x, slow_times=3.0, sigma=0.3, tail_share=0.05,
    ),
)  # fmt: skip


def draw_request(dice: np.random.Generator) -> Request:
    """Prompts are short mostly, and long now and then."""
    tokens = int(np.clip(dice.lognormal(5.0, 1.2), 8, 12_000))
    return Request(str(dice.choice(list(INTENTS))), tokens, int(dice.choice(LIMITS)))


def draw_lengths(process: Process, request: Request, dice: np.random.Generator, count: int) -> Any:
    """Tokens of the answer: lognormal, by what the prompt wants, cut at the limit."""
    middle, sigma = INTENTS[request.intent]
    drawn = np.rint(middle * process.verbosity * np.exp(sigma * dice.standard_normal(count)))
    return np.clip(drawn, 1, request.limit)


def draw_seconds(process: Process, request: Request, lengths: Any, passed: float, dice: np.random.Generator) -> Any:
    """What requests with answers of these lengths take when this share of the run has passed."""
    count = len(lengths)
    work = process.fixed_s + process.s_per_input_token * request.input_tokens + process.s_per_output_token * lengths
    slow = np.where(dice.random(count) < process.slow_share(passed), process.slow_times, 1.0)
    tail = np.where(dice.random(count) < process.tail_share, 1 + dice.pareto(process.tail_alpha, count), 1.0)
    return process.level(passed) * work * slow * tail * np.exp(process.sigma * dice.standard_normal(count))


def true_median(process: Process, request: Request, passed: float, dice: np.random.Generator) -> float:
    """The best central prediction there can be: the median of what the request may take, of so many samples."""
    lengths = draw_lengths(process, request, dice, SAMPLES)
    return float(np.median(draw_seconds(process, request, lengths, passed, dice)))
