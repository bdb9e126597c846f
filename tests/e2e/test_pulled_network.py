"""The network goes away under a running server, and comes back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.alone import namespace


@pytest.mark.slow
def test_a_server_outlives_its_network(tmp_path: Path) -> None:
    """Near goes on, far falls back or fails within the deadline, and recovers without a restart; no row is lost."""
    alone = namespace()
    if alone is None or shutil.which("ip") is None:
        pytest.skip("needs `ip`, and network namespaces that this user may make")
    done = subprocess.run(
        [*alone, sys.executable, "-m", "tests.e2e.pulled", str(tmp_path / "server")],
        env=os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd()))},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr[-4000:]
    found = json.loads(done.stdout)
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
