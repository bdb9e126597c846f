"""The benchmarks run, and what they count adds up. With so few requests the times mean nothing: not looked at."""

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from policies.registry import names

ROOT = Path(__file__).parents[2]
OVERHEAD = (sys.executable, "benchmarks/router_overhead.py")
THROUGHPUT = (sys.executable, "benchmarks/local_throughput.py", "--encoders", "packed", "--no-generation")


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


def test_the_gateways_benchmark_counts_every_request_and_names_who_is_not_there(tmp_path):
    """Nearfar asks for a key and logs each request; of peers that are not installed nothing is made up."""
    command = [sys.executable, "benchmarks/gateways.py", "--peers", str(tmp_path), "--concurrency", "1,16"]
    command += ["--rounds", "2", "--seconds", "0.3", "--json"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    expected = itertools.product([1, 2], [1, 16], ["Nearfar", "Nearfar, a worker a core", "no gateway"])
    assert set(expected) == {(cell["round"], cell["concurrency"], cell["name"]) for cell in report["cells"]}
    for cell in report["cells"]:
        assert cell["sent"] == 2 * cell["concurrency"] + cell["answered"]  # the warm-up, and what was timed
    assert report["log"]["sent"] == report["log"]["decisions"] > 0
    assert 3 == len(report["not_measured"])
    for each in report["goals"]:
        of_peer = "times" in each["what"]
        assert (each["value"] is None, each["met"] is None) == (of_peer, of_peer), each
    assert [] == report["faults"]


@pytest.mark.slow
def test_the_startup_benchmark_measures_an_answer_a_vector_and_the_size(tmp_path):
    """Of each round: one start that is left idle, one that is asked for a vector; the first of each is not counted."""
    command = [sys.executable, "benchmarks/startup.py", "--peers", str(tmp_path), "--rounds", "1", "--idle", "0.1"]

    done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    idle, embedding = sorted(report["starts"], key=lambda start: start["vector_s"] is not None)
    assert 0 < embedding["answer_s"] < embedding["vector_s"]
    assert idle["rss_mb"] > 0
    assert [True, True, True] == [each["value"] is not None for each in report["goals"]]


@pytest.mark.slow
def test_the_log_benchmark_finds_every_row_and_both_databases_say_the_same():
    """In bulk, live beside requests, and in the answers to a dashboard's questions."""
    command = [sys.executable, "benchmarks/log_ingest.py", "--bulk", "400", "--rate", "300", "--seconds", "1"]
    command += ["--rounds", "1", "--decisions", "3000", "--question-rounds", "1", "--json"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [("Nearfar", 1200), ("SQLite", 1200)] == sorted((cell["name"], cell["rows"]) for cell in report["bulk"])
    fed = {cell["name"]: cell["fed"] for cell in report["live"]}
    assert 0 == fed.pop("nobody")
    assert {"Nearfar", "SQLite"} == {name for name, decisions in fed.items() if decisions > 0}
    assert 8 == len(report["questions"]["seconds"])
    assert [] == report["faults"]


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


def test_the_decision_time_benchmark_measures_every_policy():
    """Each policy decides among ten candidates, in process and over HTTP, or says why it cannot here."""
    command = (sys.executable, "benchmarks/decision_time.py", "--decisions", "20", "--requests", "20", "--json")

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stderr
    policies = json.loads(done.stdout)["policies"]
    assert set(names()) == set(policies)
    measured = {policy: figures for policy, figures in policies.items() if "refused" not in figures}
    assert {"balanced", "cheapest", "fastest"} <= set(measured)
    for figures in measured.values():
        assert 10 == figures["candidates"]
        assert {"find_us", "estimate_us", "policy_us", "rest_us"} == set(figures["parts"])
        assert 0 < figures["plan"]["p50_us"] <= figures["plan"]["p99_us"]
        assert 0 < figures["http"]["share"] < 1


@pytest.mark.slow
def test_the_throughput_benchmark_counts_every_request_and_compares_equal_vectors():
    """Every server and raw loop is measured on both sets of texts; what is not installed is named and not guessed."""
    command = [*THROUGHPUT, "--servers", "nearfar,infinity", "--concurrency", "1,32", "--rounds", "1"]
    command += ["--seconds", "0.2", "--texts", "9", "--json"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    served = [cell for cell in report["cells"] if cell["what"] in {"server", "burner"}]
    expected = itertools.product(["nearfar"], ("short", "mixed"), (1, 32))
    assert set(expected) == {(cell["name"], cell["set"], cell["concurrency"]) for cell in served}
    for cell in served:
        assert cell["sent"] == 2 * cell["concurrency"] + cell["answered"]  # the warm-up, and what was timed
        assert 0 == cell["errors"]
    loops = [cell for cell in report["cells"] if cell["what"] == "raw"]
    assert {8, 32, 64, 128} == {cell["batch"] for cell in loops if cell["name"] == "sentence-transformers"}
    assert {32} == {cell["batch"] for cell in loops if cell["name"] == "packed"}
    assert report["requests"]["sent"] == report["requests"]["logged"]
    assert sum(cell["sent"] for cell in served if cell["name"] == "nearfar") < report["requests"]["sent"]
    assert {"packed", "nearfar"} == report["agreement"].keys()
    assert min(report["agreement"].values()) >= 0.999
    assert ["infinity (not installed)"] == report["not_measured"]
    for goal in report["goals"]:
        absent = any(word in goal["what"] for word in ("infinity", "litserve", "generation"))
        assert (goal["value"] is None, goal["met"] is None) == (absent, absent), goal
    for texts in report["sets"].values():  # 21.2 MFLOP a token and 9216 more for each other token of its text
        assert 0.0212 < texts["gflop_per_text"] / texts["mean_tokens"] < 0.0240
    assert [] == report["faults"]


@pytest.mark.slow
def test_the_benchmark_of_near_costs_prices_what_it_measured():
    """Every request is in the log, and the bases are in proportion to each other as their formulas say."""
    command = [sys.executable, "benchmarks/cost_bases.py", "--requests", "3", "--texts", "2", "--json", "-"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["measured"]
    assert 3 == run["requests"]
    rounding = 3 * 0.5e-6 / run["device_s"]  # each request's device time is kept to the microsecond, its price in full
    assert run["device_s_per_million"] == pytest.approx(run["device_s"] / 6 * 1e6)
    assert run["occupancy_usd_per_million"] == pytest.approx(
        run["device_s_per_million"] * run["rates"]["cpu_usd_per_hour"] / 3600, rel=rounding
    )
    assert run["amortised_usd_per_million"]["0.05"] == pytest.approx(20 * run["occupancy_usd_per_million"])
    assert run["marginal_usd_per_million"] == pytest.approx(
        run["kwh_per_million"] * run["rates"]["electricity_usd_per_kwh"]
    )


@pytest.mark.slow
def test_the_faults_benchmark_measures_every_arm_and_charts_it(tmp_path):
    """Each arm of each task and share is there, answers are counted by how they ended, and no broken one passed."""
    command = [sys.executable, "benchmarks/faults.py", "--quick", "--json", "--plot", str(tmp_path / "faults.svg")]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    arms = ["one far, no router", "two far", "two far, hedged", "far + near", "far + near, hedged"]
    expected = itertools.product(["chat", "embeddings"], [0, 20], arms)
    assert list(expected) == [(line["task"], line["share"], line["arm"]) for line in report["summary"]]
    for line in report["summary"]:
        direct = line["arm"] == arms[0]
        assert (24, 24) == (line["requests"], sum(line["ends"].values()))
        assert line["good"] == line["ends"].get("ok", 0)
        assert 0 == line["false_successes"]
        assert direct == (line["usd_per_1000_good"] is None) == (line["attempts_per_request"] is None)
        if line["share"] == 0:
            assert line["good"] == 24, line
        elif not direct and line["arm"].startswith("far + near"):
            assert line["good"] == 24, line  # this machine does not fail
    failed = [line["good"] for line in report["summary"] if line["share"] == 20 and line["arm"] == arms[0]]
    assert [True, True] == [good < 24 for good in failed]
    svg = ElementTree.parse(tmp_path / "faults.svg").getroot()
    assert 6 * len(arms) == len(svg.findall(".//{http://www.w3.org/2000/svg}polyline"))


@pytest.mark.slow
def test_an_interrupted_throughput_benchmark_leaves_no_process_behind():
    """Its children stand still, stopped by a signal, while another starts; they are ended all the same."""
    command = [*THROUGHPUT, "--servers", "nearfar"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as benchmark:
        said = [benchmark.stderr.readline()]
        while said[-1] and not said[-1].startswith("starting sentence-transformers"):
            said.append(benchmark.stderr.readline())
        children = psutil.Process(benchmark.pid).children(recursive=True)
        benchmark.send_signal(signal.SIGINT)
        said += benchmark.stderr.readlines()
    _, alive = psutil.wait_procs(children, timeout=10)

    assert benchmark.returncode == 130, "".join(said)
    assert len(children) >= 2
    assert [] == alive
