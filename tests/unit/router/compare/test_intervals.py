"""Intervals of one candidate's figures, against what is known of independent trials, and of those that are not."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from router.compare.intervals import Bounds, Sample, _rank, mean_bounds, quantile, quantile_bounds, share_bounds


def independent(count: int, seed: int = 1) -> Sample:
    chance = random.Random(seed)
    return Sample([chance.random() for _ in range(count)], list(range(count)))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_quantiles_are_those_of_everybody(values, p) -> None:
    """Numpy's default."""
    assert float(np.quantile(values, p)) == pytest.approx(quantile(values, p), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [10, 100, 1000])
@pytest.mark.parametrize("probability", [0.025, 0.975])
def test_a_quantile_lies_between_order_statistics_that_a_binomial_tells(p, count, probability) -> None:
    """The place is between two values, whose own probabilities lie on both sides of what is asked for."""
    place = _rank(count, p, probability)
    below, above = stats.binom.cdf([int(place) - 1, int(place)], count, p)

    assert below <= probability + 1e-12
    assert probability - 1e-12 <= above or place > count


def test_so_few_trials_show_no_upper_end_of_a_tail() -> None:
    """That all of 30 lie below the 99th percentile is more probable than not."""
    bounds = quantile_bounds(independent(30), 0.99)

    assert bounds.high is None
    assert bounds.low is not None


def test_a_tail_has_an_upper_end_where_trials_reach_beyond_it() -> None:
    """0.99 ** 2000 is nothing."""
    assert quantile_bounds(independent(2000), 0.99).high is not None


def test_one_trial_has_no_interval() -> None:
    """It says what it was."""
    assert Bounds(2.0) == quantile_bounds(Sample([2.0], [0]), 0.5)


def width(bounds: Bounds) -> float:
    return bounds.high - bounds.low


def test_repeats_of_inputs_do_not_narrow_a_quantile() -> None:
    """Twenty inputs asked twenty times each are wider than four hundred of them."""
    lengths = independent(20).values
    order = random.Random(3).sample([at for at in range(20) for _ in range(20)], 400)
    repeated = Sample([lengths[at] + at * 1e-9 for at in order], order)

    assert width(quantile_bounds(repeated, 0.5)) > 2 * width(quantile_bounds(independent(400), 0.5))


def test_neighbours_in_time_that_are_alike_do_not_narrow_a_quantile() -> None:
    """A pace that lasts for forty trials is ten paces in four hundred."""
    paces = independent(10, seed=5).values
    slow = Sample([paces[at // 40] + at * 1e-9 for at in range(400)], list(range(400)))

    assert width(quantile_bounds(slow, 0.5)) > 2 * width(quantile_bounds(independent(400), 0.5))


def test_a_mean_is_as_sure_as_its_inputs_are_many() -> None:
    """Student's, where values lie evenly; and each value tenfold says what it says once."""
    values = [2.0, 3.0, 4.0, 5.0, 6.0]
    once, tenfold = (mean_bounds(Sample(values * n, list(range(5)) * n)) for n in (1, 10))

    assert stats.t.interval(0.95, 4, 4.0, stats.sem(values)) == pytest.approx((once.low, once.high), rel=0.01)
    assert (once.value, once.low, once.high) == pytest.approx((tenfold.value, tenfold.low, tenfold.high))


def test_a_few_large_values_push_the_interval_up() -> None:
    """Both of its ends, as such a mean is mostly too low; turned round, they pull it down."""
    values = [1.0] * 15 + [2.0] * 4 + [9.0]
    even = stats.t.interval(0.95, 19, sum(values) / 20, stats.sem(values))
    bounds = mean_bounds(Sample(values, list(range(20))))
    turned = mean_bounds(Sample([10.0 - value for value in values], list(range(20))))

    assert bounds.low > even[0]
    assert bounds.high > even[1]
    assert (10 - bounds.high, 10 - bounds.low) == pytest.approx((turned.low, turned.high))


def test_few_inputs_say_nothing_of_others() -> None:
    """However often they are asked."""
    assert Bounds(2.5) == mean_bounds(Sample([1.0, 2.0, 3.0, 4.0] * 50, [0, 1, 2, 3] * 50))
    assert Bounds(0.75) == share_bounds(Sample([1.0, 1.0, 1.0, 0.0] * 50, [0, 1, 2, 3] * 50))


def test_a_share_never_leaves_what_shares_can_be() -> None:
    """Nothing wrong in twenty inputs is not "never wrong"."""
    bounds = share_bounds(Sample([1.0] * 60, [at % 20 for at in range(60)]))

    assert (1.0, 1.0) == (bounds.value, bounds.high)
    assert 0.8 < bounds.low < 0.9


def test_an_independent_share_is_wilson_s() -> None:
    """As scipy has it, but for Student's t in the place of the normal distribution."""
    values = [1.0] * 70 + [0.0] * 30
    theirs = stats.binomtest(70, 100).proportion_ci(method="wilson")
    bounds = share_bounds(Sample(values, list(range(100))))

    assert (theirs.low, theirs.high) == pytest.approx((bounds.low, bounds.high), abs=0.004)
