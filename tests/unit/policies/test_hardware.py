"""`local-first`, `remote-first` and `local-only`."""

from __future__ import annotations

import pytest

from policies.hardware import LocalFirst, LocalOnly, RemoteFirst
from policies.types import Constraints, Estimate, Rejection

CPU = Estimate(
    "local:cpu",
    "local",
    "local",
    near=True,
    latency_s=2.0,
    latency_source="observed",
    service_s=2.0,
    cost_usd=1e-6,
    cost_source="occupancy",
)
GPU = CPU._replace(candidate_id="local:gpu", accelerated=True, latency_s=3.0)
FAR = CPU._replace(candidate_id="groq:m", backend="remote", provider="groq", near=False, latency_s=0.5, cost_usd=None)
FARTHER = FAR._replace(candidate_id="together:m", provider="together", latency_s=0.9)
FREE = Constraints()


def queued(e: Estimate, queue_s: float) -> Estimate:
    return e._replace(queue_s=queue_s, latency_s=e.service_s + queue_s)


def test_local_first_takes_gpu_then_cpu_then_far() -> None:
    """The GPU precedes the CPU even when slower, and near precedes far; an unknown price is no obstacle."""
    decision = LocalFirst().decide([FARTHER, FAR, CPU, GPU], FREE)

    assert ("local:gpu", "local:cpu", "groq:m", "together:m") == decision.ranked
    expected = "local:gpu goes first, on this machine's GPU: 3.00 s, $0.000001; next is local:cpu (2.00 s, $0.000001)."
    assert expected == decision.reason


def test_local_first_spills_a_queue_out_of_proportion() -> None:
    """Beyond four times the fastest far answer the queue goes last, and the reason says so."""
    decision = LocalFirst().decide([FARTHER, FAR, queued(CPU, 2.01)], FREE)

    assert ("groq:m", "together:m", "local:cpu") == decision.ranked
    expected = (
        "groq:m goes first although it is far: local:cpu has a queue of 2.01 s, "
        "more than 4 times the fastest far answer, 500 ms."
    )
    assert expected == decision.reason


def test_local_first_stays_near_at_the_limit_itself() -> None:
    """Four times is still in proportion."""
    assert ("local:cpu", "groq:m") == LocalFirst().decide([FAR, queued(CPU, 2.0)], FREE).ranked


def test_local_first_counts_the_queue_alone() -> None:
    """A slow near model with an empty queue is not a queue: it stays first."""
    assert ("local:cpu", "groq:m") == LocalFirst().decide([FAR, CPU._replace(latency_s=60.0)], FREE).ranked


def test_local_first_spills_each_candidate_by_its_own_queue() -> None:
    """A crowded GPU goes behind the far side while the idle CPU stays before it."""
    decision = LocalFirst().decide([FAR, queued(GPU, 30.0), CPU], FREE)

    assert ("local:cpu", "groq:m", "local:gpu") == decision.ranked
    assert sorted(decision.scores.values()) == [decision.scores[name] for name in decision.ranked]


def test_local_first_measures_only_against_the_eligible() -> None:
    """A far candidate that may not serve offers no way out, so nothing counts as queued too long."""
    near = [queued(GPU, 100.0), CPU]

    assert ("local:gpu", "local:cpu") == LocalFirst().decide(near, FREE).ranked
    assert ("local:gpu", "local:cpu") == LocalFirst().decide([FAR, *near], Constraints(private=True)).ranked
    assert ("local:gpu", "local:cpu") == LocalFirst().decide([FAR._replace(unavailable="down"), *near], FREE).ranked


def test_spill_factor_is_settable() -> None:
    """A larger factor is more patient, infinity waits for ever, and the version tells them apart."""
    slate = [FAR, queued(CPU, 3.0)]
    patient, endless = LocalFirst(spill_factor=10.0), LocalFirst(spill_factor=float("inf"))

    assert "groq:m" == LocalFirst().decide(slate, FREE).ranked[0]
    assert ["local:cpu"] * 2 == [p.decide(slate, FREE).ranked[0] for p in (patient, endless)]
    assert 3 == len({p.version for p in (LocalFirst(), patient, endless)})


@pytest.mark.parametrize("spill_factor", [-1.0, float("nan")])
def test_an_unusable_spill_factor_is_refused(spill_factor: float) -> None:
    """It is refused when the policy is made, not at the first request."""
    with pytest.raises(ValueError, match="spill_factor of local-first must be 0 or more"):
        LocalFirst(spill_factor=spill_factor)


def test_remote_first_keeps_this_machine_as_the_way_out() -> None:
    """Far by latency, then near by latency."""
    decision = RemoteFirst().decide([CPU, GPU, FARTHER, FAR], FREE)

    assert ("groq:m", "together:m", "local:cpu", "local:gpu") == decision.ranked
    expected = "groq:m goes first, far: 500 ms, price unknown; next is together:m (900 ms, price unknown)."
    assert expected == decision.reason


def test_local_only_rejects_everything_far() -> None:
    """With its own code and sentence; near candidates go by latency."""
    decision = LocalOnly().decide([FAR, GPU, CPU], FREE)

    assert ("local:cpu", "local:gpu") == decision.ranked
    expected = Rejection("groq:m", "policy", "groq is not on this machine, and local-only uses no other")
    assert (expected,) == decision.rejections


def test_local_only_says_when_nothing_is_left() -> None:
    """No near candidate means no candidate; it never reaches out."""
    decision = LocalOnly().decide([FAR, FARTHER], FREE)

    assert ((), {}) == (decision.ranked, decision.scores)
    assert "Nothing is eligible: every candidate is rejected (2 policy)." == decision.reason
