"""How likely an answer in time is."""

from __future__ import annotations

from math import exp, nextafter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.chances import PRIOR_SPREAD, chance_within
from policies.types import Estimate, Quantiles

E = Estimate("a", "remote", "a", near=False, latency_s=1.0, latency_source="observed", service_s=1.0, cost_usd=0.0,
             cost_source="priced")  # fmt: skip
durations = st.floats(0, 1e4)
quantiles = st.lists(durations, min_size=4, max_size=4).map(lambda q: Quantiles(*sorted(q)))


def test_a_quantile_has_the_chance_that_it_is_named_for() -> None:
    """And between two of them the chance lies between theirs."""
    e = E._replace(latency=Quantiles(1.0, 2.0, 3.0, 10.0))

    for within_s, chance in ((1.0, 0.5), (2.0, 0.9), (3.0, 0.95), (10.0, 0.99)):
        assert pytest.approx(chance) == chance_within(e, within_s)
    assert 0.5 < chance_within(e, 1.5) < 0.9 < chance_within(e, 2.5) < 0.95 < chance_within(e, 5.0) < 0.99
    assert 0.99 < chance_within(e, 30.0) < 1
    assert 0 < chance_within(e, 0.5) < 0.5


def test_a_log_normal_is_met_everywhere() -> None:
    """Of such a process the interpolation is the distribution itself, beyond the outer quantiles too."""
    drawn = Random(7)
    of = [exp(drawn.gauss(0.5, 0.8)) for _ in range(20_000)]
    e = E._replace(latency=Quantiles(*(exp(0.5 + 0.8 * z) for z in (0.0, 1.28155, 1.64485, 2.32635))))

    for within_s in (0.3, 1.0, 2.0, 5.0, 9.0, 14.0):
        assert pytest.approx(sum(t <= within_s for t in of) / len(of), abs=0.01) == chance_within(e, within_s)


def test_who_was_never_observed_must_be_expected_well_within_time() -> None:
    """Its spread is a wide one: 95 % needs five times what is expected."""
    assert pytest.approx(0.5) == chance_within(E, 1.0)
    assert chance_within(E, 5.0) < 0.95 < chance_within(E, exp(1.65 * PRIOR_SPREAD))


def test_quantiles_that_coincide_are_a_step() -> None:
    """What always takes a second never takes less, and never more."""
    e = E._replace(latency=Quantiles(1.0, 1.0, 1.0, 1.0))
    hardly_apart = E._replace(latency=Quantiles(3.0, nextafter(3.0, 4), nextafter(3.0, 4), 1e300))

    assert (0.0, 1.0, 1.0) == tuple(chance_within(e, within_s) for within_s in (0.999, 1.0, 1.001))
    assert chance_within(hardly_apart, 3.0) <= chance_within(hardly_apart, nextafter(3.0, 4))
    assert (0.0, 0.95) == (chance_within(hardly_apart, 2.0), pytest.approx(chance_within(hardly_apart, 3.1), abs=1e-3))


@given(latency=st.none() | quantiles, expected_s=durations, one=durations, other=durations)
def test_more_time_never_lowers_the_chance(latency, expected_s, one, other) -> None:
    """And a chance is one, whatever the quantiles; there is none in no time."""
    e = E._replace(latency=latency, latency_s=expected_s)
    less, more = (chance_within(e, within_s) for within_s in sorted((one, other)))

    assert 0 <= less <= more <= 1
    assert 0 == chance_within(e, 0.0) == chance_within(e, -1.0)
