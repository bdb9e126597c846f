"""Who is quicker, cheaper and better than whom, and whether that could be chance. Trials in, comparisons out.

Two candidates are compared where both answered the same input in the same repeat. Such pairs are gathered into units
that chance put in order: the inputs, where there are `FEW_UNITS` of them or more, so that what is found holds for
inputs like these; else the single pairs, so that it holds for these inputs alone; with several callers, whole blocks.

* Time: the typical ratio. The differences of logarithms are brought to one a unit, and tested by their signed ranks.
* Money and quality: the mean difference, by inputs alone, tested by their signs; its interval is that of a mean.

The p-values of one measure under one load are a family, corrected by Holm.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from math import exp, log
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from router.compare.figures import answers
from router.compare.intervals import skewed
from router.compare.run import Closed, Trial
from router.compare.signs import ALPHA, holm, mean_sign, signed_rank, typical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from router.compare.run import Run

Measure = Literal["latency", "first_token", "cost", "quality"]
Unit = Literal["input", "pair", "block"]

FEW_UNITS = 8
"""Fewer could not show a difference: with six comparisons and seven units, Holm's p-value is never below 5 %."""
POWER = 0.8
_NORMAL = NormalDist()
MEASURES: dict[Measure, Callable[[Trial], float | None]] = {
    "latency": lambda trial: trial.total_s or None,
    "first_token": lambda trial: trial.first_token_s or None,
    "cost": lambda trial: trial.cost_usd,
    "quality": lambda trial: trial.score,
}


class Pair(Struct, frozen=True, kw_only=True):
    """Two candidates by one measure.

    Attributes:
        value: Of times how many times as long `one` takes as `other`; of money and quality `one` less `other`.
        low, high: Its 95 % interval, not corrected; None where there are too few units.
        pairs: How often both answered the same, with a known figure.
        unit: What is independent.
        p, p_holm: How probable so much is by chance, and the same for `family` comparisons at once.
        least: What would have been seen in four of five such runs: a ratio above 1, or a difference.
    """

    load: int
    measure: Measure
    one: str
    other: str
    value: float
    low: float | None = None
    high: float | None = None
    pairs: int
    unit: Unit
    units: int
    p: float | None = None
    p_holm: float | None = None
    family: int = 0
    least: float | None = None

    @property
    def differs(self) -> bool:
        """Whether a difference is shown."""
        return self.p_holm is not None and self.p_holm <= ALPHA


def pairs_of(run: Run) -> tuple[Pair, ...]:
    """Every two candidates by every measure that both have, under every load."""
    found: list[Pair] = []
    for load in range(len(run.loads)):
        mine = [trial for trial in answers(run.trials) if trial.load == load]
        for measure in MEASURES:
            found += _corrected(list(_family(run, load, mine, measure)))
    return tuple(found)


def _family(run: Run, load: int, trials: Sequence[Trial], measure: Measure) -> Iterator[Pair]:
    value_of, known = MEASURES[measure], defaultdict[str, _Values](dict)
    for trial in trials:
        value = value_of(trial)
        if value is not None and not (measure == "quality" and trial.candidate == run.reference):
            known[trial.candidate][trial.input, trial.repeat] = _Known(value, trial.block)
    how = run.loads[load]
    blocks = isinstance(how, Closed) and how.concurrency > 1
    for one, other in combinations((served.name for served in run.candidates if served.name in known), 2):
        both = _Both(known[one], known[other], blocks=blocks)
        if both.keys:
            ratio = measure in {"latency", "first_token"}
            found = _ratio(both) if ratio else _difference(both)
            yield Pair(load=load, measure=measure, one=one, other=other, pairs=len(both.keys), **found)


class _Known(NamedTuple):
    value: float
    block: int


_Values = dict[tuple[int, int], _Known]


class _Both:
    """What two candidates both answered, and which of it belongs together."""

    def __init__(self, one: _Values, other: _Values, *, blocks: bool) -> None:
        self.one, self.other = one, other
        self.keys = [key for key in one if key in other]
        self.inputs = len({asked for asked, _ in self.keys})
        self.unit: Unit = "block" if blocks else "input" if self.inputs >= FEW_UNITS else "pair"

    def by(self, unit: Unit, difference: Callable[[float, float], float]) -> list[list[float]]:
        """The differences, those of a unit together."""
        found: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
        for key in self.keys:
            one, other = self.one[key], self.other[key]
            of = {"block": (one.block, other.block), "input": (key[0], 0), "pair": key}[unit]
            found[of].append(difference(one.value, other.value))
        return list(found.values())


def _ratio(both: _Both) -> dict[str, Any]:
    units = [typical(each) for each in both.by(both.unit, lambda one, other: log(one / other))]
    shift = signed_rank(units)
    ends = [None if end is None else exp(end) for end in (shift.low, shift.high)]
    tested = shift.p if len(units) >= FEW_UNITS else None
    low, high = ends if tested is not None else (None, None)
    return {
        "value": exp(shift.estimate), "low": low, "high": high, "unit": both.unit, "units": len(units), "p": tested,
    }  # fmt: skip


def _difference(both: _Both) -> dict[str, Any]:
    """The mean of the inputs' means, so that an input counts once however often it was answered."""
    units = [fmean(each) for each in both.by("input", lambda one, other: one - other)]
    value, few = fmean(units), len(units) < FEW_UNITS
    found = {"value": value, "unit": "input", "units": len(units)}
    if few:
        return found
    interval = skewed([(each, 1.0) for each in units])
    return found | {"low": interval.low, "high": interval.high, "p": mean_sign(units)}


def _corrected(family: list[Pair]) -> Iterator[Pair]:
    """The family with its p-values corrected, and what each comparison would have seen."""
    after = holm({str(at): pair.p for at, pair in enumerate(family) if pair.p is not None})
    for at, pair in enumerate(family):
        yield replace(pair, p_holm=after.get(str(at)), family=len(after), least=_least(pair, len(after)))


def _least(pair: Pair, family: int) -> float | None:
    """What a comparison shows with probability `POWER`, at the level that the first of its family is held to."""
    if pair.low is None or pair.high is None:
        return None
    ratio = pair.measure in {"latency", "first_token"}
    wide = log(pair.high / pair.low) if ratio else pair.high - pair.low
    error = wide / 2 / _NORMAL.inv_cdf(1 - ALPHA / 2)
    least = error * (_NORMAL.inv_cdf(1 - ALPHA / 2 / family) + _NORMAL.inv_cdf(POWER))
    return exp(least) if ratio else least
