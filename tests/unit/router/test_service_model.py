"""The service time's filter: it finds the parts, follows a level that changed, and shrugs at outliers."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.prediction.service import FARTHEST, RECENT, ServiceModel

PRIOR = (0.4, 5e-5, 0.02)  # seconds: fixed, per prompt token, per answer token
TRUTH = (0.25, 2e-4, 0.008)

parts = st.tuples(st.floats(1e-4, 10), st.floats(0, 100), st.floats(0, 1000))
observations = st.lists(st.tuples(parts, st.floats(1e-6, 1e6)), max_size=40)


def of(read: int, made: int, figures=PRIOR) -> tuple[float, float, float]:
    return figures[0], figures[1] * read, figures[2] * made


def requests(seed: int, count: int, sigma: float = 0.2, level: float = 1.0):
    """Sizes as they come, and what each takes."""
    dice = random.Random(seed)
    for _ in range(count):
        read, made = round(math.exp(dice.gauss(5, 1.2))), round(math.exp(dice.gauss(4.5, 0.8)))
        yield of(read, made), level * sum(of(read, made, TRUTH)) * math.exp(dice.gauss(0, sigma))


def taught(count: int = 300, seed: int = 1, **process) -> ServiceModel:
    model = ServiceModel()
    for shape, seconds in requests(seed, count, **process):
        model.observe(shape, seconds)
    return model


def off(model: ServiceModel, level: float = 1.0) -> float:
    """The median relative error of the expected time, over sizes that were not taught."""
    errors = sorted(abs(model.seconds(shape) / seconds - 1) for shape, seconds in requests(99, 99, 0.0, level))
    return errors[len(errors) // 2]


@pytest.mark.parametrize("seed", range(4))
def test_parts_whose_prior_is_wrong_are_found(seed) -> None:
    """Each has a factor of its own: no single one fits prompts and answers."""
    assert off(taught(seed=seed)) < 0.06


@pytest.mark.parametrize("level", [3.0, 1 / 3])
@pytest.mark.parametrize("seed", range(4))
def test_a_level_that_changed_is_followed_within_fifty_observations(seed, level) -> None:
    """A provider that slows down to a third, or recovers."""
    model = taught(seed=seed)
    for shape, seconds in requests(seed + 50, 50, level=level):
        model.observe(shape, seconds)

    assert off(model, level) < 0.15


def test_a_change_says_how_far_and_since_when() -> None:
    """So that whoever keeps errors can judge them by the new level."""
    model, found = taught(), []
    for shape, seconds in requests(7, 50, level=3.0):
        found.append(model.observe(shape, seconds))
    [change] = [one for one in found if one is not None]

    assert pytest.approx(math.log(3), abs=0.35) == change.shift
    assert found.index(change) < 25
    assert 5 <= change.since <= found.index(change) + 3


@pytest.mark.parametrize("times", [100.0, 1e6, 1e-6])
def test_an_outlier_moves_what_is_expected_by_little_however_far_away_it_lies(times) -> None:
    """Less than a tenth, and no further for a million times than for a hundred."""
    model = taught()
    shape, seconds = next(requests(3, 1))
    before = model.seconds(shape)
    model.observe(shape, seconds * times)

    assert abs(math.log(model.seconds(shape) / before)) < 0.1


def test_one_in_ten_that_hangs_leaves_the_rest_as_they_were() -> None:
    """Time-outs of a minute do not become what is expected."""
    model, dice = taught(), random.Random(2)
    for shape, seconds in requests(11, 300):
        model.observe(shape, 60.0 if dice.random() < 0.1 else seconds)

    assert off(model) < 0.2


@given(observations, parts, parts)
def test_a_larger_request_is_never_expected_to_be_faster(past, shape, more) -> None:
    """Whatever was seen: every part's factor is above 0, and finite."""
    model = ServiceModel()
    for seen, seconds in past:
        model.observe(seen, seconds)
    larger = tuple(a + b for a, b in zip(shape, more, strict=True))

    assert 0 < model.seconds(shape) <= model.seconds(larger) < math.inf
    assert all(abs(log) <= FARTHEST for log in model.logs)
    assert len(model.recent) <= RECENT


@given(parts, st.floats(1e-6, 1e6))
def test_the_first_observation_is_met_exactly_by_moving_all_parts_alike(shape, seconds) -> None:
    """A guess deserves no weight beside a fact; the shape stays the prior's until sizes differ."""
    model = ServiceModel()
    model.observe(shape, seconds)

    assert pytest.approx(seconds) == model.seconds(shape)
    assert 1 == len(set(model.logs))


def test_what_was_measured_on_purpose_is_met_as_well_as_can_be() -> None:
    """Prompts and answers of several lengths, without noise: every one within a few percent."""
    measured = [(of(i, o), sum(of(i, o, TRUTH))) for i, o in ((20, 16), (20, 128), (1500, 16), (1500, 128))]
    model = ServiceModel()
    model.fit(measured)

    assert all(pytest.approx(seconds, rel=0.05) == model.seconds(shape) for shape, seconds in measured)
