"""The network between a router and the rest of its cluster goes away, and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import veth

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_a_router_that_is_cut_off_serves_near_and_its_rows_arrive_after_the_cut(tmp_path: Path) -> None:
    """The rule: alone it spends what it holds, and after `survive_s` nothing; whoever asks it is always answered."""
    found = veth.told("tests.cluster.partition", str(tmp_path))

    assert [True, True] == found["before"]
    assert [False] * len(found["cut"]) == found["cut"]
    assert {"local"} == set(found["near"])
    assert found["others"]  # they go on
    assert 0 == found["arrived_early"]
    assert (0, 2, 0) == (found["lost"], found["extra"], found["faulty"])  # the two that the other router was asked
    assert (0, 0) == (found["stopped"], found["others_ended"])
