"""What fails again and again is asked ever more seldom, for as long as it takes."""

from __future__ import annotations

import pytest

from backends.backoff import pause_s


def test_each_failure_doubles_the_pause_up_to_the_longest() -> None:
    assert [0.0, 0.5, 1.0, 2.0, 3.0, 3.0] == [pause_s(failures, 0.5, 3.0) for failures in range(6)]


@pytest.mark.parametrize("failures", [1100, 10**9])
def test_what_is_down_for_days_is_still_asked(failures: int) -> None:
    """Two to the number of its failures is no float any more."""
    assert 30.0 == pause_s(failures, 0.5, 30.0)
