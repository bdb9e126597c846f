"""What a run measured of each candidate, as estimates begin with it: speed by size, and quality. Values in, values out.

Speed is from the lightest load, without the wait for a turn: how long a candidate itself takes. An input is one
measurement, the typical one of its repeats, so that a service-time model can be fitted to sizes.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING

from msgspec import Struct

from router.compare.figures import answers, figures_of
from router.compare.intervals import Bounds, Sample, quantile_bounds
from router.compare.rates import ended
from router.compare.run import Metric, Open

if TYPE_CHECKING:
    from router.compare.run import Load, Run, Served, Trial


class Speed(Struct, frozen=True, kw_only=True):
    """How long one input takes: its size where that is known, and the median of its trials."""

    input_tokens: int | None
    output_tokens: int | None
    service_s: float
    n: int


class Prior(Struct, frozen=True, kw_only=True):
    """What was measured of one candidate.

    Attributes:
        service_s: The median over all answers, with its 95 % interval; `n` of them.
        first_token_s: Likewise, where answers were streamed.
        speeds: By input.
        quality: The mean score, 0..1, of answers to `quality_inputs` different inputs; None where nothing was judged.
        relative_to: The candidate whose answers were taken for right; None where the suite said what is.
    """

    candidate_id: str
    model: str
    runtime: str | None
    device: str | None
    n: int
    service_s: Bounds
    first_token_s: Bounds | None
    speeds: tuple[Speed, ...]
    quality: Bounds | None
    quality_inputs: int
    metric: Metric | None
    relative_to: str | None


def priors_of(run: Run) -> tuple[Prior, ...]:
    """A prior for every candidate that answered under the lightest load; the reference has no quality of its own."""
    load = lightest(run.loads)
    mine = [trial for trial in answers(run.trials) if trial.load == load]
    found = ((served, [trial for trial in mine if trial.candidate == served.name]) for served in run.candidates)
    return tuple(_prior(run, load, served, trials) for served, trials in found if trials)


def lightest(loads: tuple[Load, ...]) -> int:
    """Which load leaves the candidates the most to themselves."""
    return min(range(len(loads)), key=lambda at: _weight(loads[at]))


def _weight(load: Load) -> float:
    return load.rate_per_s if isinstance(load, Open) else load.concurrency


def _prior(run: Run, load: int, served: Served, trials: list[Trial]) -> Prior:
    figures = next(each for each in figures_of(run) if (each.load, each.candidate) == (load, served.name))
    is_reference = served.name == run.reference
    judged = [] if is_reference else [trial for trial in trials if trial.score is not None]
    return Prior(
        candidate_id=served.candidate_id,
        model=served.model,
        runtime=served.runtime,
        device=served.device,
        n=len(trials),
        service_s=quantile_bounds(Sample(list(map(service_s, trials)), [trial.input for trial in trials]), 0.5),
        first_token_s=figures.first_token_s.get("p50"),
        speeds=tuple(_speeds(trials)),
        quality=figures.quality if judged else None,
        quality_inputs=len({trial.input for trial in judged}),
        metric=run.metric if judged else None,
        relative_to=run.reference if judged else None,
    )


def service_s(trial: Trial) -> float:
    """How long the candidate itself took: as it measured, else since it was asked, less what is known of waiting."""
    if trial.service_s is not None:
        return trial.service_s
    return max(0.0, ended(trial) - trial.sent_s - (trial.queue_s or 0.0))


def _speeds(trials: list[Trial]) -> list[Speed]:
    by_input: defaultdict[int, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_input[trial.input].append(trial)
    return [
        Speed(
            input_tokens=_tokens([trial.input_tokens for trial in each]),
            output_tokens=_tokens([trial.output_tokens for trial in each]),
            service_s=median(map(service_s, each)),
            n=len(each),
        )
        for _, each in sorted(by_input.items())
    ]


def _tokens(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return round(median(known)) if known and len(known) == len(counts) else None
