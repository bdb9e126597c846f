"""`fastest`."""

from __future__ import annotations

from policies.latency import Fastest
from policies.types import Constraints, Estimate

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
    candidate_id="hf-inference:MiniLM", backend="remote", provider="hf-inference", near=False, latency_s=0.08
)


def test_the_shortest_latency_wins_whatever_it_costs() -> None:
    """Cost plays no part, known or not; the score is the latency."""
    decision = Fastest().decide([FAR, NEAR._replace(cost_usd=None)], Constraints())

    assert ("local:MiniLM", "hf-inference:MiniLM") == decision.ranked
    assert {"local:MiniLM": 0.012, "hf-inference:MiniLM": 0.08} == decision.scores
    assert "local:MiniLM is fastest: 12.0 ms against 80.0 ms (hf-inference:MiniLM)." == decision.reason
    assert ("fastest", "1") == (decision.policy, decision.version)


def test_a_tie_is_called_a_tie() -> None:
    """Two candidates of the same latency go by name, and the reason does not pretend otherwise."""
    decision = Fastest().decide([FAR._replace(latency_s=0.012), NEAR], Constraints())

    assert ("hf-inference:MiniLM", "local:MiniLM") == decision.ranked
    assert "hf-inference:MiniLM is as fast as local:MiniLM, 12.0 ms, and goes first by name." == decision.reason
