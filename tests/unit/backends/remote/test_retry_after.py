"""A wish to wait is found wherever it was said, and nonsense is none."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.remote.retry_after import MAX_WAIT_S, retry_after_s


@pytest.mark.parametrize(
    ("headers", "payload", "seconds"),
    [
        ({"retry-after": "7"}, None, 7),
        ({"retry-after": "0.5"}, None, 0.5),
        ({"retry-after": "-1"}, None, None),
        ({"retry-after": "soon"}, None, None),
        ({"retry-after": "nan"}, None, None),
        ({"retry-after": "Fri, 01 Jan 2016 00:00:00 GMT"}, None, 0),
        ({"retry-after": "99999999999"}, None, MAX_WAIT_S),
        ({"retry-after-ms": "1500", "retry-after": "9"}, None, 1.5),
        ({"ratelimit": '"api";r=0;t=55'}, None, 55),
        ({"ratelimit": '"api";r=3;t=55'}, None, None),
        ({"ratelimit": '"a";r=0;t=5, "b";r=0;t=60, "c";r=9;t=99'}, None, 60),
        ({"ratelimit": ";;=,"}, None, None),
        ({}, {"estimated_time": 20.5}, 20.5),
        ({"retry-after": "3"}, {"estimated_time": 20.5}, 3),
        ({}, {"estimated_time": True}, None),
        ({}, [1], None),
        ({}, None, None),
    ],
)
def test_where_the_wait_is_said(headers, payload, seconds):
    """Headers before bodies, the more precise header first, never negative, at most a day."""
    assert seconds == retry_after_s(headers, payload)


def test_a_date_is_counted_from_now():
    """An hour ahead is between 59 minutes and an hour away."""
    then = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)

    assert 59 * 60 < retry_after_s({"retry-after": then}) <= 60 * 60


@given(st.text(), st.text(), st.text())
def test_no_header_crashes_it(retry_after, millis, limit):
    """Headers come from strangers."""
    wait = retry_after_s({"retry-after": retry_after, "retry-after-ms": millis, "ratelimit": limit})

    assert wait is None or 0 <= wait <= MAX_WAIT_S
