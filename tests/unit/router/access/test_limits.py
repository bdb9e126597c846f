"""Limits: what gets in over time, and what the others are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.access.keys import Limits
from router.access.limits import MAX_TENANTS, Bucket, Limiter
from router.errors import TooManyRequests

RATES = st.integers(1, 10_000)
STEPS = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 500)), max_size=60)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(RATES, STEPS)
def test_nobody_gets_more_than_a_minutes_worth_and_what_time_brings(rate, steps) -> None:
    """Over any stretch from the start: at most the full bucket and the rate times the time."""
    bucket, now, taken = Bucket(rate, 0.0), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if bucket.wait_s(amount, now) == 0:
            bucket.take(min(amount, rate), now)
            taken += min(amount, rate)

    assert taken <= rate + rate * now / 60 + 1e-5 * len(steps) + 1e-9 * rate


@given(RATES, STEPS, st.floats(0, 10_000))
def test_whoever_waits_as_long_as_was_said_gets_in_and_not_much_earlier(rate, steps, amount) -> None:
    """`Retry-After` is neither too short nor a guess."""
    bucket, now = Bucket(rate, 0.0), 0.0
    for pause, used in steps:
        now += pause
        bucket.take(used, now)
    wait_s = bucket.wait_s(amount, now)

    if wait_s > 1:
        assert bucket.wait_s(amount, now + wait_s * 0.99) > 0
    assert 0 == bucket.wait_s(amount, now + wait_s * (1 + 1e-9))


@given(RATES, STEPS)
def test_what_is_given_back_leaves_no_trace_and_a_bucket_is_never_more_than_full(rate, steps) -> None:
    """Setting aside and giving back at the same instant changes nothing."""
    plain, both, now = Bucket(rate, 0.0), Bucket(rate, 0.0), 0.0
    for pause, amount in steps:
        now += pause
        both.take(amount, now)
        both.take(-amount, now)

    assert both.level(now) <= rate
    assert pytest.approx(plain.level(now)) == both.level(now)


def test_a_clock_that_is_set_back_gives_nothing() -> None:
    """And takes nothing."""
    bucket = Bucket(60, 100.0)
    bucket.take(60, 100.0)

    assert 0 == bucket.level(50.0)
    assert 1 == pytest.approx(bucket.level(101.0))


def limiter(**limits: int) -> tuple[Limiter, Clock]:
    clock = Clock()
    return Limiter(Limits(**limits), clock), clock


def test_without_limits_nothing_is_kept() -> None:
    """The way in costs nothing where nobody is limited."""
    limits, _ = limiter()

    assert limits.enter("alice") is None
    assert {} == limits._tenants


def test_a_place_is_free_again_when_its_request_ends_once() -> None:
    """Ending it twice frees no second one."""
    limits, _ = limiter(concurrency=2)
    first, second = limits.enter("alice"), limits.enter("alice")
    with pytest.raises(TooManyRequests) as refused:
        limits.enter("alice")
    first.end()
    first.end()
    limits.enter("alice")

    assert "concurrency" == refused.value.why
    assert refused.value.retry_after_s > 0
    with pytest.raises(TooManyRequests):
        limits.enter("alice")
    assert second is not None


def test_requests_come_back_evenly_and_tenants_are_apart() -> None:
    """Sixty a minute are one a second; what one used up is nobody else's trouble."""
    limits, clock = limiter(requests_per_minute=60)
    for _ in range(60):
        limits.enter("alice").end()
    with pytest.raises(TooManyRequests) as refused:
        limits.enter("alice")
    limits.enter("bob").end()
    clock.now += refused.value.retry_after_s
    limits.enter("alice").end()

    assert 1 == pytest.approx(refused.value.retry_after_s)
    assert "requests" == refused.value.why


def test_a_request_refused_for_its_place_uses_up_no_request() -> None:
    """Only what gets in counts."""
    limits, _ = limiter(requests_per_minute=2, concurrency=1)
    place = limits.enter("alice")
    for _ in range(5):
        with pytest.raises(TooManyRequests, match="at once"):
            limits.enter("alice")
    place.end()

    assert limits.enter("alice") is not None


def test_tokens_are_set_aside_given_back_and_taken_as_used() -> None:
    """While it runs the estimate is gone; afterwards what it used is, be it less or more."""
    limits, _ = limiter(tokens_per_minute=1000)
    place = limits.enter("alice")
    place.reserve(600)
    during = limits.standing("alice")["tokens"].remaining
    with pytest.raises(TooManyRequests) as refused:
        limits.enter("alice").reserve(600)
    limits.used("alice", 100)
    place.end()
    after = limits.standing("alice")["tokens"].remaining
    limits.used("alice", 5000)

    assert (400, 900) == (during, after)
    assert "tokens" == refused.value.why
    assert 12 == pytest.approx(refused.value.retry_after_s)
    assert 0 == limits.standing("alice")["tokens"].remaining
    with pytest.raises(TooManyRequests):
        limits.enter("alice").reserve(1)


def test_a_request_larger_than_a_minutes_worth_gets_in_when_all_of_it_is_there() -> None:
    """Else it never would; the others then wait until it is paid off."""
    limits, _ = limiter(tokens_per_minute=100)
    place = limits.enter("alice")
    place.reserve(10_000)
    limits.used("alice", 10_000)
    place.end()

    with pytest.raises(TooManyRequests) as refused:
        limits.enter("alice").reserve(1)
    assert refused.value.retry_after_s > 59 * 99


def test_a_key_whose_limits_change_begins_anew_and_keeps_what_is_under_way() -> None:
    """Places taken before are freed for real afterwards."""
    limits, _ = limiter()
    place = limits.enter("alice", Limits(concurrency=1))
    with pytest.raises(TooManyRequests):
        limits.enter("alice", Limits(concurrency=1, requests_per_minute=10))
    place.end()

    assert limits.enter("alice", Limits(concurrency=1, requests_per_minute=10)) is not None


def test_tenants_without_number_are_forgotten_but_for_those_under_way() -> None:
    """Memory has a bound; a running request keeps its place through it."""
    limits, _ = limiter(concurrency=1)
    limits.enter("running")
    for n in range(MAX_TENANTS + 100):
        limits.enter(f"tenant{n}").end()

    assert MAX_TENANTS >= len(limits._tenants)
    with pytest.raises(TooManyRequests):
        limits.enter("running")
