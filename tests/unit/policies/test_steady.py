"""Hysteresis and sessions as pure steps."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from policies.registry import create, names
from policies.steady import Steady, held, kept
from policies.types import Constraints, Decision, Estimate, Quantiles

A = Estimate("a", "remote", "a", near=False, latency_s=1.0, latency_source="observed", service_s=1.0, cost_usd=0.001,
             cost_source="priced")  # fmt: skip
B = A._replace(candidate_id="b", provider="b", latency_s=0.97)
NEAR = A._replace(candidate_id="near", backend="local", provider="local", near=True)
margins = st.floats(0, 0.5)


@st.composite
def slates(draw: st.DrawFn) -> list[Estimate]:
    made = []
    for i in range(draw(st.integers(1, 5))):
        latency_s = draw(st.floats(0.01, 10))
        made.append(
            (NEAR if draw(st.booleans()) else A)._replace(
                candidate_id=f"c{i}",
                latency_s=latency_s,
                cost_usd=draw(st.none() | st.integers(0, 20).map(lambda n: n / 1e4)),
                quality=draw(st.none() | st.floats(0, 1)),
                unavailable=draw(st.sampled_from([None, None, "down"])),
                latency=Quantiles(latency_s, latency_s * 2, latency_s * 3, latency_s * 4),
            )
        )
    return made


def after(incumbent: str | None, *slate: Estimate, margin: float = 0.05, **constraints) -> Decision:
    return Steady(create("fastest"), incumbent, margin).decide(slate, Constraints(**constraints))


def test_a_blip_moves_nothing() -> None:
    """Who was first stays so within the margin, and the reason says it and why."""
    assert ("b", "a") == after(None, A, B).ranked
    steady = after("a", A, B)

    assert ("a", "b") == steady.ranked
    expected = "b is fastest: 970 ms against 1.00 s (a). a was first before and stays so: b is better by 5% or less."
    assert expected == steady.reason


def test_what_is_clearly_better_takes_over() -> None:
    """And with a margin of 0 everything is."""
    assert ("b", "a") == after("a", A, B._replace(latency_s=0.9)).ranked
    assert ("b", "a") == after("a", A, B, margin=0.0).ranked


def test_a_requests_own_order_goes_before_habit() -> None:
    """It said whom it wants first."""
    assert ("b", "a") == after("a", A, B, order=("b",)).ranked


def test_groups_are_never_outweighed() -> None:
    """A place on this machine is another thing than one far away, however close their scores; so is being in time."""
    local_first = Steady(create("local-first"), "a", 0.5)
    slo = Steady(create("slo"), "a", 0.5)
    late = A._replace(latency=Quantiles(1.0, 1.0, 1.0, 1.0), cost_usd=0.0)
    in_time = B._replace(latency=Quantiles(0.9, 0.9, 0.9, 0.9), cost_usd=1e9)

    assert "near" == local_first.decide([NEAR._replace(latency_s=1e9), A], Constraints()).ranked[0]
    assert "b" == slo.decide([late, in_time], Constraints(deadline_s=0.95)).ranked[0]


def test_within_a_group_twice_as_slow_is_twice_as_slow() -> None:
    """A score squeezed below 1 would make 10 and 20 seconds look alike."""
    slow, fast = NEAR._replace(candidate_id="slow", latency_s=20.0), NEAR._replace(candidate_id="fast", latency_s=10.0)
    local_first = Steady(create("local-first"), "slow", 0.4)

    assert "fast" == local_first.decide([slow, fast], Constraints()).ranked[0]
    assert "slow" == local_first.decide([slow, fast._replace(latency_s=19.5)], Constraints()).ranked[0]


@pytest.mark.parametrize(("latency_s", "first"), [(0.5, "b"), (58.0, "a"), (60.0, "a")])
def test_where_scores_tie_the_margin_is_that_of_the_latencies(latency_s, first) -> None:
    """The same price is no reason to wait a minute for what another place does in half a second."""
    slate = [A._replace(latency_s=60.0), B._replace(latency_s=latency_s)]

    assert first == Steady(create("cheapest"), "a", 0.05).decide(slate, Constraints()).ranked[0]


def test_what_chance_decided_is_left_alone() -> None:
    """Its propensities would no longer be those of the choice."""
    drawn = after(None, A, B)._replace(draw=0.4, explore_rate=0.05, propensities={"a": 0.025, "b": 0.975})

    assert drawn == held(drawn, "a", 0.05, ())
    assert drawn == kept(drawn, {"a"}, "m")


def test_scores_without_a_scale_are_not_compared() -> None:
    """Only their order means anything."""
    plain = after(None, A, B)._replace(scale=None)

    assert plain == held(plain, "a", 0.5, ())


def test_every_policy_with_comparable_scores_says_so() -> None:
    """One that forgets to has no hysteresis."""
    assert {"ratio", "grouped"} == {create(name).decide([NEAR], Constraints()).scale for name in names()} - {None}


@given(
    slate=slates(), name=st.sampled_from(names()), pick=st.integers(0, 4), margin=margins, within_s=st.floats(0.1, 20)
)
def test_it_reorders_what_is_eligible_and_costs_no_more_than_the_margin(slate, name, pick, margin, within_s) -> None:
    """It promotes nobody who is rejected, changes no score, and the first is as good as the best but for the margin."""
    limits, incumbent = Constraints(deadline_s=within_s), f"c{pick}"
    plain = create(name).decide(slate, limits)
    steady = Steady(create(name), incumbent, margin).decide(slate, limits)

    assert sorted(plain.ranked) == sorted(steady.ranked)
    assert (plain.scores, plain.rejections, plain.version) == (steady.scores, steady.rejections, steady.version)
    assert [c for c in plain.ranked if c != incumbent] == [c for c in steady.ranked if c != incumbent]
    if steady.ranked != plain.ranked:
        best, first = (steady.scores[decision.ranked[0]] for decision in (plain, steady))
        assert incumbent == steady.ranked[0]
        assert best <= first
        if steady.scale == "ratio":
            assert (1 - margin) * first <= best
        else:
            assert int(best) == int(first)


@given(slate=slates(), mine=st.sets(st.sampled_from([f"c{i}" for i in range(5)])))
def test_a_session_keeps_its_model_while_that_is_eligible(slate, mine) -> None:
    """Its candidates come first in the policy's order; where none of them is eligible, nothing changes."""
    plain = create("fastest").decide(slate, Constraints())
    assume(plain.ranked)
    decision = kept(plain, mine, "m")
    eligible = [c for c in plain.ranked if c in mine]

    if plain.ranked[0] in mine or not eligible:
        assert plain == decision
    else:
        assert [*eligible, *(c for c in plain.ranked if c not in mine)] == list(decision.ranked)
        assert decision.reason == f"{plain.reason} The session keeps its model, m."
