"""`cascade`: near first, and when to go on."""

import math

import pytest

from policies.cascade import Cascade
from policies.types import Constraints, Estimate

INF = math.inf


def estimate(name: str, *, near: bool = False, accept: float | None = None, **figures) -> Estimate:
    given = {"latency_s": 1.0, "cost_usd": 0.001, "quality": None} | figures
    return Estimate(
        candidate_id=name,
        backend="local" if near else "remote",
        provider=name,
        near=near,
        latency_source="prior",
        service_s=1.0,
        cost_source="priced",
        accept_from=accept,
        accept_why="as configured",
        **given,
    )


def decided(*estimates: Estimate, **limits):
    return Cascade().decide(estimates, Constraints(**limits))


NEAR = estimate("near", near=True, accept=0.8, latency_s=9.0, quality=0.6)
DEAR, CHEAP = (estimate(name, cost_usd=cost) for name, cost in (("dear", 0.1), ("cheap", 0.01)))


def test_near_first_then_the_cheaper_far_one() -> None:
    """However slow near is; and the decision says from where on to ask further, and why."""
    found = decided(DEAR, CHEAP, NEAR)

    assert ("near", "cheap", "dear") == found.ranked
    assert 0.8 == found.escalate_below
    assert "below a confidence of 0.80 cheap is asked (as configured)" in found.reason


def test_who_is_no_better_comes_last() -> None:
    """A far answer of no better quality is not worth its price, however low."""
    worse = estimate("worse", cost_usd=0.0001, quality=0.6)

    assert ("near", "dear", "worse") == decided(worse, DEAR, NEAR).ranked
    assert None is decided(worse, NEAR).escalate_below


def test_without_a_far_one_there_is_nothing_to_go_on_to() -> None:
    """A request that may not leave is answered near, sure or not; so is one whose threshold nobody knows."""
    assert None is decided(NEAR, DEAR, private=True).escalate_below
    unknown = decided(estimate("near", near=True), DEAR)
    assert (("near", "dear"), None) == (unknown.ranked, unknown.escalate_below)
    assert "not known from which confidence" in unknown.reason


def test_without_a_near_one_the_far_ones_are_ranked() -> None:
    """No crash, and no threshold."""
    found = decided(DEAR, CHEAP)

    assert (("cheap", "dear"), None) == (found.ranked, found.escalate_below)


def test_a_near_model_that_is_never_sure_enough_is_not_asked_first() -> None:
    """Its answers would be escalated all; it stays the way out."""
    found = decided(estimate("near", near=True, accept=INF, quality=0.6), DEAR)

    assert (("dear", "near"), INF) == (found.ranked, found.escalate_below)
    assert "near is not asked first: as configured" in found.reason


@pytest.mark.parametrize(("order", "accept"), [(("dear",), 0.8), (("near",), INF), ((), INF)])
def test_near_answers_are_judged_whoever_goes_first(order, accept) -> None:
    """By the sender's order as well: a near answer that may be wrong is one wherever it stands."""
    found = decided(NEAR._replace(accept_from=accept), DEAR, order=order)

    assert accept == found.escalate_below


def test_the_reason_says_nothing_of_an_escalation_that_will_not_be() -> None:
    """Where the only far one is no better, whether or not the near one can be sure."""
    for accept in (0.8, INF):
        found = decided(NEAR._replace(accept_from=accept), DEAR._replace(quality=0.6))

        assert (("near", "dear"), None) == (found.ranked, found.escalate_below)
        assert "nobody far is known to be better, so no answer is escalated; next is dear" in found.reason
        assert "confidence" not in found.reason


@pytest.mark.parametrize("cost", [None, math.nan])
def test_an_unknown_price_is_no_candidate(cost) -> None:
    """What is escalated is paid: unknown is never 0."""
    [rejection] = decided(NEAR, estimate("far", cost_usd=cost)).rejections

    assert ("far", "price_unknown") == (rejection.candidate_id, rejection.code)
