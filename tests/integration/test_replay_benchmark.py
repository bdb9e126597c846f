"""The benchmark of replay's honesty runs, and its tables have what they promise. So few logs prove nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_benchmark_covers_every_target_and_method_and_catches_wrong_propensities() -> None:
    """One cell, two logs, a short queue."""
    command = [
        sys.executable,
        "benchmarks/replay_honesty.py",
        "--logs",
        "2",
        "--cells",
        "1",
        "--requests",
        "600",
        "--json",
    ]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    targets = ("second, if easier", "always the second")
    expected = {(t, q, m) for t in targets for q in ("price", "quality") for m in ("dr", "snips", "ips")}
    assert expected == {(row["target"], row["quantity"], row["method"]) for row in report["coverage"]}
    assert all(0 <= row["coverage"] <= 1 for row in report["coverage"])
    assert all("refusals" in row for row in report["wrong_by_a_fifth"])
    assert ["100% near", "80% near", "10% near"] == [row["target"] for row in report["events"]]
    assert {"cpu", "cores", "commit"} <= report["machine"].keys()
