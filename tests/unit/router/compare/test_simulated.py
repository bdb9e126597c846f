"""Runs whose truth is known: a difference that is not there is hardly ever shown, and one of 10 % nearly always.

Latencies have a heavy tail and follow on each other (`runs.simulated`). How often something happens is judged by a
binomial test of the share that is claimed: a right claim fails one of a thousand times, were the seeds not fixed.
"""

from functools import cache

import numpy as np
import pytest
from scipy import stats

from router.compare.figures import QUANTILES, figures_of
from router.compare.pairs import pairs_of
from tests.unit.router.compare.runs import simulated

FAST, SLOW = 100, 1000
UNLIKELY = 0.001
SUITES = [(20, 5), (12, 10)]
"""Inputs and repeats: no ready-made suite has fewer of both."""
SPREADS = (0.5, 0.2, 0.1)  # of an input's length, the machine's pace and what is left, as `simulated` has them


def latencies(run):
    return [pair for pair in pairs_of(run) if pair.measure == "latency"]


def shown(runs: int, factors: dict[str, float], suite: tuple[int, int]) -> int:
    """In how many runs any difference is shown."""
    inputs, repeats = suite
    return sum(
        any(pair.differs for pair in latencies(simulated(seed, factors=factors, inputs=inputs, repeats=repeats)))
        for seed in range(runs)
    )


def at_most(share: float, runs: int) -> float:
    return stats.binom.isf(UNLIKELY, runs, share)


def at_least(share: float, runs: int) -> float:
    return stats.binom.ppf(UNLIKELY, runs, share)


@pytest.mark.parametrize("suite", SUITES)
def test_alike_candidates_are_hardly_ever_told_apart(suite) -> None:
    """In 5 % of runs at most, with two candidates."""
    assert shown(FAST, {"a": 1.0, "b": 1.0}, suite) <= at_most(0.05, FAST)


def test_four_alike_candidates_are_no_more_often_told_apart() -> None:
    """Six comparisons have six chances to be wrong, which Holm's correction takes away."""
    assert shown(50, dict.fromkeys("abcd", 1.0), (20, 5)) <= at_most(0.05, 50)


@pytest.mark.parametrize("suite", SUITES)
def test_a_tenth_is_found(suite) -> None:
    """In nine of ten runs or more."""
    assert shown(FAST, {"a": 1.0, "b": 1.1}, suite) >= at_least(0.9, FAST)


@pytest.mark.slow
@pytest.mark.parametrize("candidates", ["ab", "abcd"])
@pytest.mark.parametrize("suite", [*SUITES, (6, 30)])
def test_alike_candidates_are_told_apart_in_five_of_a_hundred_runs(candidates, suite) -> None:
    """Of a thousand; with fewer inputs than are tested as such, too."""
    assert shown(SLOW, dict.fromkeys(candidates, 1.0), suite) <= at_most(0.05, SLOW)


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("ratio", [1.0, 1.1, 3.0])
def test_the_ratio_lies_within_its_interval(suite, ratio) -> None:
    """In 93 to 97 % of runs."""
    inputs, repeats = suite
    found = [
        latencies(simulated(seed, factors={"a": ratio, "b": 1.0}, inputs=inputs, repeats=repeats))[0]
        for seed in range(SLOW)
    ]
    covered = sum(pair.low <= ratio <= pair.high for pair in found)

    assert at_least(0.93, SLOW) <= covered <= at_most(0.97, SLOW)


@cache
def population(stalls: float) -> np.ndarray:
    """Latencies of a million inputs, each asked once."""
    chance, count = np.random.default_rng(1), 1_000_000
    tail = np.where(chance.random(count) < stalls, np.minimum(20.0, 1 + chance.pareto(1.1, count)), 1.0)
    return 0.02 * np.exp(sum(chance.normal(0, spread, count) for spread in SPREADS)) * tail


def covers(bounds, truth: float) -> bool:
    """An end that nobody knows is nowhere beyond the truth."""
    return (bounds.low is None or bounds.low <= truth) and (bounds.high is None or truth <= bounds.high)


@pytest.mark.slow
@pytest.mark.parametrize("suite", [*SUITES, (50, 4)])
def test_quantiles_lie_within_their_intervals(suite) -> None:
    """In 93 to 97 % of runs, and in more only where so few trials show no end on one side."""
    inputs, repeats = suite
    found = [figures_of(simulated(seed, inputs=inputs, repeats=repeats))[0] for seed in range(SLOW)]
    truth = {name: float(np.quantile(population(0.04), p)) for name, p in QUANTILES.items()}

    for name, value in truth.items():
        bounds = [each.latency_s[name] for each in found]
        covered = sum(covers(each, value) for each in bounds)
        assert covered >= at_least(0.93, SLOW), name
        assert covered <= at_most(0.97, SLOW) or any(each.high is None for each in bounds), name


@pytest.mark.slow
@pytest.mark.parametrize(("stalls", "least", "most"), [(0.0, 0.93, 0.97), (0.04, 0.9, 0.97)])
@pytest.mark.parametrize("suite", SUITES)
def test_means_lie_within_their_intervals(suite, stalls, least, most) -> None:
    """Of money and of rates; where requests stall, fewer than they claim, as `intervals` says."""
    inputs, repeats = suite
    found = [figures_of(simulated(seed, inputs=inputs, repeats=repeats, stalls=stalls))[0] for seed in range(SLOW)]
    mean = float(population(stalls).mean())

    for bounds, truth in (
        ([each.cost_usd for each in found], mean * 1e-5),
        ([each.requests_per_s for each in found], 1 / mean),
    ):
        covered = sum(covers(each, truth) for each in bounds)
        assert at_least(least, SLOW) <= covered <= at_most(most, SLOW)
