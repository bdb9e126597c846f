"""The threshold of a cascade: the lowest that is proven to hold the target."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.section_of_routing import CascadeSettings
from router.thresholds import GRID, NOTHING_HOLDS, Pair, choose, lowest_holding, p_value

SETTINGS = CascadeSettings()
pair_lists = st.lists(st.builds(Pair, st.floats(0, 1), st.sampled_from([0.0, 1.0])), max_size=200)


def drawn(dice: random.Random, count: int) -> list[Pair]:
    """Answers whose probability of being right is the confidence to the power of 1/2: not calibrated, but in order."""
    confidences = [dice.random() for _ in range(count)]
    return [Pair(c, float(dice.random() < math.sqrt(c))) for c in confidences]


def true_quality(threshold: float) -> float:
    """The share of right answers among those from the threshold on, in the world of `drawn`."""
    return 2 / 3 * (1 - threshold**1.5) / (1 - threshold) if threshold < 1 else 1.0


def test_few_pairs_leave_what_is_configured() -> None:
    """And say so, with how many it takes."""
    found = choose([Pair(0.9, 1.0)] * 49, SETTINGS)

    assert (0.8, False) == (found.value, found.learnt)
    assert "49 of the 50" in found.why


def test_answers_that_are_always_right_are_all_accepted() -> None:
    """The lowest threshold of the grid."""
    found = choose([Pair(step / 100, 1.0) for step in range(100)], SETTINGS)

    assert (0.0, True) == (found.value, found.learnt)


def test_answers_that_are_mostly_wrong_are_all_escalated() -> None:
    """No threshold holds, however sure the model is."""
    found = choose([Pair(0.99, float(n % 2)) for n in range(200)], SETTINGS)

    assert NOTHING_HOLDS == found.value
    assert "no part" in found.why


def test_the_sure_half_is_accepted() -> None:
    """Right above 0.5, wrong below."""
    pairs = [Pair(step / 200, float(step >= 100)) for step in range(200)]

    assert 0.5 >= choose(pairs, SETTINGS).value > 0.4


@pytest.mark.parametrize(("count", "wrong", "share"), [(30, 0, 0.1), (100, 5, 0.1), (1000, 80, 0.1), (50, 20, 0.5)])
def test_a_p_value_is_the_binomial_tail(count, wrong, share) -> None:
    """Against the sum written out."""
    exact = sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(wrong + 1))

    assert p_value(count, count - wrong, 1 - share) == pytest.approx(exact, rel=1e-9)


@given(count=st.integers(1, 500), target=st.floats(0.05, 0.99), share=st.floats(0, 1))
def test_judgements_between_right_and_wrong_prove_less(count, target, share) -> None:
    """The bound for graded answers is never below the exact tail of as many whole ones."""
    right = math.floor(count * share)

    assert p_value(count, right, target, graded=True) >= p_value(count, right, target) * (1 - 1e-9)


@given(pairs=pair_lists, targets=st.tuples(st.floats(0.05, 0.99), st.floats(0.05, 0.99)))
@settings(deadline=None)
def test_what_is_proven_of_a_higher_target_is_proven_of_a_lower_one(pairs, targets) -> None:
    """Its own threshold need not be lower: fewer pairs can prove it, so its sequence begins, and ends, sooner."""
    low, high = sorted(targets)
    threshold = lowest_holding(pairs, high, 0.1)
    accepted = [pair.right for pair in pairs if pair.confidence >= threshold]
    graded = any(0 < pair.right < 1 for pair in pairs)

    assert not accepted or p_value(len(accepted), sum(accepted), low, graded=graded) <= 0.1 + 1e-9


@given(pairs=pair_lists, target=st.floats(0.05, 0.99), data=st.data())
@settings(deadline=None)
def test_the_order_of_pairs_does_not_matter(pairs, target, data) -> None:
    """It is a set of facts."""
    assert lowest_holding(pairs, target, 0.1) == lowest_holding(data.draw(st.permutations(pairs)), target, 0.1)


@given(pairs=pair_lists, target=st.floats(0.05, 0.99))
@settings(deadline=None)
def test_what_is_accepted_did_hold_the_target_in_the_pairs(pairs, target) -> None:
    """A proof never says more than the data did."""
    threshold = lowest_holding(pairs, target, 0.1)
    accepted = [pair.right for pair in pairs if pair.confidence >= threshold]

    assert NOTHING_HOLDS == threshold or (threshold in GRID and sum(accepted) / len(accepted) >= target)


@pytest.mark.parametrize(("count", "target"), [(100, 0.8), (300, 0.8), (300, 0.9), (1000, 0.9)])
def test_the_target_is_missed_no_oftener_than_the_risk_allows(count, target) -> None:
    """Over 400 draws with known truth; 0.1 is nominal, and chance adds 0.045 in 1 of 500 runs at most."""
    dice = random.Random(count * 100 + round(target * 10))
    found = [lowest_holding(drawn(dice, count), target, 0.1) for _ in range(400)]
    missed = [threshold for threshold in found if threshold != NOTHING_HOLDS and true_quality(threshold) < target]

    assert len(missed) / len(found) <= 0.145


def test_more_pairs_come_nearer_to_the_best_threshold() -> None:
    """With 2000 the threshold found is close to the lowest that holds in truth."""
    best = min(threshold for threshold in GRID if true_quality(threshold) >= 0.8)
    dice = random.Random(1)
    found = sorted(lowest_holding(drawn(dice, 2000), 0.8, 0.1) for _ in range(20))[10]

    assert best <= found <= best + 0.15


def test_a_target_of_all_can_never_be_proven() -> None:
    """However many right answers there were."""
    assert NOTHING_HOLDS == lowest_holding([Pair(1.0, 1.0)] * 1000, 1.0, 0.1)
