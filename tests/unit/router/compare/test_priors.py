"""What a run says of a candidate before the next request."""

import pytest
from msgspec.structs import replace

from router.compare.priors import priors_of
from router.compare.run import Closed
from tests.unit.router.compare.runs import simulated


def changed(run, change):
    return replace(run, trials=tuple(change(trial) for trial in run.trials))


def test_speed_is_measured_for_each_input() -> None:
    """The median of its repeats, and the median of all with its interval."""
    a, b = priors_of(simulated(1, factors={"a": 1.0, "b": 2.0}))

    assert ("local:a", 100, 20, 5) == (a.candidate_id, a.n, len(a.speeds), a.speeds[0].n)
    assert 10 == a.speeds[0].input_tokens
    assert a.service_s.low < a.service_s.value < a.service_s.high
    assert 1.5 < b.service_s.value / a.service_s.value < 2.5


def test_the_wait_for_a_turn_is_no_speed() -> None:
    """As the candidate measured itself, else less what is known of the wait."""
    run = simulated(1)
    (measured, _), (waited, _) = (
        priors_of(changed(run, lambda each, about=about: replace(each, total_s=5.0, **about)))
        for about in ({"service_s": 0.5}, {"queue_s": 4.0})
    )

    assert (0.5, 1.0) == (measured.service_s.value, pytest.approx(waited.service_s.value))


def test_the_lightest_load_counts() -> None:
    """Under others a candidate waits for itself."""
    run = simulated(1)
    heavy = tuple(replace(each, load=0, total_s=9.0) for each in run.trials)
    light = tuple(replace(each, load=1) for each in run.trials)
    both = replace(run, loads=(Closed(concurrency=8), Closed()), trials=heavy + light)

    assert [each.service_s for each in priors_of(run)] == [each.service_s for each in priors_of(both)]


def test_quality_is_what_was_judged_and_by_what() -> None:
    """The reference has none of its own, and whoever was not judged none at all."""
    run = changed(simulated(1), lambda each: replace(each, score=0.8))
    right, agreed = (
        priors_of(replace(run, metric="exact_match")),
        priors_of(replace(run, metric="cosine", reference="a")),
    )
    nothing = priors_of(simulated(1))

    assert (pytest.approx(0.8), 20, "exact_match", None) == (
        right[0].quality.value, right[0].quality_inputs, right[0].metric, right[0].relative_to,
    )  # fmt: skip
    assert (None, 0, None) == (agreed[0].quality, agreed[0].quality_inputs, agreed[0].relative_to)
    assert "a" == agreed[1].relative_to
    assert (None, 0, None) == (nothing[0].quality, nothing[0].quality_inputs, nothing[0].metric)


def test_unknown_sizes_stay_unknown() -> None:
    """None, never 0."""
    (first, _) = priors_of(changed(simulated(1), lambda each: replace(each, input_tokens=None)))

    assert {(None, None)} == {(speed.input_tokens, speed.output_tokens) for speed in first.speeds}


def test_who_never_answered_has_no_prior() -> None:
    """Nothing was measured of it."""
    run = changed(simulated(1), lambda each: replace(each, status="error") if each.candidate == "a" else each)

    assert ["local:b"] == [each.candidate_id for each in priors_of(run)]
