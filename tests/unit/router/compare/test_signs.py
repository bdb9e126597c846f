"""The tests of paired differences, against scipy's and against counting."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from router.compare.signs import DRAWS, EXACT, holm, mean_sign, signed_rank, typical, walsh

FIGURES = st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=1, max_size=25)


def differences(count: int, mean: float = 0.3) -> list[float]:
    chance = random.Random(count)
    return [chance.gauss(mean, 1) for _ in range(count)]


@pytest.mark.parametrize("count", [5, 6, 12, 30, EXACT, EXACT + 1, 200])
def test_signed_ranks_are_wilcoxon_s_test(count) -> None:
    """Exact where there are few differences, and by the normal distribution with its correction above."""
    values = differences(count)
    exact = count <= EXACT
    theirs = stats.wilcoxon(values, method="exact" if exact else "approx", correction=not exact)

    assert theirs.pvalue == pytest.approx(signed_rank(values).p, rel=1e-9)


def test_ties_share_their_rank_and_differences_of_nothing_have_none() -> None:
    """As counted over all turns of signs."""
    values = [0.0, 1.0, 1.0, -1.0, 2.0, 2.0, 3.0]
    ranks = [2.0, 2.0, -2.0, 4.5, 4.5, 6.0]
    turns = [sum(r if n >> at & 1 else 0 for at, r in enumerate(map(abs, ranks))) for n in range(2**6)]
    least = 2.0

    assert min(1.0, 2 * sum(turn <= least for turn in turns) / 2**6) == pytest.approx(signed_rank(values).p)


@given(FIGURES)
def test_means_of_pairs_are_found_without_a_list_of_them(values) -> None:
    """Each one in its order."""
    ordered = sorted(values)
    means = sorted(a + (b - a) / 2 for at, a in enumerate(ordered) for b in ordered[at:])

    assert means == pytest.approx([walsh(ordered, k) for k in range(1, len(means) + 1)], abs=1e-9)


@given(FIGURES)
def test_the_typical_difference_lies_within_its_interval(values) -> None:
    """And is turned with the signs."""
    shift = signed_rank(values)

    assert typical(values) == shift.estimate
    assert -shift.estimate == pytest.approx(typical([-one for one in values]), abs=1e-9)
    if shift.low is not None:
        assert shift.low - 1e-9 <= shift.estimate <= shift.high + 1e-9


@pytest.mark.parametrize("count", [6, 10, 30, EXACT + 30])
def test_the_interval_holds_what_the_test_does_not_reject(count) -> None:
    """A shift just within an end is not rejected at 5 %, one just beyond it is."""
    values = differences(count)
    shift = signed_rank(values)
    step = 1e-7

    for end, outward in ((shift.low, -1), (shift.high, 1)):
        assert signed_rank([one - (end - outward * step) for one in values]).p > 0.05
        assert signed_rank([one - (end + outward * step) for one in values]).p <= 0.05


def test_five_differences_have_no_interval() -> None:
    """All of one sign, they come about by chance once in sixteen times."""
    shift = signed_rank([1.0, 2.0, 3.0, 4.0, 5.0])

    assert (None, None, 0.0625) == (shift.low, shift.high, shift.p)


@pytest.mark.parametrize("count", [6, 13, 14, 40, 300])
def test_signs_of_a_mean_are_a_permutation_test(count) -> None:
    """As scipy's, within what chance leaves to a draw."""
    values = differences(count, mean=1 / math.sqrt(count))
    theirs = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=20_000, rng=1
    )

    assert theirs.pvalue == pytest.approx(mean_sign(values), abs=4 * math.sqrt(0.25 / DRAWS))


def test_the_same_differences_have_the_same_p_value() -> None:
    """The draws are those of a fixed seed."""
    values = differences(40)

    assert mean_sign(values) == mean_sign(values)


def test_a_drawn_p_value_is_never_nothing() -> None:
    """The turn that was seen is one of them."""
    assert 1 / (DRAWS + 1) == mean_sign([1.0] * 60)


def test_nothing_but_equal_pairs_is_no_difference() -> None:
    """There is no sign to turn."""
    assert 1.0 == mean_sign([0.0] * 20) == signed_rank([0.0] * 20).p


def test_holm_corrects_the_smallest_most() -> None:
    """Times how many are left to reject, and never smaller than the one before."""
    after = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})

    assert {"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06} == pytest.approx(after)
    assert {"a": 1.0} == holm({"a": 1.0})
    assert {} == holm({})
