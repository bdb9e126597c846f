"""`balanced`: the formula, its edges and its version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.chances import chance_within
from policies.types import Constraints, Decision, Estimate, Quantiles, Weights
from policies.weighted import Balanced

A = Estimate(
    "a",
    "local",
    "local",
    near=True,
    latency_s=1.0,
    latency_source="observed",
    service_s=1.0,
    cost_usd=0.04,
    cost_source="occupancy",
    quality=0.5,
)
B = A._replace(
    candidate_id="b", backend="remote", provider="groq", near=False, latency_s=4.0, cost_usd=0.01, quality=0.9
)
C = B._replace(candidate_id="c", latency_s=2.0, cost_usd=0.02, quality=None)


def decided(*slate: Estimate, weights: Weights | None = None) -> Decision:
    return Balanced(weights or Weights()).decide(slate, Constraints())


def test_the_score_is_the_stated_formula() -> None:
    """Latency and cost over their maxima, quality as its shortfall, unknown quality at the median, by weight."""
    scores = decided(A, B, C, weights=Weights(latency=1, cost=2, quality=5)).scores

    assert pytest.approx({"a": 4.75 / 8, "b": 2.0 / 8, "c": (0.5 + 1.0 + 5 * 0.3) / 8}) == scores


def test_the_reason_gives_scores_and_figures() -> None:
    """A person sees what was weighed, by how much it won and what to expect."""
    expected = (
        "b has the best balance of latency, cost and quality: score 0.450 against 0.583 (a); expected 4.00 s, $0.01."
    )

    assert expected == decided(A, B).reason


def test_quality_is_left_out_when_nobody_knows_any() -> None:
    """The others then share the whole weight, and the reason says so."""
    decision = decided(A._replace(quality=None), C._replace(quality=float("nan")))

    assert pytest.approx({"a": (0.5 + 1.0) / 2, "c": (1.0 + 0.5) / 2}) == decision.scores
    expected = (
        "a has the best balance of latency and cost (no quality is known): score 0.750 against 0.750 (c), "
        "first by latency, 1.00 s against 2.00 s; expected 1.00 s, $0.04."
    )
    assert expected == decision.reason


def test_only_quality_weighs_and_none_is_known() -> None:
    """Nothing is left to weigh: every score is 0 and latency decides."""
    decision = decided(B._replace(quality=None), A._replace(quality=None), weights=Weights(0, 0, 1))

    assert (("a", "b"), {"a": 0.0, "b": 0.0}) == (decision.ranked, decision.scores)


def test_a_maximum_of_zero_makes_the_term_zero() -> None:
    """When everything is free and instant, quality alone decides, without a division by zero."""
    slate = [e._replace(latency_s=0.0, cost_usd=0.0) for e in (A, B)]

    assert pytest.approx({"a": 0.5 / 3, "b": 0.1 / 3}) == decided(*slate).scores


def test_a_tiny_difference_stays_tiny() -> None:
    """Min-max would give 1 % more latency the whole weight; a far better price must outweigh it."""
    slate = [A._replace(latency_s=1.00, cost_usd=0.04), B._replace(latency_s=1.01, cost_usd=0.01, quality=0.5)]

    assert ("b", "a") == decided(*slate, weights=Weights(latency=2, cost=1, quality=0)).ranked


def test_an_unknown_price_is_rejected() -> None:
    """Balanced weighs cost, so it cannot place what has none."""
    decision = decided(A, B._replace(cost_usd=None))

    assert ("a",) == decision.ranked
    assert ["price_unknown"] == [r.code for r in decision.rejections]


def test_the_version_follows_the_ratios_of_the_weights() -> None:
    """Only ratios matter, so (1, 2, 3) and (0.1, 0.2, 0.3) are one version and (3, 2, 1) is another."""
    version = Balanced(Weights(1, 2, 3)).version

    assert version == Balanced(Weights(0.1, 0.2, 0.3)).version
    assert version != Balanced(Weights(3, 2, 1)).version
    assert version == Balanced(Weights(1, 2, 3)).decide([], Constraints()).version


@pytest.mark.parametrize(
    "weights", [Weights(0, 0, 0), Weights(-1, 1, 1), Weights(1, float("nan"), 1), Weights(float("inf"), 1, 1)]
)
def test_unusable_weights_are_refused_at_once(weights: Weights) -> None:
    """They are refused when the policy is made, not at the first request."""
    with pytest.raises(ValueError, match=r"weights of balanced must be finite, not negative and not all 0"):
        Balanced(weights)


def test_who_would_be_late_goes_behind_who_is_in_time() -> None:
    """A cheap candidate that will hardly be in time goes behind a dearer one that will; without a deadline it leads."""
    cheap = A._replace(candidate_id="cheap", cost_usd=0.001, latency_s=9.0, latency=Quantiles(9.0, 12.0, 14.0, 20.0))
    quick = A._replace(candidate_id="quick", cost_usd=0.01, latency_s=5.0, latency=Quantiles(5.0, 5.2, 5.3, 5.5))
    slate = (cheap, quick)

    assert Balanced().decide(slate, Constraints()).ranked == ("cheap", "quick")
    decision = Balanced().decide(slate, Constraints(deadline_s=6.0))

    assert decision.ranked == ("quick", "cheap")
    assert "a chance of being late of 0% against" in decision.reason


@given(deadline_s=st.floats(0.01, 100.0), lateness=st.floats(0.0, 100.0))
def test_lateness_is_weighed_against_the_rest_as_stated(deadline_s, lateness) -> None:
    """The score is the rest's, and the chance of being late times its weight, over both weights."""
    without = Balanced(Weights(lateness=lateness)).decide((A, B, C), Constraints()).scores
    within = Balanced(Weights(lateness=lateness)).decide((A, B, C), Constraints(deadline_s=deadline_s)).scores

    for e in (A, B, C):
        late = 1 - chance_within(e, deadline_s)
        expected = (without[e.candidate_id] + lateness * late) / (1 + lateness)
        assert pytest.approx(expected) == within[e.candidate_id]
