"""The arithmetic of intervals, against what is known."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.replay import anytime
from router.replay.anytime import sequence
from router.replay.arms import Arms
from router.replay.intervals import by_cluster, dof_of, mean_of, share, spread, student, t_quantile


@pytest.mark.parametrize(
    ("dof", "expected"), [(5, 2.5706), (10, 2.2281), (20, 2.0860), (50, 2.0086), (200, 1.9719), (math.inf, 1.9600)]
)
def test_student_s_quantiles_are_those_of_the_tables(dof, expected) -> None:
    """0.975 at each of these degrees of freedom."""
    assert expected == pytest.approx(t_quantile(0.975, dof), rel=2e-3)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    """For a plain mean both are s / sqrt(n)."""
    values = [1.0, 4.0, 2.0, 8.0, 5.0]
    mean, se = mean_of([(value, 1.0) for value in values])
    s2 = sum((v - 4.0) ** 2 for v in values) / 4

    assert (4.0, pytest.approx(math.sqrt(s2 / 5))) == (mean, se)


def test_requests_that_are_copies_of_each_other_do_not_narrow_the_interval() -> None:
    """Each value ten times in a cluster of its own says what the value once says."""
    values = [1.0, 4.0, 2.0, 8.0, 5.0]
    tenfold = [value for value in values for _ in range(10)]
    clusters = [n // 10 for n in range(50)]
    groups = by_cluster(clusters, [tenfold, [1.0] * 50])

    assert mean_of([(value, 1.0) for value in values])[1] == pytest.approx(mean_of(groups)[1])


def test_one_cluster_says_nothing() -> None:
    """Its standard error is infinite, never 0."""
    assert math.inf == spread([3.0])


def test_a_few_heavy_weights_leave_few_degrees_of_freedom() -> None:
    """A thousand requests of which ten weigh anything are about ten."""
    assert 9 < dof_of([50.0] * 10 + [0.01] * 990) < 11
    assert 998 < dof_of([1.0] * 1000) <= 999


def test_no_failure_does_not_prove_that_there_are_none() -> None:
    """The rule of three: up to about 3 in 300 remains possible."""
    interval = share(0.0, 0.0, 299, 300)

    assert interval.low == 0
    assert 0.009 < interval.high < 0.015


@given(st.floats(0, 1), st.floats(0, 0.5), st.floats(1, 1000), st.floats(1, 10_000))
def test_a_share_s_interval_holds_the_share_and_stays_in_0_to_1(value, se, dof, ess) -> None:
    """Whatever the standard error."""
    interval = share(value, se, dof, ess)

    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(1, 1000))
def test_an_interval_holds_its_estimate(value, se, dof) -> None:
    """And more degrees of freedom never widen it."""
    interval = student(value, se, dof)

    assert interval.low <= value <= interval.high
    assert interval.high >= student(value, se, dof + 10).high


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 1)), min_size=1, max_size=200))
def test_a_confidence_sequence_holds_its_estimate_and_stays_in_bounds(pairs) -> None:
    """For any weights and rewards."""
    interval = sequence([w for w, _ in pairs], [r for _, r in pairs], 1.0)

    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1


def test_a_confidence_sequence_holds_the_truth_at_every_look_at_once() -> None:
    """Over 100 logs of a logger that learns, looked at every fiftieth request; an ordinary interval is caught out."""
    caught = {"sequence": 0, "student": 0}
    for n in range(100):
        rng = random.Random(n)
        weights, rewards, misses = [], [], {"sequence": False, "student": False}
        for at in range(600):
            chance = 0.2 + 0.3 * (sum(rewards[-20:]) > 10)  # learns: the past decides
            weights.append((rng.random() < chance) / chance)
            rewards.append(float(rng.random() < 0.6))
            if at % 50 == 49:
                low, high = sequence(weights, rewards, 1.0)[1:3]
                misses["sequence"] |= not low <= 0.6 <= high
                mean, se = mean_of([(w * r, 1.0) for w, r in zip(weights, rewards, strict=True)])
                misses["student"] |= not student(mean, se, at).low <= 0.6 <= student(mean, se, at).high
        for kind, missed in misses.items():
            caught[kind] += missed

    assert caught["sequence"] <= 5
    assert caught["student"] > 10


def test_what_is_staked_is_set_before_the_window_s_length_is_known(monkeypatch) -> None:
    """Bets tuned anew to each length are another sequence at each look, and none of them holds at all looks at once."""
    staked, tuned = set(), anytime._tuned

    def spy(weights, rewards, hope, horizon):
        staked.add((hope, horizon))
        return tuned(weights, rewards, hope, horizon)

    monkeypatch.setattr(anytime, "_tuned", spy)
    for count in (*range(1, 400, 37), 3000):
        sequence([1.0] * count, [0.5] * count, 1.0)

    assert {100, 1000, 10_000} == {horizon for _, horizon in staked}
    assert [pytest.approx(math.log(2 * len(anytime.HORIZONS) / 0.05))] == list({hope for hope, _ in staked})


def test_the_direct_model_has_not_seen_what_it_judges() -> None:
    """A cluster's own answer does not move what is expected of it."""
    answers = [(cluster, "a", float(cluster % 7), 0.5) for cluster in range(100)]
    changed = [(c, arm, x, 100.0 if c == 3 else y) for c, arm, x, y in answers]

    assert Arms(answers).expect(3, "a", 3.0) == pytest.approx(Arms(changed).expect(3, "a", 3.0))
    assert Arms(answers).expect(4, "a", 3.0) != pytest.approx(Arms(changed).expect(4, "a", 3.0))


def test_the_direct_model_follows_what_was_predicted() -> None:
    """A candidate whose answers are twice the prediction is expected to be so again; of another it knows the mean."""
    answers = [(n, "a", float(n % 9), 2.0 * (n % 9)) for n in range(200)]

    assert 10.0 == pytest.approx(Arms(answers).expect(0, "a", 5.0), rel=0.05)
    assert 8.0 == pytest.approx(Arms(answers).expect(0, "nobody asked", 5.0), rel=0.05)
