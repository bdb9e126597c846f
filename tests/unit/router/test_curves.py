"""A curve through measurements: what was measured at its points, lines between, proportional beyond, never falling."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.reports import Measurement
from backends.types import Usage
from router.curves import MAX_MEASURED, curve_of
from router.priors import prior_service_s
from router.slate import Size
from tests.unit.router.test_estimates import candidate

WHOM = candidate()
measured = st.lists(st.tuples(st.integers(1, 10**6), st.floats(1e-6, 1e4)), min_size=1, max_size=8)


def measurements(points) -> list[Measurement]:
    return [Measurement(usage=Usage(prompt_tokens=count), service_s=seconds) for count, seconds in points]


def prior_s(count: int) -> float:
    return prior_service_s(WHOM, Size(items=1, input_tokens=count))


@given(measured, st.floats(1e-3, 1e6), st.floats(0, 1e6))
def test_a_larger_request_is_never_expected_to_be_faster(points, here_s, more_s) -> None:
    """Whatever noise was measured; and it is always a duration."""
    curve = curve_of(WHOM, measurements(points))

    assert curve is not None
    assert 0 < curve.at(here_s) <= curve.at(here_s + more_s) * (1 + 1e-9) < math.inf


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=8, unique=True))
def test_each_measurement_is_on_the_curve(counts) -> None:
    """Where larger ones took longer; their order does not matter."""
    points = [(count, count / 1000) for count in counts]
    curve = curve_of(WHOM, measurements(points))

    assert curve is not None
    for count, seconds in points:
        assert pytest.approx(seconds) == curve.at(prior_s(count))
    assert curve == curve_of(WHOM, measurements(reversed(points)))


def test_between_the_points_it_is_a_line_and_beyond_them_proportional() -> None:
    """An end that is not measured grows as the prior does."""
    curve = curve_of(WHOM, measurements([(1000, 1.0), (3000, 5.0)]))

    assert curve is not None
    assert pytest.approx(3.0) == curve.at((prior_s(1000) + prior_s(3000)) / 2)
    assert pytest.approx(0.5) == curve.at(prior_s(1000) / 2)
    assert pytest.approx(10.0) == curve.at(prior_s(3000) * 2)


def test_nothing_measured_is_no_curve() -> None:
    """Neither are durations that are none; how many count is bounded."""
    assert curve_of(WHOM, []) is None
    assert curve_of(WHOM, measurements((10, s) for s in (0.0, -1.0, math.nan, math.inf))) is None
    many = curve_of(WHOM, measurements((count, 1.0) for count in range(1, 10 * MAX_MEASURED)))
    assert many is not None
    assert MAX_MEASURED == len(many.prior_s)
