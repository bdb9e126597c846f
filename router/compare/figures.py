"""What a run measured of each candidate under each load, with 95 % intervals. Trials in, figures out.

Latencies are those of answers: what failed took no time that anybody waited for an answer. Failures are counted by
kind, and warned of. Costs are those of answers whose cost the log knows; the others are counted, and are never 0.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from router.compare.intervals import Bounds, Sample, mean_bounds, quantile_bounds, share_bounds
from router.compare.rates import rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from router.compare.run import Load, Run, Trial

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


class Figures(Struct, frozen=True, kw_only=True):
    """One candidate under one load.

    Attributes:
        trials: After the warm-up, whatever came of them.
        errors: How many failed or were refused, by kind.
        failed: Their share.
        truncated: Answers that stopped at a limit of length.
        latency_s, first_token_s: The quantiles of `QUANTILES`, since each trial was due; empty where nothing is known.
        requests_per_s: Answers in a second in which the candidate had something to do; with one caller, the inverse of
            the mean latency. Of an open loop, where others decide how much there is to do, answers in a second.
        tokens_per_s: Likewise, of the answers' tokens where all of them are counted, else of the inputs'.
        tokens: Which of the two.
        cost_usd: Of an answer, the mean where it is known.
        unknown_cost: Answers whose cost nobody knows.
        spent_usd: What all its trials cost as far as it is known, those of the warm-up and failed ones as well.
        quality: The mean score, 0 worst to 1 best; for the reference 1 by definition, without an interval.
        judged: Answers that have a score.
    """

    load: int
    candidate: str
    trials: int
    answered: int
    inputs: int
    errors: dict[str, int]
    failed: Bounds
    truncated: int
    latency_s: dict[str, Bounds]
    first_token_s: dict[str, Bounds]
    requests_per_s: Bounds | None
    tokens_per_s: Bounds | None
    tokens: str | None
    cost_usd: Bounds | None
    unknown_cost: int
    spent_usd: float | None
    quality: Bounds | None
    judged: int


def figures_of(run: Run) -> tuple[Figures, ...]:
    """The figures of every candidate under every load in which it had a trial."""
    found = []
    for load in range(len(run.loads)):
        for served in run.candidates:
            mine = [trial for trial in run.trials if (trial.load, trial.candidate) == (load, served.name)]
            if any(not trial.warm_up for trial in mine):
                found.append(_figures(run, load, served.name, mine))
    return tuple(found)


def answers(trials: Iterable[Trial]) -> list[Trial]:
    """The trials that were answered and count, in the order in which they were sent."""
    counted = [trial for trial in trials if trial.status == "ok" and not trial.warm_up and trial.total_s is not None]
    return sorted(counted, key=lambda trial: (trial.sent_s, trial.number))


def sample_of(trials: Iterable[Trial], value: Callable[[Trial], float | None]) -> Sample:
    """The known values of trials, and their inputs."""
    known = [(found, trial.input) for trial in trials if (found := value(trial)) is not None]
    return Sample([found for found, _ in known], [each for _, each in known])


def _figures(run: Run, load: int, name: str, mine: Sequence[Trial]) -> Figures:
    counted, answered = [trial for trial in mine if not trial.warm_up], answers(mine)
    costs = sample_of(answered, lambda trial: trial.cost_usd)
    scores = sample_of(answered, lambda trial: trial.score)
    spent = [trial.cost_usd for trial in mine if trial.cost_usd is not None]
    how = run.loads[load]
    tokens, per_s = _tokens_per_s(how, counted, answered)
    return Figures(
        load=load,
        candidate=name,
        trials=len(counted),
        answered=len(answered),
        inputs=len({trial.input for trial in counted}),
        errors=dict(sorted(Counter(trial.error or trial.status for trial in counted if trial.status != "ok").items())),
        failed=share_bounds(sample_of(counted, lambda trial: float(trial.status != "ok")), as_many=len(counted)),
        truncated=sum(trial.truncated for trial in answered),
        latency_s=_quantiles(sample_of(answered, lambda trial: trial.total_s)),
        first_token_s=_quantiles(sample_of(answered, lambda trial: trial.first_token_s)),
        requests_per_s=rate(how, counted, lambda _: 1.0),
        tokens_per_s=per_s,
        tokens=tokens,
        cost_usd=mean_bounds(costs) if costs.values else None,
        unknown_cost=len(answered) - len(costs.values),
        spent_usd=sum(spent) if spent else None,
        quality=_quality(scores, is_reference=name == run.reference),
        judged=len(scores.values),
    )


def _quantiles(sample: Sample) -> dict[str, Bounds]:
    return {name: quantile_bounds(sample, p) for name, p in QUANTILES.items()} if sample.values else {}


def _tokens_per_s(load: Load, counted: Sequence[Trial], answered: Sequence[Trial]) -> tuple[str | None, Bounds | None]:
    """Tokens written in a second, or read where none are written; nothing where an answer's are not known."""
    if answered and all(trial.output_tokens is not None for trial in answered):
        return "output", rate(load, counted, lambda trial: float(trial.output_tokens or 0))
    if answered and all(trial.input_tokens is not None for trial in answered):
        return "input", rate(load, counted, lambda trial: float(trial.input_tokens or 0))
    return None, None


def _quality(scores: Sample, *, is_reference: bool) -> Bounds | None:
    if not scores.values:
        return None
    return Bounds(1.0) if is_reference else share_bounds(scores)
