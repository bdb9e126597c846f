"""A decision within the budgets: who is ruled out, who refuses, and what the decision says of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.registry import create
from policies.types import Constraints, Estimate, Pacing, Weights
from router.budgets import Budgets
from router.charges import Asked, Charge
from router.deciding import decide
from router.errors import BudgetExceeded
from router.sections import BudgetEntry

FASTEST = create("fastest", Weights())
NEAR = Estimate("near", "local", "local", near=True, latency_s=9.0, latency_source="prior", service_s=9.0, cost_usd=0.0,
                cost_source="occupancy")  # fmt: skip
FAR = NEAR._replace(candidate_id="a", backend="remote", provider="a", near=False, latency_s=1.0, cost_usd=0.5)
OTHER = FAR._replace(candidate_id="b", provider="b", latency_s=2.0)


def asked(*far: Estimate, usd: float | None = 0.5) -> Asked:
    return {e.candidate_id: (Charge("", ("m",), (e.provider,)), usd) for e in far}


def decided(*slate: Estimate, budgets: tuple[BudgetEntry, ...] = (), usd: float | None = 0.5, **constraints):
    of = Budgets(budgets, lambda: 0.0)
    far = [e for e in slate if not e.near]
    return decide(lambda given: FASTEST.decide(given, Constraints(**constraints)), slate, of, asked(*far, usd=usd))


def budget(on_exceeded: str, scope: str = "global", limit_usd: float = 0.25) -> BudgetEntry:
    return BudgetEntry(limit_usd=limit_usd, scope=scope, on_exceeded=on_exceeded)


GLOBAL = (
    "Over budget: of $0.25 a day (global), $0 is spent or reserved and this may cost $0.5; "
    "the next day begins at 1970-01-02 00:00 UTC."
)


def test_within_its_budgets_a_decision_is_the_policys_own() -> None:
    """Not a word is added; how the day's money stands is said of what it pays for."""
    plain = FASTEST.decide([FAR, NEAR], Constraints())
    paced = [FAR._replace(pacing=Pacing(spent=0.0, elapsed=0.0)), NEAR]

    assert (plain, [FAR, NEAR], None) == decided(FAR, NEAR)
    assert (plain, paced, None) == decided(FAR, NEAR, budgets=(budget("near", limit_usd=0.5),))


def test_a_spent_budget_leaves_what_is_near_and_says_so() -> None:
    """In the reason once, however many it ruled out, and in each rejection."""
    decision, estimates, refusal = decided(FAR, OTHER, NEAR, budgets=(budget("near"),))

    assert (("near",), None) == (decision.ranked, refusal)
    assert [("a", "budget"), ("b", "budget")] == [(r.candidate_id, r.code) for r in decision.rejections]
    assert decision.reason.endswith(f"9.00 s, $0. {GLOBAL}")
    assert 1 == decision.reason.count("Over budget")
    assert [True, True, False] == [e.over_budget is not None for e in estimates]


def test_with_nothing_near_nobody_is_eligible_and_the_budget_is_why() -> None:
    """The usual refusal of a slate, with its reason."""
    decision, _, refusal = decided(FAR, budgets=(budget("near"),))

    assert ((), None) == (decision.ranked, refusal)
    assert f"Nothing is eligible: every candidate is rejected (1 budget). {GLOBAL}" == decision.reason


def test_a_budget_that_refuses_refuses_what_would_have_gone_far() -> None:
    """Although it could be served near; every candidate has its rejection."""
    decision, _, refusal = decided(FAR, NEAR, budgets=(budget("refuse"),))

    assert isinstance(refusal, BudgetExceeded)
    assert (GLOBAL, GLOBAL, ()) == (str(refusal), decision.reason, decision.ranked)
    assert [("a", "budget"), ("near", "budget")] == [(r.candidate_id, r.code) for r in decision.rejections]
    assert "this request is refused: over budget" in decision.rejections[1].reason


def test_a_request_that_would_have_stayed_near_is_not_refused() -> None:
    """It costs nothing far: near was the first choice, or the only one allowed."""
    first = NEAR._replace(latency_s=0.1)

    for decision, _, refusal in (
        decided(FAR, first, budgets=(budget("refuse"),)),
        decided(FAR, NEAR, budgets=(budget("refuse"),), private=True),
        decided(NEAR, budgets=(budget("refuse"),)),
    ):
        assert (("near",), None) == (decision.ranked, refusal)


def test_another_provider_with_money_left_serves_before_anybody_refuses() -> None:
    """A provider's own budget says nothing of the next one."""
    decision, _, refusal = decided(FAR, OTHER, NEAR, budgets=(budget("refuse", "provider:a"),))

    assert (("b", "near"), None) == (decision.ranked, refusal)
    assert "(provider:a)" in decision.reason


def test_an_unknown_price_is_ruled_out_but_refuses_nobody() -> None:
    """The budget is not spent: there is just no telling what this one would take of it."""
    decision, _, refusal = decided(FAR, NEAR, budgets=(budget("refuse", limit_usd=9.0),), usd=None)

    assert (("near",), None) == (decision.ranked, refusal)
    assert "Price unknown, and the budget of $9 a day (global) counts known ones only" in decision.reason


def test_a_soft_budget_is_told_of_the_first_choice_only() -> None:
    """It rules nothing out."""
    soft = budget("warn", "provider:a")
    told, _, _ = decided(FAR, NEAR, budgets=(soft,))
    silent, _, _ = decided(OTHER, FAR, NEAR, budgets=(budget("warn", "provider:b"),))

    assert (("a", "near"), True) == (told.ranked, "Over budget: of $0.25 a day (provider:a)" in told.reason)
    assert (("a", "b", "near"), False) == (silent.ranked, "budget" in silent.reason)


@given(
    st.lists(st.sampled_from([FAR, OTHER, NEAR]), unique_by=lambda e: e.candidate_id),
    st.lists(
        st.tuples(st.sampled_from(["near", "refuse", "warn"]), st.sampled_from(["global", "provider:a"])), unique=True
    ),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.booleans(),
)
def test_whatever_is_ranked_can_be_paid_and_everybody_has_a_place(slate, kinds, limit_usd, private) -> None:
    """Each candidate is ranked or rejected with a reason, and no ranked one would overspend a hard budget."""
    entries = tuple(budget(on_exceeded, scope, limit_usd) for on_exceeded, scope in kinds)
    decision, estimates, refusal = decided(*slate, budgets=entries, private=private)
    of = Budgets(entries, lambda: 0.0)

    assert sorted(e.candidate_id for e in slate) == sorted(
        [*decision.ranked, *(r.candidate_id for r in decision.rejections)]
    )
    assert all(
        of.refusal(*ask) is None for name, ask in asked(*slate).items() if name in decision.ranked and name != "near"
    )
    assert refusal is None or decision.ranked == ()
    assert [e.candidate_id for e in slate] == [e.candidate_id for e in estimates]
    assert all(r.reason for r in decision.rejections)


@pytest.mark.parametrize("on_exceeded", ["near", "refuse"])
def test_what_is_free_needs_no_budget(on_exceeded) -> None:
    """A server of one's own costs nothing, also when everything is spent."""
    decision, _, refusal = decided(FAR, NEAR, budgets=(budget(on_exceeded, limit_usd=0.0),), usd=0.0)

    assert (("a", "near"), None) == (decision.ranked, refusal)
