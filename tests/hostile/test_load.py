"""A crowd of which half means harm, small and short: what is kept is right, whatever the times are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_each_answered_request_of_a_hostile_crowd_has_one_row() -> None:
    """The benchmark's own faults are none but, in so short a time, the memory's."""
    command = [sys.executable, "benchmarks/hostile_load.py", "--connections", "40", "--minutes", "0.25", "--json"]

    done = subprocess.run(
        [*command, "--pause-s", "0.2"], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )

    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    rows = report["rows"]
    assert [] == [fault for fault in report["faults"] if not fault.startswith("memory")]
    assert 100 < rows["answered"] == rows["answered_with_one_row"]
    assert (0, 0) == (rows["with_two_rows"], rows["of_nobody"])
    assert {"right", "refused", "leaves", "garbage", "large_head"} <= set(report["done"])
