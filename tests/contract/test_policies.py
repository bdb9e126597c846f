"""What every registered policy promises, on generated slates and limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.base import known
from policies.constraints import PRICE_HINT, apply
from policies.registry import RANKS_BY_COST, create, names
from policies.types import Constraints, Estimate, Pacing, Quantiles, Weights

# A busy machine is slow to generate; that says nothing about a policy.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

latencies = st.floats(0, 1e6) | st.sampled_from([0.0, 0.5, 1.0, 2.0]) | st.floats()
costs = st.none() | st.integers(0, 50).map(lambda n: n / 1e6) | st.sampled_from([float("nan"), float("inf"), -1.0])
qualities = st.none() | st.integers(0, 10).map(lambda n: n / 10)
shares = st.floats(0, 1)
spreads = st.none() | st.lists(st.floats(0, 100), min_size=4, max_size=4).map(lambda q: Quantiles(*sorted(q)))
rarely = st.sampled_from([None, None, None, "because"])
names_to_filter = st.lists(st.sampled_from(["local", "remote", "groq", "together"]), max_size=2).map(tuple)


@st.composite
def estimates(draw: st.DrawFn, candidate_id: str = "new") -> Estimate:
    near = draw(st.booleans())
    return Estimate(
        candidate_id=candidate_id,
        backend="local" if near else "remote",
        provider="local" if near else draw(st.sampled_from(["groq", "together"])),
        near=near,
        accelerated=near and draw(st.booleans()),
        latency_s=draw(latencies),
        latency_source="prior",
        queue_s=draw(st.floats(0, 100)),
        service_s=0.1,
        cost_usd=draw(costs),
        cost_source="priced",
        quality=draw(qualities),
        accept_from=draw(st.sampled_from([None, 0.0, 0.8, 1.0, float("inf")])),
        accept_why="as configured",
        unavailable=draw(rarely),
        does_not_fit=draw(rarely),
        over_budget=draw(rarely),
        overloaded=draw(rarely),
        latency=draw(spreads),
        pacing=draw(st.none() | st.builds(Pacing, shares, shares)),
    )


@st.composite
def slates(draw: st.DrawFn) -> list[Estimate]:
    ids = draw(st.lists(st.integers(0, 30), unique=True, max_size=7))
    return [draw(estimates(f"candidate-{i}")) for i in ids]


limits = st.builds(
    Constraints,
    offline=st.sampled_from([False, False, True]),
    private=st.sampled_from([False, False, True]),
    backend=st.sampled_from(["any", "any", "any", "local", "remote"]),
    only=st.just(()) | names_to_filter,
    ignore=st.just(()) | names_to_filter,
    order=names_to_filter,
    max_cost_usd=st.none() | st.floats(0, 1e-4),
    max_latency_s=st.none() | st.floats(0, 10),
    min_quality=st.none() | st.floats(0, 1),
    deadline_s=st.none() | st.floats(-1, 100),
    queue_share=st.sampled_from([0.1, 0.6, 1.0]),
    within=st.just(()) | names_to_filter.map(lambda names: (names,) if names else ()),
)
every_policy = pytest.mark.parametrize("policy", [create(name) for name in names()], ids=names())


@every_policy
@unhurried
@given(slate=slates(), constraints=limits)
def test_every_candidate_is_ranked_or_rejected_never_both(policy, slate, constraints) -> None:
    """Nothing gets lost and nothing appears twice, and exactly the ranked have a score, which is a number."""
    decision = policy.decide(slate, constraints)

    assert sorted(e.candidate_id for e in slate) == sorted(
        [*decision.ranked, *(r.candidate_id for r in decision.rejections)]
    )
    assert set(decision.ranked) == set(decision.scores)
    assert all(known(score) is not None for score in decision.scores.values())
    assert (policy.name, policy.version) == (decision.policy, decision.version)


@every_policy
@unhurried
@given(slate=slates(), constraints=limits)
def test_no_candidate_breaks_a_limit(policy, slate, constraints) -> None:
    """Each ranked candidate keeps every limit, checked here in plain terms and not by the code under test."""
    for e in (e for e in slate if e.candidate_id in policy.decide(slate, constraints).ranked):
        called = {e.backend, e.provider}
        assert e.near or not (constraints.offline or constraints.private)
        assert constraints.backend == "any" or constraints.backend in called
        assert not constraints.only or called & set(constraints.only)
        assert not called & set(constraints.ignore)
        assert all(called & set(allowed) for allowed in constraints.within)
        assert 0 <= e.latency_s < float("inf")
        assert (e.unavailable, e.over_budget) == (None, None)
        assert (e.does_not_fit, e.overloaded) == (None, None)
        assert constraints.max_cost_usd is None or 0 <= e.cost_usd <= constraints.max_cost_usd
        assert constraints.max_latency_s is None or e.latency_s <= constraints.max_latency_s
        assert constraints.min_quality is None or e.quality >= constraints.min_quality


@every_policy
@unhurried
@given(slate=slates(), constraints=limits)
def test_a_policy_rejects_only_by_its_own_word_beyond_the_limits(policy, slate, constraints) -> None:
    """What the limits let pass is ranked, except unpriced under a policy of cost and far under `local-only`."""
    decision = policy.decide(slate, constraints)
    eligible = {e.candidate_id: e for e in apply(slate, constraints)[0]}
    rejected = {r.candidate_id: r for r in decision.rejections if r.candidate_id in eligible}

    assert set(rejected) == {
        name
        for name, e in eligible.items()
        if (policy.name in RANKS_BY_COST and known(e.cost_usd) is None) or (policy.name == "local-only" and not e.near)
    }
    assert {"price_unknown" if policy.name in RANKS_BY_COST else "policy"} >= {r.code for r in rejected.values()}
    assert all(r.reason.strip() for r in decision.rejections)


@every_policy
@unhurried
@given(slate=slates(), constraints=limits, data=st.data())
def test_the_input_order_never_matters(policy, slate, constraints, data) -> None:
    """The whole decision is the same for every permutation of the slate."""
    shuffled = data.draw(st.permutations(slate))

    assert policy.decide(slate, constraints) == policy.decide(shuffled, constraints)


@every_policy
@unhurried
@given(slate=slates(), constraints=limits)
def test_deciding_twice_decides_the_same(policy, slate, constraints) -> None:
    """A decision depends on its arguments alone: no memory, no clock, no dice."""
    before = list(slate)

    assert policy.decide(slate, constraints) == policy.decide(slate, constraints)
    assert policy.decide(slate, constraints) == create(policy.name).decide(tuple(slate), replace(constraints))
    assert all(one is other for one, other in zip(before, slate, strict=True))


@every_policy
@unhurried
@given(slate=slates(), constraints=limits, extra=estimates())
def test_an_ineligible_candidate_changes_nothing_for_the_others(policy, slate, constraints, extra) -> None:
    """Ranking, scores and reason are those of the slate without it."""
    down = extra._replace(unavailable="down")
    without, with_it = policy.decide(slate, constraints), policy.decide([down, *slate], constraints)

    assert (without.ranked, without.scores) == (with_it.ranked, with_it.scores)
    if without.ranked:
        assert without.reason == with_it.reason


@every_policy
@unhurried
@given(slate=slates(), constraints=limits)
def test_the_reason_is_one_sentence_that_names_the_winner(policy, slate, constraints) -> None:
    """It is never empty, stays on one line, ends with a full stop and never shows NaN."""
    decision = policy.decide(slate, constraints)

    assert "\n" not in decision.reason
    assert decision.reason.endswith(".")
    assert "nan" not in decision.reason
    assert decision.reason.startswith(f"{decision.ranked[0]} " if decision.ranked else "Nothing is eligible: ")


@every_policy
@unhurried
@given(slate=slates(), constraints=limits)
def test_lower_scores_come_first_within_the_requested_order(policy, slate, constraints) -> None:
    """The ranking is that of the requested order, then of the scores."""
    by_id = {e.candidate_id: e for e in slate}
    decision = policy.decide(slate, constraints)

    def place(name: str) -> int:
        called = {by_id[name].backend, by_id[name].provider}
        return min(
            (i for i, wanted in enumerate(constraints.order) if wanted in called), default=len(constraints.order)
        )

    keys = [(place(name), decision.scores[name]) for name in decision.ranked]
    assert sorted(keys) == keys


@unhurried
@given(slate=slates(), constraints=limits)
def test_local_only_never_ranks_the_far(slate, constraints) -> None:
    """Whatever the limits say."""
    near = {e.candidate_id for e in slate if e.near}

    assert near >= set(create("local-only").decide(slate, constraints).ranked)


@unhurried
@given(slate=slates(), constraints=limits)
def test_cheapest_takes_the_smallest_cost(slate, constraints) -> None:
    """No eligible candidate costs less than the winner, unless the request orders its providers."""
    decision = create("cheapest").decide(slate, replace(constraints, order=()))
    costs_usd = {e.candidate_id: e.cost_usd for e in slate if e.candidate_id in decision.ranked}

    assert not decision.ranked or min(costs_usd.values()) == costs_usd[decision.ranked[0]]


@unhurried
@given(slate=slates(), constraints=limits, order=names_to_filter)
def test_a_reason_claims_no_win_that_the_order_gave(slate, constraints, order) -> None:
    """`cheapest` and `fastest` say so only of the cheapest and the fastest."""
    for name, claim, figure in (("cheapest", "is cheapest", "cost_usd"), ("fastest", "is fastest", "latency_s")):
        decision = create(name).decide(slate, replace(constraints, order=order))
        found = {e.candidate_id: getattr(e, figure) for e in slate if e.candidate_id in decision.ranked}
        assert claim not in decision.reason or min(found.values()) == found[decision.ranked[0]]


weights = st.builds(Weights, *[st.integers(0, 100).map(float)] * 3).filter(lambda w: w.latency or w.cost or w.quality)


@unhurried
@given(slate=slates(), constraints=limits, w=weights, factor=st.floats(1e-3, 1e3))
def test_balanced_depends_on_the_ratios_of_its_weights(slate, constraints, w, factor) -> None:
    """Scaling all weights changes nothing, not even the version."""
    scaled = Weights(w.latency * factor, w.cost * factor, w.quality * factor)

    assert create("balanced", w).decide(slate, constraints) == create("balanced", scaled).decide(slate, constraints)


@unhurried
@given(slate=slates(), constraints=limits, weight=st.floats(1e-3, 1e3))
def test_balanced_on_cost_alone_is_cheapest(slate, constraints, weight) -> None:
    """With all the weight on cost the two rank alike."""
    balanced = create("balanced", Weights(latency=0.0, cost=weight, quality=0.0))

    assert create("cheapest").decide(slate, constraints).ranked == balanced.decide(slate, constraints).ranked


def test_the_hint_for_unknown_prices_names_policies_that_help() -> None:
    """Each policy in the hint exists and does not rank by cost."""
    offered = PRICE_HINT.rpartition("(")[2].rstrip(")").split(", ")

    assert {*offered} <= {*names()} - RANKS_BY_COST
