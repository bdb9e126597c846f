"""Compute time is billed: only what can be true, and cannot be of another unit, is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.remote.compute_time import HEADER, compute_s, queue_s


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0.25", 0.25),
        (" 0.25 ", 0.25),
        ("1.0", 1.0),
        ("1.001", None),
        ("0.0", None),
        ("0", None),
        ("1", None),
        ("250", None),
        (".5", None),
        ("1.", None),
        ("-0.5", None),
        ("+0.5", None),
        ("5.0e-1", None),
        ("0.5s", None),
        ("nan", None),
        ("inf", None),
        ("0,5", None),
        ("\u0660.\u0665", None),
        ("", None),
    ],
)
def test_only_seconds_with_a_decimal_point_within_the_exchange_are_believed(said, seconds):
    """Whole numbers are milliseconds of another server; nothing takes no time, or longer than all of it."""
    assert seconds == compute_s([{HEADER: said}], wall_s=1.0)


def test_without_the_header_it_is_unknown():
    """Never 0."""
    assert compute_s([{}], wall_s=1.0) is None
    assert compute_s([], wall_s=1.0) is None


@given(st.lists(st.none() | st.integers(1, 999).map(lambda n: n / 1000), min_size=1, max_size=5))
def test_several_answers_took_the_sum_if_all_say_it(each):
    """One that does not say makes the whole unknown."""
    answers = [{} if seconds is None else {HEADER: f"{seconds:.3f}"} for seconds in each]

    if None in each:
        assert compute_s(answers, wall_s=10.0) is None
    else:
        assert pytest.approx(sum(each)) == compute_s(answers, wall_s=10.0)
        assert compute_s(answers, wall_s=sum(each) / 2) is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("250", 0.25), (" 250.5 ", 0.2505), ("0", 0.0), ("-1", None), ("1e2", None), ("2000", None), ("", None)],
)
def test_a_wait_is_told_in_milliseconds_and_within_the_exchange(said, seconds):
    """None at all is a wait, too; what is longer than the whole exchange cannot be believed."""
    answers = [{"x-queue-time": said}]

    assert seconds == queue_s(answers, "x-queue-time", wall_s=1.0)
    assert queue_s(answers, None, wall_s=1.0) is None
    assert queue_s([*answers, {}], "x-queue-time", wall_s=1.0) is None
