"""Temperature, calibration error, thresholds and intervals, on numbers whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.local.intents.calibration import (
    best_cut,
    best_slope,
    calibration_error,
    free_energy,
    log_softmax,
    passed_by,
    temperature_of,
    wilson,
)

likenesses = st.lists(st.floats(-2, 2), min_size=1, max_size=30).map(np.array)


def drawn(sharpness, texts=4000, labels=5):
    """Logits that are too sharp by a factor, and labels drawn from the probabilities they should stand for."""
    dice = np.random.default_rng(0)
    honest = dice.normal(size=(texts, labels)) * 2
    right = (np.exp(log_softmax(honest)).cumsum(axis=1) > dice.random((texts, 1))).argmax(axis=1)
    return honest * sharpness, right


@pytest.mark.parametrize("sharpness", [0.25, 1.0, 4.0])
def test_the_temperature_undoes_what_was_too_sharp(sharpness):
    """Within sampling noise; afterwards confidence is what it says."""
    logits, labels = drawn(sharpness)
    temperature, loss = temperature_of(logits, labels)
    probabilities = np.exp(log_softmax(logits / temperature))

    assert pytest.approx(sharpness, rel=0.1) == temperature
    assert loss == pytest.approx(temperature_of(logits * 3, labels)[1], abs=1e-3)
    assert calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels) < 0.02


def test_a_few_texts_that_came_out_right_are_no_certainty():
    """Without doubt the best temperature would be the coldest there is."""
    logits = np.eye(4)
    temperature, _ = temperature_of(logits, np.arange(4))

    assert 0.5 < np.exp(log_softmax(logits / temperature)).max() < 0.95


def test_calibration_error_is_the_gap():
    """Confidence 0.9 and accuracy 0.5 lie 0.4 apart."""
    right = np.arange(300) % 2 == 0

    assert pytest.approx(0.4, abs=1e-9) == calibration_error(np.full(300, 0.9), right)
    assert pytest.approx(0, abs=1e-9) == calibration_error(np.full(300, 0.5), right)


def test_free_energy_is_a_soft_maximum():
    """It tends to the largest logit as the temperature falls, and never overflows."""
    logits = np.array([[1.0, 3.0], [1000.0, -1000.0]])

    np.testing.assert_allclose([3.0, 1000.0], free_energy(logits, 0.01), atol=1e-6)
    np.testing.assert_allclose(3 + np.log(1 + np.exp(-2)), free_energy(logits, 1.0)[0])


def test_the_wilson_interval_is_the_published_one():
    """8 of 10: 0.490 to 0.943 (Newcombe, 1998, method 3, rounded)."""
    assert pytest.approx((0.490, 0.943), abs=1e-3) == wilson(8, 10)
    assert 1.0 == pytest.approx(wilson(10, 10)[1])
    assert 0.0 == pytest.approx(wilson(0, 10)[0])


@given(likenesses, likenesses)
def test_no_cut_is_better_than_the_best(known, unknown):
    """By balanced accuracy, over every threshold that makes a difference."""

    def shares(cut):
        return (known >= cut).mean() + (unknown < cut).mean()

    every = np.concatenate([known, unknown, [-9, 9]])
    assert shares(best_cut(known, unknown)) >= max(shares(cut) for cut in every) - 1e-9 or len(every) < 5


def test_a_share_of_the_weight_passes():
    """Half of four equal texts are two; a text of half the weight is half."""
    known = np.array([0.4, 0.1, 0.3, 0.2])

    assert 0.3 == passed_by(0.5, known, np.ones(4))
    assert 0.1 == passed_by(1.0, known, np.ones(4))
    assert 0.4 == passed_by(0.5, known, np.array([3.0, 1.0, 1.0, 1.0]))


def test_a_slope_is_steeper_where_sides_are_clearer():
    """But bounded, and no cliff for a handful of texts."""
    known, unknown = np.linspace(0.6, 1, 60), np.linspace(0, 0.4, 60)
    clear, mixed = (best_slope(known - nearer, unknown + nearer, 0.5, first=10) for nearer in (0, 0.2))
    few = best_slope(known[::30], unknown[::30], 0.5, first=10)

    assert 2.5 <= mixed < clear < 40
    assert few < clear
