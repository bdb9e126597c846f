"""`cheapest`."""

from __future__ import annotations

from policies.constraints import PRICE_HINT
from policies.cost import Cheapest
from policies.types import Constraints, Estimate, Rejection

NEAR = Estimate(
    "local:MiniLM",
    "local",
    "local",
    near=True,
    latency_s=0.012,
    latency_source="observed",
    service_s=0.012,
    cost_usd=3e-7,
    cost_source="occupancy",
)
FAR = NEAR._replace(
    candidate_id="hf-inference:MiniLM",
    backend="remote",
    provider="hf-inference",
    near=False,
    latency_s=0.08,
    cost_usd=5e-7,
)


def test_the_smallest_cost_wins_whatever_it_takes() -> None:
    """Latency plays no part while the costs differ; the score is the cost."""
    decision = Cheapest().decide([FAR, NEAR._replace(latency_s=60.0)], Constraints())

    assert ("local:MiniLM", "hf-inference:MiniLM") == decision.ranked
    assert {"local:MiniLM": 3e-7, "hf-inference:MiniLM": 5e-7} == decision.scores
    assert "local:MiniLM is cheapest: $0.0000003 against $0.0000005 (hf-inference:MiniLM)." == decision.reason
    assert ("cheapest", "1") == (decision.policy, decision.version)


def test_an_unknown_price_is_rejected_not_free() -> None:
    """A candidate without a price would win every time if unknown counted as 0."""
    decision = Cheapest().decide([NEAR, FAR._replace(cost_usd=None)], Constraints())

    assert ("local:MiniLM",) == decision.ranked
    assert (Rejection("hf-inference:MiniLM", "price_unknown", PRICE_HINT),) == decision.rejections
    assert "local:MiniLM is the only eligible candidate: 12.0 ms, $0.0000003." == decision.reason


def test_equal_costs_go_by_latency() -> None:
    """Of two free candidates the faster one serves, and the reason says what decided."""
    decision = Cheapest().decide([FAR._replace(cost_usd=0.0), NEAR._replace(cost_usd=0.0)], Constraints())

    expected = (
        "local:MiniLM costs as little as hf-inference:MiniLM, $0, and goes first by latency, 12.0 ms against 80.0 ms."
    )
    assert expected == decision.reason
