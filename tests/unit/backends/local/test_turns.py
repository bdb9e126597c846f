"""Whose turn it is: order within a tenant, turns between tenants, bounded batches, nothing lost or done twice."""

from __future__ import annotations

from itertools import zip_longest

from hypothesis import given
from hypothesis import strategies as st

from backends.local.turns import QUANTUM, Turns


class Work:
    def __init__(self, tenant, sizes, wanted=True):
        self.tenant = tenant
        self.background = False
        self.all = list(sizes)
        self.done = 0
        self.wanted = wanted

    def sizes(self):
        return self.all[self.done :]

    def give(self, units):
        first, self.done = self.done, self.done + units
        return first


def drained(turns, budget, takers=1):
    """Every batch until nothing is left, as (job, sizes) pairs."""
    batches = []
    while turns:
        shares = turns.take(budget, takers)
        batches.append([(job, job.all[first : first + units]) for job, first, units in shares])
    return batches


def queued(*jobs, ready=lambda job: job.wanted):
    turns = Turns(ready)
    for job in jobs:
        turns.add(job)
    return turns


def test_what_is_queued_is_one_batch():
    """Three small requests of one tenant run together, in their order."""
    jobs = [Work("a", [5]), Work("a", [7, 3]), Work("a", [2])]
    (batch,) = drained(queued(*jobs), 100)

    assert [(jobs[0], [5]), (jobs[1], [7, 3]), (jobs[2], [2])] == batch


def test_a_giant_request_delays_another_tenant_by_one_visit_only():
    """The other tenant's text is in the first batch, though the giant came first."""
    giant, small = Work("a", [100] * 200), Work("b", [10])
    first = drained(queued(giant, small), 4096)[0]

    assert [small] == [job for job, _ in first if job is not giant]


def test_tenants_get_equal_shares_of_a_batch():
    """Two tenants with endless work have half a batch each."""
    one, two = Work("a", [64] * 1000), Work("b", [64] * 1000)
    first = queued(one, two).take(8 * QUANTUM)

    assert 1 == len({share.units for share in first})
    assert 8 * QUANTUM == sum(64 * share.units for share in first)


def test_budget_zero_takes_one_request_whole():
    """Families that run alone never see two requests at once."""
    batches = drained(queued(Work("a", [1, 1, 1]), Work("a", [1]), Work("b", [1, 1])), 0)

    assert [[[1, 1, 1]], [[1, 1]], [[1]]] == [[sizes for _, sizes in batch] for batch in batches]


def test_a_unit_above_the_budget_runs_alone():
    """It is not starved, and takes nobody with it."""
    batches = drained(queued(Work("a", [500]), Work("a", [5])), 100)

    assert [[[500]], [[5]]] == [[sizes for _, sizes in batch] for batch in batches]


def test_what_is_queued_is_shared_with_who_is_free_as_well():
    """One batch has room for all of it; the other thread would stand idle."""
    jobs = [Work("a", [5]) for _ in range(5)]
    turns = queued(*jobs)

    assert [jobs[:3], jobs[3:]] == [[share.job for share in turns.take(100, takers)] for takers in (2, 1)]


def test_a_large_request_fills_a_batch_also_beside_others_who_are_free():
    """It is one of few, but its units are many."""
    turns = queued(Work("a", [64] * 1000))

    assert [(0, 64), (64, 64)] == [share[1:] for _ in range(2) for share in turns.take(8 * QUANTUM, 2)]


def test_a_request_that_nobody_waits_for_is_dropped():
    """It takes no room in the batch."""
    gone, there = Work("a", [50], wanted=False), Work("a", [60])
    (batch,) = drained(queued(gone, there), 100)

    assert [there] == [job for job, _ in batch]


works = st.lists(
    st.builds(Work, st.sampled_from("abc"), st.lists(st.integers(1, 900), min_size=1, max_size=12), st.booleans()),
    max_size=15,
)


@given(works, st.integers(1, 3000), st.integers(1, 4))
def test_every_unit_is_done_once_in_order_within_the_budget(jobs, budget, takers):
    """Whatever the sizes: wanted units run exactly once, batches keep the budget unless a single unit is above it."""
    batches = drained(queued(*jobs), budget, takers)

    assert all(job.done == (len(job.all) if job.wanted else 0) for job in jobs)
    for batch in batches:
        sizes = [size for _, own in batch for size in own]
        assert sum(sizes) <= budget or len(sizes) <= 1


@given(works, st.integers(1, 3000))
def test_requests_of_one_tenant_begin_in_their_order(jobs, budget):
    """Nobody of the same tenant overtakes."""
    begun = []
    for batch in drained(queued(*jobs), budget):
        begun += [job for job, _ in batch if job not in begun]
    for tenant in "abc":
        assert [j for j in jobs if j.tenant == tenant and j.wanted] == [j for j in begun if j.tenant == tenant]


@given(works, works, st.integers(1, 3000))
def test_the_background_has_its_turns_when_nobody_else_waits(jobs, others, budget):
    """Its work is all done, in batches of its own, and every one of them after all others."""
    for job in others:
        job.background = True
    mixed = [job for pair in zip_longest(others, jobs) for job in pair if job is not None]
    batches = drained(queued(*mixed), budget)
    lanes = [{job.background for job, _ in batch} for batch in batches if batch]

    assert all(len(lane) == 1 for lane in lanes)
    assert sorted(lane.pop() for lane in lanes) == [job.background for batch in batches for job, _ in batch[:1]]
    assert all(job.done == (len(job.all) if job.wanted else 0) for job in mixed)
