"""What a run measured, as routing takes it: answers to learn speed from, and a model's quality. Says what it did.

A candidate that the catalogue lists learns from each counted answer under the lightest load, as if a request had asked
for it. Quality is a figure of the catalogue, and there only where the suite said what a right answer is.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING

from msgspec import Struct

from backends.types import Timings, Usage
from router.compare.figures import answers
from router.compare.priors import lightest, priors_of
from router.slate import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.candidates import CandidateFinder
    from router.compare.run import Run, Served, Trial
    from router.estimates import Estimator

_RIGHT = frozenset({"exact_match", "label_accuracy", "word_error_rate"})


class Judged(Struct, frozen=True):
    """The quality of a model, 0..1: the mean of its candidates' scores, and on how many inputs."""

    model: str
    quality: float
    inputs: int


def learn(estimator: Estimator, finder: CandidateFinder, run: Run) -> list[str]:
    """Teach the estimator what the run measured of speed; what was learnt, or why not, in words."""
    load = lightest(run.loads)
    counted = [trial for trial in answers(run.trials) if trial.load == load]
    told = []
    for served in run.candidates:
        mine = [trial for trial in counted if trial.candidate == served.name]
        told.append(f"{served.name}: {_learnt(estimator, finder, served, mine)}")
    return told


def _learnt(estimator: Estimator, finder: CandidateFinder, served: Served, trials: Sequence[Trial]) -> str:
    entry = finder.catalog.find(served.model)
    listed = [] if entry is None else finder.of_model(entry, (served.provider,))
    candidate = next((one for one in listed if one.id == served.candidate_id), None)
    if candidate is None:
        return f"speed not taken: the catalogue lists no candidate {served.candidate_id}; it could, by its runtime"
    sized = [trial for trial in trials if trial.input_tokens is not None]
    if not sized:
        return "speed not taken: no answer says how large its request was"
    for trial in sized:
        generated = trial.output_tokens is not None
        usage = Usage(prompt_tokens=trial.input_tokens, completion_tokens=trial.output_tokens)
        size = Size(items=1, input_tokens=trial.input_tokens, output_tokens=trial.output_tokens if generated else None)
        timings = Timings(queue_s=trial.queue_s, service_s=trial.service_s)
        total_s = trial.due_s + (trial.total_s or 0.0) - trial.sent_s
        estimator.observe(candidate, size, usage, timings, total_s)
    return f"speed taken from {len(sized)} answers"


def judged(run: Run) -> list[Judged]:
    """The quality of each model of the run, where it can be told."""
    if run.metric not in _RIGHT:
        return []
    by_model: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for prior in priors_of(run):
        if prior.quality is not None and prior.relative_to is None:
            by_model[prior.model].append((prior.quality.value, prior.quality_inputs))
    return [
        Judged(model, fmean(value for value, _ in each), max(count for _, count in each))
        for model, each in by_model.items()
    ]
