"""The benchmarks run, and what they count adds up. With so few requests the times mean nothing: not looked at."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
OVERHEAD = (sys.executable, "benchmarks/router_overhead.py")


def test_the_overhead_benchmark_answers_and_logs_every_request():
    """Both paths are measured at every concurrency in every round, and the log has a row for each request sent."""
    command = [*OVERHEAD, "--requests", "40", "--concurrency", "1,4", "--json"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [1, 4] == [level["concurrency"] for level in report["levels"]]
    assert [("direct", 6), ("proxied", 6)] == [
        (path, sum(cell["path"] == path for cell in report["cells"])) for path in ("direct", "proxied")
    ]
    for level in report["levels"]:
        for figure in (level["direct"]["p50_ms"], level["proxied"]["p99_ms"], level["added"]["p50_ms"]):
            assert figure["min"] <= figure["median"] <= figure["max"]
        assert 0 < level["rps_ratio"]["median"]
    assert {"cpu", "cores", "python", "packages", "commit", "date"} <= report["machine"].keys()
    sent = 3 * (40 + 4 + 40 + 4)  # rounds x (requests + warm-up) of each level
    faults = ("rows_lost", "attempts_lost", "unsettled", "seq_gaps", "seq_twice")
    assert {"sent": sent, "decisions": sent} | dict.fromkeys(faults, 0) == report["log"]
    assert 0 == report["errors"]


def test_an_interrupted_benchmark_leaves_no_process_behind():
    """Its servers do not see Ctrl-C themselves; it stops them before it ends."""
    command = [*OVERHEAD, "--requests", "100000", "--concurrency", "1"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as benchmark:
        said = [benchmark.stderr.readline()]
        children = psutil.Process(benchmark.pid).children(recursive=True)
        benchmark.send_signal(signal.SIGINT)
        said += benchmark.stderr.readlines()
    _, alive = psutil.wait_procs(children, timeout=10)

    assert benchmark.returncode == 130, "".join(said)
    assert len(children) >= 2
    assert [] == alive
