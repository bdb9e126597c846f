"""What becomes of a candidate that is late: whoever takes over is counted in, in chance and in cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.chances import chance_within
from policies.registry import create
from policies.rescue import SPARED, chains, room_s
from policies.types import Constraints, Estimate, Quantiles

QUICK = Estimate("quick", "remote", "quick", near=False, latency_s=1.0, latency_source="observed", service_s=1.0,
                 cost_usd=1e-3, cost_source="priced", latency=Quantiles(1.0, 1.3, 1.4, 2.0))  # fmt: skip
CHEAP = QUICK._replace(
    candidate_id="cheap", provider="cheap", cost_usd=1e-4, latency_s=2.0, latency=Quantiles(2.0, 8.0, 20.0, 40.0)
)
NEAR = CHEAP._replace(candidate_id="near", backend="local", provider="local", near=True)
WITHIN_S = 10.0


def limits(*, gives_up: bool = True, within_s: float | None = WITHIN_S) -> Constraints:
    return Constraints(deadline_s=within_s, gives_up=gives_up)


def test_who_is_late_is_given_up_for_the_quickest_other() -> None:
    """As often as it is later than leaves room for that one, which is paid then, too."""
    room = WITHIN_S - SPARED * QUICK.latency_s
    there = chance_within(CHEAP, room)
    chance, cost = chains([QUICK, CHEAP], limits())["cheap"]

    assert room == room_s(WITHIN_S, QUICK.latency_s)
    assert chance == pytest.approx(there + (1 - there) * chance_within(QUICK, WITHIN_S - room))
    assert cost == pytest.approx(1e-4 + (1 - there) * 1e-3)
    assert chance > 0.97 > chance_within(CHEAP, WITHIN_S)


@pytest.mark.parametrize(
    ("slate", "constraints"),
    [([QUICK, CHEAP], limits(gives_up=False)), ([CHEAP], limits()), ([QUICK, NEAR], limits())],
    ids=["nobody is given up", "nobody else", "near is not given up"],
)
def test_who_is_not_given_up_stands_for_itself(slate, constraints) -> None:
    """With its own chance and its own cost."""
    last = slate[-1]

    assert (chance_within(last, WITHIN_S), 1e-4) == chains(slate, constraints)[last.candidate_id]


def test_without_a_deadline_nobody_is_late() -> None:
    """Then nobody takes over."""
    assert {"quick": (1.0, 1e-3), "cheap": (1.0, 1e-4)} == chains([QUICK, CHEAP], limits(within_s=None))


@pytest.mark.parametrize("policy", ["slo", "balanced"])
def test_a_cheap_candidate_that_is_late_now_and_then_serves_where_another_takes_over(policy) -> None:
    """Alone it is late too often; the reason says what is counted in."""
    alone = create(policy).decide([QUICK, CHEAP], limits(gives_up=False))
    backed = create(policy).decide([QUICK, CHEAP], limits())

    assert ("quick", "cheap") == (alone.ranked[0], backed.ranked[0])
    assert backed.reason.endswith("given up for the quickest other in time; that is counted in.")


@given(
    st.lists(st.lists(st.floats(0.01, 60), min_size=4, max_size=4).map(sorted), min_size=1, max_size=5),
    st.floats(0.1, 60),
)
def test_a_chain_is_a_chance_and_never_cheaper(found, within_s) -> None:
    """Whatever is predicted: between 0 and 1, and no less than its own cost; never more than both costs."""
    slate = [
        QUICK._replace(candidate_id=f"c{at}", latency=Quantiles(*each), latency_s=each[0], cost_usd=at / 100)
        for at, each in enumerate(found)
    ]
    for e in slate:
        chance, cost = chains(slate, limits(within_s=within_s))[e.candidate_id]
        assert 0 <= chance <= 1
        assert e.cost_usd <= cost <= e.cost_usd + max(other.cost_usd for other in slate)
