"""Where a comparison is not to be believed, or not beyond what it measured. A run and its figures in, sentences out."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from math import exp, log, sqrt
from statistics import NormalDist, fmean, median
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec import Struct

from policies.base import seconds, significant
from router.compare.figures import answers
from router.compare.intervals import FEW_INPUTS, STRETCHES, quantile
from router.compare.pairs import FEW_UNITS
from router.compare.run import Closed, Open

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.compare.figures import Figures
    from router.compare.pairs import Pair
    from router.compare.run import Run, Trial

Kind = Literal[
    "stopped", "unfinished", "few_trials", "few_inputs", "few_units", "no_upper_end", "failures", "truncated",
    "unknown_cost", "drift", "closed_loop", "late", "shared_machine", "reference", "estimated_cost", "cached",
]  # fmt: skip

FEW_TRIALS = 30
DRIFTED, DRIFT_P = 0.05, 0.01
LATE = 0.05
"""Of the median latency: a sender that is later than that measures itself."""


CLOSED = (
    "A closed loop asks only once it was answered: nobody waits in a queue, so under heavy load a candidate "
    "looks faster than it would be to its users (coordinated omission)."
)


class Doubt(Struct, frozen=True):
    """A warning: of what kind, and in a sentence."""

    kind: Kind
    words: str


class Drift(NamedTuple):
    """How latency moved over a run: by which factor from its first to its last third, and whether by chance."""

    factor: float
    p: float


def doubts_of(run: Run, figures: Sequence[Figures], pairs: Sequence[Pair]) -> tuple[Doubt, ...]:
    """Everything that a sceptical reader should know, what matters most first."""
    return (*_ending(run), *_trials(run, figures, pairs), *_answers(figures), *_moving(run), *_design(run))


def drift(trials: Sequence[Trial]) -> Drift | None:
    """Whether the answers became slower or faster, each against the others to its input; None where they are few.

    Kendall's test of the medians of stretches of time (Mann 1945), as neighbours in time are alike.
    """
    of_input: defaultdict[int, list[float]] = defaultdict(list)
    known = [trial for trial in trials if trial.total_s]
    for trial in known:
        of_input[trial.input].append(log(trial.total_s or 1.0))
    usual = {asked: median(values) for asked, values in of_input.items()}
    if len(known) < FEW_TRIALS or len(of_input) * 2 > len(known):
        return None
    moved = [log(trial.total_s or 1.0) - usual[trial.input] for trial in known]
    n = min(STRETCHES, len(moved) // 5)
    stretches = [median(moved[at * len(moved) // n : (at + 1) * len(moved) // n]) for at in range(n)]
    rises = sum((later > earlier) - (later < earlier) for earlier, later in combinations(stretches, 2))
    away = max(0, abs(rises) - 1) / sqrt(n * (n - 1) * (2 * n + 5) / 18)
    third = n // 3
    factor = exp(fmean(stretches[-third:]) - fmean(stretches[:third]))
    return Drift(factor, 2 * (1 - NormalDist().cdf(away)))


def _ending(run: Run) -> Iterator[Doubt]:
    left = run.planned - len(run.trials)
    if run.stopped is not None:
        yield Doubt("stopped", f"It was stopped ({run.stopped}): {left} of {run.planned} trials were not run.")
    elif left > 0 or run.ended_at is None:
        yield Doubt("unfinished", f"It has not ended: {left} of {run.planned} trials are missing.")


def _trials(run: Run, figures: Sequence[Figures], pairs: Sequence[Pair]) -> Iterator[Doubt]:
    few = [f"{each.candidate} ({each.answered})" for each in figures if each.answered < FEW_TRIALS]
    if few:
        yield Doubt(
            "few_trials", f"Fewer than {FEW_TRIALS} answers: {_listed(few)}. Their intervals say how little that is."
        )
    if run.inputs < FEW_INPUTS:
        yield Doubt("few_inputs", f"{_inputs(run.inputs)} tell nothing of others: all figures are of these alone.")
    elif run.inputs < FEW_UNITS:
        yield Doubt(
            "few_inputs",
            f"With {_inputs(run.inputs)} times are compared for these alone, money and quality not at all.",
        )
    untested = sorted({f"{pair.units} {pair.unit}s" for pair in pairs if pair.p is None and pair.measure == "latency"})
    if untested:
        yield Doubt(
            "few_units",
            f"Times are not compared by a test where there are only {_listed(untested)}: {FEW_UNITS} are the least.",
        )
    open_ended = [
        f"{each.candidate} ({', '.join(missing)})"
        for each in figures
        if (missing := [name for name, bounds in each.latency_s.items() if bounds.high is None])
    ]
    if open_ended:
        why = "So few answers show no upper end (for p99 it takes about 370 independent ones)"
        yield Doubt("no_upper_end", f"{why}: {_listed(open_ended)}.")


def _answers(figures: Sequence[Figures]) -> Iterator[Doubt]:
    failed = [
        f"{each.candidate} ({', '.join(f'{count} {kind}' for kind, count in each.errors.items())} of {each.trials})"
        for each in figures
        if each.errors
    ]
    if failed:
        yield Doubt("failures", f"Not everything was answered, and times are of answers alone: {_listed(failed)}.")
    cut = [f"{each.candidate} ({each.truncated} of {each.answered})" for each in figures if each.truncated]
    if cut:
        yield Doubt("truncated", f"Answers stopped at the limit of length; a whole one takes longer: {_listed(cut)}.")
    unknown = [f"{each.candidate} ({each.unknown_cost} of {each.answered})" for each in figures if each.unknown_cost]
    if unknown:
        yield Doubt("unknown_cost", f"Nobody knows what these answers cost: {_listed(unknown)}.")


def _moving(run: Run) -> Iterator[Doubt]:
    moved: list[str] = []
    for load in range(len(run.loads)):
        mine = [trial for trial in answers(run.trials) if trial.load == load]
        for served in run.candidates:
            found = drift([trial for trial in mine if trial.candidate == served.name])
            if found is not None and found.p < DRIFT_P and abs(found.factor - 1) >= DRIFTED:
                way = "slower" if found.factor > 1 else "faster"
                moved.append(f"{served.name} became {significant(abs(found.factor - 1) * 100, 2)} % {way}")
    if moved:
        yield Doubt("drift", f"From the first third of the run to the last {_listed(moved)}: something else changed.")


def _design(run: Run) -> Iterator[Doubt]:
    closed = [load for load in run.loads if isinstance(load, Closed)]
    if closed:
        yield Doubt("closed_loop", CLOSED)
    late = _late(run)
    if late is not None:
        yield Doubt("late", f"The sender was late itself, by {seconds(late)} at the 95th percentile; times include it.")
    near = [served.name for served in run.candidates if served.near]
    if len(near) > 1 and any(isinstance(load, Open) for load in run.loads):
        yield Doubt("shared_machine", f"{_listed(near)} share this machine, and wait for each other in an open loop.")
    if run.reference is not None:
        yield Doubt("reference", f"Quality is agreement with {run.reference}, which may be wrong itself.")
    cached = {trial.candidate for trial in run.trials if trial.cost_source == "cached"}
    if cached:
        yield Doubt(
            "cached", f"Answers of {_listed(sorted(cached))} came from a cache: their times are not the model's."
        )
    estimated = {trial.candidate for trial in run.trials if trial.cost_source == "estimated"}
    if estimated:
        yield Doubt(
            "estimated_cost", f"Costs of {_listed(sorted(estimated))} are estimates: nobody said what was charged."
        )


def _late(run: Run) -> float | None:
    """The 95th percentile of how late an open loop's trials were sent, where that is not small beside the latency."""
    sent = [
        trial for trial in answers(run.trials) if isinstance(run.loads[trial.load], Open) and trial.total_s is not None
    ]
    if not sent:
        return None
    late = quantile([trial.sent_s - trial.due_s for trial in sent], 0.95)
    return late if late > LATE * median(trial.total_s or 0.0 for trial in sent) else None


def _inputs(count: int) -> str:
    return "One input" if count == 1 else f"{count} inputs"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
