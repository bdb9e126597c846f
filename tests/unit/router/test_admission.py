"""The admission limit: how it follows latency, what it never does, and what is counted."""

from statistics import median

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.types import Status, Target, Task, Usage
from policies.types import Estimate
from router.admission import FIRST, LEAST, MOST, WARM_UP, Admission, Limit, Seen, turned_out
from router.slate import Candidate, Size

FAR = Candidate(
    id="p:m",
    target=Target(backend="remote", provider="p", model="m", task=Task.TEXT_GENERATION),
    near=False,
    status=Status(loaded=True),
)
NEAR = replace(FAR, id="local:m", near=True)
SIZE = Size(items=1, input_tokens=10, output_tokens=100)
ESTIMATE = Estimate("p:m", "remote", "p", near=False, latency_s=1.0, latency_source="prior", service_s=1.0,
                    cost_usd=0.1, cost_source="priced")  # fmt: skip


def taught(*seen: float, in_flight: int, limit: Limit | None = None) -> Limit:
    limit = limit or Limit()
    for each in seen:
        limit.observe(each, in_flight)
    return limit


def begun(admission: Admission, count: int, candidate: Candidate = FAR) -> list[int]:
    return [admission.began(candidate) for _ in range(count)]


def test_it_falls_when_latency_doubles_and_recovers_when_that_has_passed() -> None:
    """Down to what the latency allows, and up again as it is used."""
    limit = taught(*[1.0] * 50, in_flight=200)
    high = limit.limit
    for _ in range(250):
        limit.observe(2.0, 200)
    low = limit.limit
    for _ in range(5000):
        limit.observe(1.0, int(limit.limit))

    assert low < 0.5 * high
    assert limit.limit > 2 * low


def test_it_grows_only_while_it_is_used() -> None:
    """Otherwise it would grow without bound and protect nobody."""
    idle, busy = taught(*[1.0] * 500, in_flight=20), taught(*[1.0] * 500, in_flight=FIRST)

    assert (FIRST, True) == (idle.limit, busy.limit > FIRST)


def test_slowness_with_hardly_anything_under_way_is_not_of_our_making() -> None:
    """The limit stays, however slow it is."""
    assert FIRST == taught(*[1.0] * 20, *[50.0] * 200, in_flight=LEAST).limit


def test_what_was_slow_with_fifty_says_nothing_of_two_hundred() -> None:
    """A little slow with fifty under way: a hundred are no question, two hundred are."""
    limit = taught(*[1.0] * 20, *[1.7] * 200, in_flight=50)

    assert 80 < limit.limit < 120


def test_a_single_late_answer_changes_nothing() -> None:
    """Heavy tails are no overload."""
    limit = taught(*[1.0] * 20, in_flight=100)
    taught(*([30.0] + [1.0] * 8) * 20, in_flight=100, limit=limit)

    assert FIRST == limit.limit


def test_who_became_slower_for_good_is_believed_in_the_end() -> None:
    """What is usual follows, and the limit comes back with use."""
    limit, lowest = taught(*[1.0] * 50, in_flight=100), MOST
    for _ in range(1000):
        limit.observe(3.0, int(limit.limit))
        lowest = min(lowest, int(limit.limit))

    assert LEAST == lowest
    assert limit.limit > 100


def test_an_overload_does_not_become_what_is_usual() -> None:
    """A server that takes 20 at once and queues the rest: after thousands of answers it is not given a hundred."""
    limit, given = taught(*[1.0] * 50, in_flight=10), []
    for _ in range(5000):
        given.append(int(limit.limit))
        limit.observe(max(1.0, given[-1] / 20), given[-1])

    assert max(given[1000:]) < 60
    assert 20 <= median(given[1000:])


def test_what_was_waited_for_in_vain_counts_only_where_that_was_long() -> None:
    """An impossible deadline is no answer that came fast, nor one that came late."""
    limit = taught(*[1.0] * 20, in_flight=200)
    for _ in range(50):
        limit.observe(0.001, 200, in_vain=True)
    before = limit.limit, limit.usual
    for _ in range(250):
        limit.observe(3.0, 200, in_vain=True)

    assert (True, 1.0) == (before[0] >= FIRST, before[1])
    assert limit.limit < 0.5 * before[0]


@given(st.lists(st.tuples(st.floats(), st.integers(1, 2000), st.booleans()), max_size=200))
def test_it_stays_within_its_bounds_whatever_is_seen(answers) -> None:
    """Infinities, NaN and negative times teach nothing."""
    limit = Limit()
    for seen, in_flight, in_vain in answers:
        limit.observe(seen, in_flight, in_vain=in_vain)

        assert LEAST <= limit.limit <= MOST


@given(st.lists(st.booleans(), max_size=200), st.booleans())
def test_what_is_under_way_is_counted_and_never_below_nothing(steps, near) -> None:
    """Each beginning has one end; an end too many is not held against anybody."""
    admission, candidate, count = Admission(), NEAR if near else FAR, 0
    for begins in steps:
        if begins:
            count += 1
            assert count == admission.began(candidate)
        else:
            count = max(0, count - 1)
            admission.ended(candidate)
        assert [count] * bool(count) == [state.in_flight for state in admission.states()]
        assert (count if near else 0) == admission.near_in_flight


def test_at_its_limit_a_candidate_takes_no_further_request() -> None:
    """With the figures, and until one has ended."""
    admission = Admission()
    begun(admission, FIRST - 1)
    before = admission.refusal(FAR)
    begun(admission, 1)
    [full] = admission.mark([ESTIMATE], [FAR])

    assert (None, f"overloaded: {FIRST} requests are under way there, and its latency allows {FIRST} now") == (
        before,
        full.overloaded,
    )
    admission.ended(FAR)
    assert [ESTIMATE] == admission.mark([ESTIMATE], [FAR])
    assert [ESTIMATE._replace(overloaded=None)] == admission.mark([ESTIMATE], [FAR])


def test_the_near_side_is_counted_and_not_limited() -> None:
    """It batches, and its queue is bounded by itself."""
    admission = Admission()
    begun(admission, 2 * FIRST, NEAR)
    for _ in range(200):
        admission.observe(NEAR, Seen(1e6, SIZE), FIRST)

    assert (None, 2 * FIRST) == (admission.refusal(NEAR), admission.near_in_flight)
    assert [(NEAR.id, None, 2 * FIRST)] == admission.states()


def test_switched_off_it_only_counts() -> None:
    """`routing.admission = false`."""
    admission = Admission(limiting=False)
    begun(admission, 2 * FIRST)

    assert (None, 2 * FIRST) == (admission.refusal(FAR), admission.states()[0].in_flight)


def test_a_long_prompt_and_a_long_answer_are_no_overload() -> None:
    """Time is taken in units of what the size lets expect."""
    admission = Admission()
    begun(admission, 150)
    for tokens in [100] * WARM_UP + [1000] * 50:
        size = turned_out(replace(SIZE, input_tokens=20 * tokens), Usage(completion_tokens=tokens))
        admission.observe(FAR, Seen(0.4 + 0.02 * tokens + 0.00005 * 20 * tokens, size), 150)

    assert admission.states()[0].limit >= FIRST


def test_a_renewed_listing_is_no_overload() -> None:
    """What is usual stays in units of what was listed first: else a faster listing alone would look like slowness."""
    admission, listed = Admission(), replace(FAR, tokens_per_s=10.0)
    begun(admission, 150)
    for tokens_per_s in [10.0] * 50 + [1000.0] * 50:
        admission.observe(replace(listed, tokens_per_s=tokens_per_s), Seen(10.4, SIZE), 150)

    assert admission.states()[0].limit >= FIRST
