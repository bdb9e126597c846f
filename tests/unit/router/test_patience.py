"""How long to wait for a first byte: nothing is claimed of little, and what is claimed follows what was seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.patience import LEAST, LIMIT_OF_P99, SHORTEST_LIMIT_S, Patience
from router.slate import Size
from tests.unit.router.test_course import NEAR, A

SHORT, LONG = Size(items=1, input_tokens=10), Size(items=1, input_tokens=100_000)


def after(*seconds: float, size: Size = SHORT) -> Patience:
    patience = Patience()
    for first_byte_s in seconds:
        patience.observe(A, size, first_byte_s)
    return patience


def test_with_little_seen_nothing_is_claimed() -> None:
    """The provider's own limit holds until then."""
    few = after(*[1.0] * (LEAST - 1))

    assert (None, None) == (few.limit_s(A, SHORT), few.hedge_after_s(A, SHORT))


def test_the_limit_is_a_multiple_of_the_slowest_usual_wait() -> None:
    """And a hedge starts earlier, at the 95th percentile."""
    patience = after(*[1.0] * 95, *[2.0] * 5)

    assert pytest.approx(LIMIT_OF_P99 * 2.0) == patience.limit_s(A, SHORT)
    assert pytest.approx(1.0) == patience.hedge_after_s(A, SHORT)


def test_a_long_prompt_is_waited_for_longer() -> None:
    """What short ones took says how long a long one may take."""
    patience = after(*[1.0] * LEAST)

    assert patience.limit_s(A, LONG) > 5 * patience.limit_s(A, SHORT)


def test_a_quick_candidate_still_has_a_moment() -> None:
    """A hiccup of the network is no silence."""
    assert SHORTEST_LIMIT_S == after(*[0.001] * LEAST).limit_s(A, SHORT)


def test_a_candidate_that_becomes_slow_is_waited_for_longer_next_time() -> None:
    """A time-out at the limit counts as seen, so the limit grows until the candidate is heard again."""
    patience = after(*[1.0] * LEAST)
    first_s = patience.limit_s(A, SHORT)
    patience.observe(A, SHORT, first_s)

    assert pytest.approx(LIMIT_OF_P99 * first_s) == patience.limit_s(A, SHORT)


def test_the_near_side_is_not_watched() -> None:
    """Its queue is known: nothing has to be guessed."""
    patience = Patience()
    for _ in range(LEAST):
        patience.observe(NEAR, SHORT, 1.0)

    assert patience.limit_s(NEAR, SHORT) is None


@given(st.lists(st.floats(0.01, 100), min_size=LEAST, max_size=300))
def test_a_hedge_never_starts_after_the_limit(seconds) -> None:
    """Whatever was seen."""
    patience = after(*seconds)

    assert patience.hedge_after_s(A, SHORT) <= patience.limit_s(A, SHORT)
