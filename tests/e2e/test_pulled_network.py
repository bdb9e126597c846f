"""The network goes away under a running server, and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import veth

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_a_server_outlives_its_network(tmp_path: Path) -> None:
    """Near goes on, far falls back or fails within the deadline, and recovers without a restart; no row is lost."""
    found = veth.told("tests.e2e.pulled", str(tmp_path / "server"))
    near = {"status": 200, "late": False, "backend": "local", "provider": "local"}
    far = {"status": 200, "late": False, "backend": "remote", "provider": "peer"}

    assert {"near": near, "either": far, "far": far} == found["before"]
    assert [near] * 8 == [asked[name] for asked in found["pulled"] for name in ("near", "either")]
    assert {asked["far"]["status"] for asked in found["pulled"]} <= {422, 502, 503, 504}, found["pulled"]
    assert {"open", "half-open"} & set(found["breakers"])
    assert found["recovered"] > 0
    assert {"near": near, "either": far, "far": far} == found["after"]
    assert found["running"]
    assert 0 == found["rows"]
