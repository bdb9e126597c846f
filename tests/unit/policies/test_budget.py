"""`budget`: money goes where it buys most, and lasts for the day."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.budget import Budget
from policies.types import Constraints, Estimate, Pacing

NEAR = Estimate("near", "local", "local", near=True, latency_s=5.0, latency_source="observed", service_s=5.0,
                cost_usd=0.0, cost_source="occupancy")  # fmt: skip
FAR = NEAR._replace(candidate_id="far", backend="remote", provider="far", near=False, latency_s=1.0, cost_usd=0.001)
shares = st.floats(0, 1)


def goes_far(near: Estimate = NEAR, far: Estimate = FAR, **pacing: float) -> bool:
    paced = far._replace(pacing=Pacing(**pacing)) if pacing else far
    return Budget().decide([near, paced], Constraints()).ranked[0] == "far"


def test_four_seconds_are_worth_more_than_a_tenth_of_a_cent() -> None:
    """Until the money runs ahead of the day so far that a dollar counts more than four times."""
    assert goes_far()
    assert goes_far(spent=0.2, elapsed=0.5)
    assert goes_far(spent=0.56, elapsed=0.5)
    assert not goes_far(spent=0.58, elapsed=0.5)


def test_the_reason_has_the_shadow_price_and_where_it_comes_from() -> None:
    """Whoever reads it can check the sum."""
    paced = FAR._replace(pacing=Pacing(spent=0.6, elapsed=0.5))
    reason = Budget().decide([NEAR, paced], Constraints()).reason

    assert reason == (
        "near costs least in all, $0.005 against $0.00839 (far): expected 5.00 s, $0, "
        "and a dollar counts 7.39 times with 60% of the day's money spent in 50% of the day."
    )


def test_quality_is_worth_money_too() -> None:
    """As fast and much better goes far; unknown quality counts as the median of the known, so as no gain."""
    slow = FAR._replace(latency_s=5.0)

    assert goes_far(NEAR._replace(quality=0.2), slow._replace(quality=0.9))
    assert not goes_far(NEAR, slow._replace(quality=0.9))
    assert not goes_far(NEAR, slow)


def test_near_money_is_not_the_budgets() -> None:
    """What this machine costs counts once, however the day's money stands."""
    dear = NEAR._replace(cost_usd=0.004)

    assert not goes_far(NEAR, FAR._replace(cost_usd=0.0045))
    assert goes_far(dear, FAR._replace(cost_usd=0.0045))


@pytest.mark.parametrize("wrong", [{"second_usd": -1.0}, {"quality_usd": float("nan")}, {"gain": float("inf")}])
def test_figures_that_are_none_are_refused(wrong) -> None:
    """By name."""
    with pytest.raises(ValueError, match="must be finite and 0 or more"):
        Budget(**wrong)


@given(
    spent=st.lists(shares, min_size=2, max_size=2), elapsed=shares, latency_s=st.floats(0, 10), cents=st.floats(0, 1)
)
def test_more_money_left_never_means_less_far(spent, elapsed, latency_s, cents) -> None:
    """Nor does more of the day gone."""
    less, more = sorted(spent)
    far = FAR._replace(latency_s=latency_s, cost_usd=cents / 100)

    if goes_far(NEAR, far, spent=more, elapsed=elapsed):
        assert goes_far(NEAR, far, spent=less, elapsed=elapsed)
        assert goes_far(NEAR, far, spent=more, elapsed=min(1.0, elapsed + 0.1))


def a_day(limit_usd: float, gain: float, *, requests: int = 4000) -> tuple[list[float], float]:
    """What is spent by each quarter of a day whose requests differ in what far gains them, and what that bought."""
    drawn, policy = Random(11), Budget(gain=gain)
    spent = bought = 0.0
    by_quarter = []
    for i in range(requests):
        near = NEAR._replace(latency_s=drawn.expovariate(1 / 5.0))
        pacing = Pacing(spent=spent / limit_usd, elapsed=i / requests)
        over = "spent" if spent + 0.001 > limit_usd else None
        far = FAR._replace(latency_s=near.latency_s * 0.2, pacing=pacing, over_budget=over)
        if policy.decide([near, far], Constraints()).ranked[0] == "far":
            spent, bought = spent + 0.001, bought + near.latency_s - far.latency_s
        if (i + 1) % (requests // 4) == 0:
            by_quarter.append(spent)
    return by_quarter, bought


def test_a_days_money_lasts_for_the_day_and_buys_more() -> None:
    """Unpaced, half of what the day could use is gone by noon; paced, it buys a third more seconds."""
    paced, seconds = a_day(1.0, gain=20.0)
    unpaced, unpaced_seconds = a_day(1.0, gain=0.0)

    assert 0.95 < paced[-1] <= 1.0 + 1e-9
    assert [0.25, 0.5, 0.75] == pytest.approx(paced[:3], abs=0.12)
    assert unpaced[1] > 0.65
    assert seconds > 1.25 * unpaced_seconds
