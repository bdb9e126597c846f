"""The queue cap: who waits too long is no candidate while there is anybody else, and is refused only when too late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policies.constraints import apply, time_s, too_late, unpriced, waiting_s
from policies.cost import Cheapest
from policies.hardware import LocalOnly
from policies.latency import Fastest
from policies.types import Constraints, Estimate

NEAR = Estimate(
    "near",
    "local",
    "local",
    near=True,
    latency_s=1.0,
    latency_source="observed",
    service_s=1.0,
    cost_usd=1e-7,
    cost_source="occupancy",
)
FAR = NEAR._replace(candidate_id="far", backend="remote", provider="groq", near=False, latency_s=2.0, cost_usd=0.02)


def waiting(e: Estimate, queue_s: float = 0.0, load_s: float = 0.0) -> Estimate:
    return e._replace(queue_s=queue_s, load_s=load_s, latency_s=e.service_s + queue_s + load_s)


def found(*slate: Estimate, **limits: object) -> tuple[list[str], dict[str, str]]:
    eligible, rejections = apply(slate, Constraints(**limits))
    return [e.candidate_id for e in eligible], {r.candidate_id: r.code for r in rejections}


def test_a_queue_over_its_share_of_the_deadline_spills() -> None:
    """Before any score: the near one is free and would win every sum."""
    crowded = waiting(NEAR, queue_s=6.1)
    decision = Cheapest().decide([crowded, FAR], Constraints(deadline_s=10.0))

    assert (["far"], {"near": "queue"}) == found(crowded, FAR, deadline_s=10.0)
    assert ("far",) == decision.ranked
    assert "a wait of 6.10 s before it begins, over 6.00 s: 0.6 of the 10.0 s there is" == decision.rejections[0].reason


def test_the_share_itself_is_allowed_and_may_be_set() -> None:
    """A limit includes its own value."""
    assert (["near", "far"], {}) == found(waiting(NEAR, queue_s=6.0), FAR, deadline_s=10.0)
    assert (["far"], {"near": "queue"}) == found(waiting(NEAR, queue_s=6.0), FAR, deadline_s=10.0, queue_share=0.5)
    assert (["near", "far"], {}) == found(waiting(NEAR, queue_s=9.0), FAR, deadline_s=10.0, queue_share=1.0)


def test_loading_a_cold_model_is_waiting_too() -> None:
    """And is told apart in the reason."""
    cold = waiting(NEAR, queue_s=2.0, load_s=5.0)
    _, rejections = apply([cold, FAR], Constraints(deadline_s=10.0))

    assert "a wait of 7.00 s (5.00 s of it loading) before it begins, over 6.00 s: 0.6 of the 10.0 s there is" == (
        rejections[0].reason
    )


def test_the_longest_wait_that_is_accepted_bounds_as_a_deadline_does() -> None:
    """The shorter of the two counts."""
    crowded = waiting(NEAR, queue_s=2.5)

    assert (["far"], {"near": "queue"}) == found(crowded, FAR, deadline_s=300.0, max_latency_s=4.0)
    assert (["near", "far"], {}) == found(crowded, FAR, deadline_s=300.0)


def test_without_a_deadline_no_queue_is_too_long() -> None:
    """An absent limit does not bind."""
    assert (["near", "far"], {}) == found(waiting(NEAR, queue_s=1e6), FAR)


def test_where_the_cap_would_leave_nobody_it_degrades_to_who_still_answers_in_time() -> None:
    """A long wait near is better than a refusal; who would be too late is still out."""
    slow, hopeless = waiting(NEAR, queue_s=8.0), waiting(NEAR._replace(candidate_id="other"), queue_s=9.5)

    assert (["near"], {"other": "queue"}) == found(slow, hopeless, deadline_s=10.0)
    assert (["near"], {"far": "private"}) == found(slow, FAR, deadline_s=10.0, private=True)


def test_who_cannot_answer_in_time_because_of_its_queue_is_refused() -> None:
    """Waiting for it helps nobody."""
    assert ([], {"near": "queue"}) == found(waiting(NEAR, queue_s=9.5), deadline_s=10.0)


def test_a_cold_model_alone_is_no_overload() -> None:
    """Loading it once makes the next request fast: refusing would leave it cold for ever."""
    assert (["near"], {}) == found(waiting(NEAR, load_s=20.0), deadline_s=10.0)


def test_a_deadline_that_has_passed_refuses_nobody_who_does_not_wait() -> None:
    """The attempt says that the time ran out; that is no overload."""
    assert (["near"], {}) == found(NEAR, deadline_s=-1.0)


def test_the_policys_own_objections_come_first() -> None:
    """Who is within the cap but not eligible under the policy leaves the others as they were."""
    crowded, limits = waiting(NEAR, queue_s=8.0), Constraints(deadline_s=10.0)
    unknown = FAR._replace(cost_usd=None)

    assert ("near",) == LocalOnly().decide([crowded, FAR], limits).ranked
    assert ("near",) == Cheapest().decide([crowded, unknown], limits).ranked
    assert ("far",) == Fastest().decide([crowded, unknown], limits).ranked


def test_an_admission_limit_rejects_after_all_that_is_lasting() -> None:
    """Whoever is refused for good must not read that it is for now."""
    full = FAR._replace(overloaded="overloaded: 4 of 4")

    assert (["near"], {"far": "overloaded"}) == found(NEAR, full)
    assert (["near"], {"far": "private"}) == found(NEAR, full, private=True)
    assert (["near"], {"far": "too_dear"}) == found(NEAR, full, max_cost_usd=0.01)
    assert {"far": "price_unknown"} == {
        r.candidate_id: r.code for r in apply([full._replace(cost_usd=None)], Constraints(), unpriced)[1]
    }


figures = st.floats(0, 20)
crowds = st.lists(st.tuples(st.booleans(), figures, figures, figures), max_size=6).map(
    lambda rows: [
        waiting((NEAR if near else FAR)._replace(candidate_id=f"c{i}", service_s=service_s), queue_s, load_s)
        for i, (near, service_s, queue_s, load_s) in enumerate(rows)
    ]
)


@given(crowds, st.builds(Constraints, deadline_s=st.floats(0, 20), queue_share=st.sampled_from([0.1, 0.6, 1.0])))
def test_the_cap_never_refuses_a_request_that_somebody_answers_in_time(slate, constraints) -> None:
    """Whoever is left is within the cap, or everybody is over it; and nobody is refused while one would do."""
    eligible, rejections = apply(slate, constraints)
    cap_s = constraints.queue_share * time_s(constraints)
    within = [e for e in slate if waiting_s(e) <= cap_s]

    assert {"queue"} >= {r.code for r in rejections}
    assert eligible == within or not within
    if any(not too_late(e, constraints) for e in slate):
        assert eligible
