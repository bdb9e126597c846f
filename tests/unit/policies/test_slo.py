"""`slo`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.chances import chance_within
from policies.slo import Slo
from policies.types import Constraints, Estimate, Quantiles

NEAR = Estimate("near", "local", "local", near=True, latency_s=2.0, latency_source="observed", service_s=2.0,
                cost_usd=1e-6, cost_source="occupancy", latency=Quantiles(2.0, 3.0, 4.0, 8.0))  # fmt: skip
FAR = NEAR._replace(candidate_id="far", backend="remote", provider="far", near=False, cost_usd=1e-3, latency_s=0.5,
              latency=Quantiles(0.5, 0.8, 1.0, 2.0))  # fmt: skip
targets = st.floats(0.01, 0.99)


@st.composite
def slates(draw: st.DrawFn) -> list[Estimate]:
    made = []
    for i in range(draw(st.integers(1, 6))):
        latency = Quantiles(*sorted(draw(st.lists(st.floats(0.01, 20), min_size=4, max_size=4))))
        cost = draw(st.integers(0, 1000)) / 1e6
        made.append(FAR._replace(candidate_id=f"c{i}", latency=latency, latency_s=latency.p50_s, cost_usd=cost))
    return made


def decided(*slate: Estimate, within_s: float | None, target: float = 0.95):
    return Slo(target).decide(slate, Constraints(deadline_s=within_s))


def test_the_cheapest_that_is_in_time_serves() -> None:
    """With four seconds near is good enough, with three it is not, and the reason has the figures."""
    relaxed, pressed = decided(FAR, NEAR, within_s=4.0), decided(FAR, NEAR, within_s=3.0)

    assert (("near", "far"), ("far", "near")) == (relaxed.ranked, pressed.ranked)
    expected = (
        "near is the cheapest that answers within 4.00 s with 95.0% or more: $0.000001 at 95.0% against $0.001 (far)."
    )
    assert expected == relaxed.reason
    assert pressed.reason.startswith("far is the cheapest that answers within 3.00 s with 95.0% or more: $0.001 at 99.")
    assert pressed.reason.endswith("; near has 90.0% ($0.000001).")


def test_where_nobody_is_in_time_the_likeliest_serves() -> None:
    """It is never refused for that, and the reason says how far off it is."""
    decision = decided(NEAR, FAR, within_s=0.8)

    assert ("far", "near") == decision.ranked
    assert decision.reason.startswith("far comes closest to 95.0% within 800 ms, which nobody reaches: 90.0% against ")


def test_without_a_deadline_everybody_is_in_time() -> None:
    """Then it is the cheapest."""
    assert ("near", "far") == decided(FAR, NEAR, within_s=None).ranked


def test_certainty_is_no_target() -> None:
    """Nobody can promise it."""
    for target in (0.0, 1.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="the target of slo must lie between 0 and 1"):
            Slo(target)


@given(slate=slates(), within_s=st.floats(0.01, 30), target=targets)
def test_it_never_picks_a_dearer_one_than_a_cheaper_that_is_in_time(slate, within_s, target) -> None:
    """Nor one that is late where any is in time; and where none is, nobody is likelier."""
    first = decided(*slate, within_s=within_s, target=target).ranked[0]
    chosen = next(e for e in slate if e.candidate_id == first)
    in_time = [e for e in slate if chance_within(e, within_s) >= target]

    if in_time:
        assert chosen in in_time
        assert min(e.cost_usd for e in in_time) == chosen.cost_usd
    else:
        best = max(chance_within(e, within_s) for e in slate)
        assert pytest.approx(best, abs=1e-15) == chance_within(chosen, within_s), "as far as a score resolves"


@given(slate=slates(), within_s=st.floats(0.01, 30), one=targets, other=targets)
def test_a_higher_target_never_buys_a_lower_chance(slate, within_s, one, other) -> None:
    """Unless the lower target's choice is as good as the higher one asks for: then it may have been luckier."""
    chosen = []
    for target in sorted((one, other)):
        first = decided(*slate, within_s=within_s, target=target).ranked[0]
        chosen.append(next(e for e in slate if e.candidate_id == first))
    low, high = chosen

    if chance_within(low, within_s) < max(one, other):
        assert chance_within(high, within_s) >= chance_within(low, within_s)
