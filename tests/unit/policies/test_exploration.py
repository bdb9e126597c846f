"""Exploration: propensities that sum to 1 over who may be chosen, and a draw that reproduces the choice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.exploration import Explorer, chosen_at
from policies.registry import create, names
from policies.types import Constraints, Estimate
from tests.contract.test_policies import limits, slates, unhurried

NEAR = Estimate(
    "near",
    "local",
    "local",
    near=True,
    latency_s=0.5,
    latency_source="observed",
    service_s=0.5,
    cost_usd=1e-7,
    cost_source="occupancy",
)
A = NEAR._replace(candidate_id="a", backend="remote", provider="groq", near=False, latency_s=1.0, cost_usd=0.01)
B = A._replace(candidate_id="b", provider="together", latency_s=2.0)
SLATE = [NEAR, A, B]
FREE = Constraints()

explorers = st.builds(
    Explorer, st.sampled_from([create(name) for name in names()]), st.sampled_from([0.01, 0.05, 0.5, 1.0])
)
draws = st.floats(0, 1, exclude_max=True)


def explored(draw: float | None, *, epsilon: float = 0.3, slate=SLATE, constraints=FREE, **options):
    decision = create("fastest").decide(slate, constraints)
    return Explorer(create("fastest"), epsilon).explore(decision, slate, constraints, draw, **options)


def test_every_arm_has_its_floor_and_the_favourite_the_rest() -> None:
    """A third of 0.3 each, and 0.7 on top."""
    odds = explored(0.9).propensities

    assert {"near": 0.8, "a": 0.1, "b": 0.1} == {name: round(p, 12) for name, p in odds.items()}


def test_the_draw_decides_in_the_order_of_the_ids() -> None:
    """`a` below 0.1, `b` below 0.2, and the favourite above."""
    assert ["a", "a", "b", "near", "near"] == [explored(d).ranked[0] for d in (0.0, 0.0999, 0.15, 0.21, 0.999)]


def test_who_was_not_chosen_follows_as_the_policy_ranked_them() -> None:
    """A failure of the explored one goes to the favourite."""
    assert (("b", "near", "a"), 0.15, True) == (explored(0.15).ranked, explored(0.15).draw, explored(0.15).explored)


def test_the_reason_says_that_chance_chose_and_what_the_policy_would_have() -> None:
    """In words, with both shares."""
    plain = create("fastest").decide(SLATE, FREE)

    assert (
        "Chance put b first, to learn what it does: 30.0 % of decisions explore, and this one had a probability of "
        f"10.0 %. Without chance: {plain.reason}"
    ) == explored(0.15).reason
    assert plain.reason == explored(0.5).reason


def test_a_dry_run_shows_the_favourite_and_the_propensities() -> None:
    """Nothing is left to chance where nobody drew."""
    decision = explored(None)

    assert (("near", "a", "b"), None, False) == (decision.ranked, decision.draw, decision.explored)
    assert isclose(0.8, decision.propensities["near"])


def test_one_arm_alone_is_certain() -> None:
    """There is nothing to draw, and the propensity is 1."""
    decision = explored(0.01, slate=[NEAR])

    assert (None, 1.0, {}, 0.3) == (decision.draw, decision.propensity, decision.propensities, decision.explore_rate)
    assert () == explored(0.01, slate=[]).ranked


def test_the_senders_order_is_not_explored_across() -> None:
    """Only among those the sender put in the same place."""
    odds = explored(0.01, constraints=Constraints(order=("remote",))).propensities
    alone = explored(0.01, constraints=Constraints(order=("together",)))

    assert {"a", "b"} == {name for name, p in odds.items() if p > 0}
    assert ("b", {}) == (alone.ranked[0], alone.propensities)


def test_who_is_expected_too_late_is_never_put_first_by_chance() -> None:
    """It may still be the favourite, or the way out."""
    odds = explored(0.01, constraints=Constraints(deadline_s=1.5)).propensities

    assert ({"near", "a"}, 0.0) == ({name for name, p in odds.items() if p > 0}, odds["b"])


def test_only_those_named_may_be_put_first() -> None:
    """An alias' fallback, another model than the session's: whoever calls says."""
    assert {"near", "b"} == {name for name, p in explored(0.01, among={"near", "b"}).propensities.items() if p > 0}
    assert "a" == explored(0.01, among={"a"}).ranked[0]
    assert {} == explored(0.01, among=set()).propensities


def test_the_version_freezes_the_policys_and_the_share() -> None:
    """Another share, another version: propensities are compared within one."""
    versions = {Explorer(create(name), epsilon).version for name in ("fastest", "balanced") for epsilon in (0.05, 0.1)}

    assert 4 == len(versions)
    assert Explorer(create("fastest"), 0.05).version == explored(0.5, epsilon=0.05).version


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_share_or_a_draw_that_is_none_is_refused(value) -> None:
    """At once, and with the value."""
    with pytest.raises(ValueError, match=r"0\.\.1"):
        Explorer(create("fastest"), value)
    with pytest.raises(ValueError, match="a draw must be"):
        Explorer(create("fastest"), 0.1, draw=value)
    with pytest.raises(ValueError, match="nobody has a propensity"):
        chosen_at(0.5, {"a": 0.0})


@unhurried
@given(explorers, slates(), limits, draws)
def test_propensities_are_a_distribution_over_who_the_policy_ranked(explorer, slate, constraints, draw) -> None:
    """They sum to 1, each arm has its floor, and nobody who was rejected has any or comes first."""
    decision = replace(explorer, draw=draw).decide(slate, constraints)
    plain = explorer.policy.decide(slate, constraints)

    assert sorted(plain.ranked) == sorted(decision.ranked)
    assert plain.rejections == decision.rejections
    if decision.propensities:
        arms = [p for p in decision.propensities.values() if p > 0]
        assert set(decision.propensities) == set(plain.ranked)
        assert isclose(1.0, sum(arms))
        assert min(arms) >= explorer.epsilon / len(arms) * (1 - 1e-9)
        assert decision.explored == (decision.ranked[0] != plain.ranked[0])
        assert decision.ranked[0] == chosen_at(decision.draw, decision.propensities)
    else:
        assert decision.ranked == plain.ranked
        assert decision.propensity == (1.0 if plain.ranked else None)


@unhurried
@given(explorers, slates(), limits)
def test_over_all_draws_each_is_chosen_exactly_as_often_as_is_logged(explorer, slate, constraints) -> None:
    """The inverse of the distribution, at the middle of five hundred equal steps: within one step of each bound."""
    steps = 500
    odds = explorer.decide(slate, constraints).propensities
    chosen = Counter(chosen_at((i + 0.5) / steps, odds) for i in range(steps)) if odds else Counter()

    assert all(abs(chosen[name] / steps - p) <= 1 / steps + 1e-9 for name, p in odds.items())


@unhurried
@given(explorers, slates(), limits, draws)
def test_the_same_draw_chooses_the_same(explorer, slate, constraints, draw) -> None:
    """No dice inside."""
    again = replace(explorer, draw=draw)

    assert again.decide(slate, constraints) == again.decide(slate[::-1], constraints)
