"""The overview at the top of README.md, made anew from the results that were saved: also where we are behind.

`python benchmarks/table.py` writes it between its two marks; `--check` only tells whether it is as it should be.
"""

from __future__ import annotations

import argparse
import json
import sys
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from delivery import rule
from goals import Spread, number, shown, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
README, RESULTS = HERE / "README.md", HERE / "results"
BEGIN, END = "<!-- overview: made by table.py, from results/ -->", "<!-- overview: end -->"
HEAD = "| question | figure | others | goal | | run |"
RUNS = "| run | machine | versions | commit, date |"
Report = dict[str, Any]


class Row(NamedTuple):
    """One line of the table. `met` is None where there is no goal, or nothing was measured."""

    what: str
    figure: str
    others: str = ""
    goal: str = ""
    met: bool | None = None


# --- what each benchmark's results say ----------------------------------------------------------


def by_goals(report: Report) -> Iterator[Row]:
    """Of whoever tells its goals itself."""
    for each in report["goals"]:
        value = each["value"]
        yield Row(each["what"], shown(value), others(each), each["goal"], each["met"])


def local_throughput(report: Report) -> Iterator[Row]:
    """What its goals are about stands above them there."""
    for row in by_goals(report):
        crowd = row.what.startswith(("short:", "mixed:"))
        yield row._replace(what=f"{'embeddings, 32 callers' if crowd else 'near'}, {row.what}")


def log_ingest(report: Report) -> Iterator[Row]:
    """Its goals, and each question beside SQLite: those have no goal."""
    yield from by_goals(report)
    asked = report["questions"]
    for name, seconds in asked["seconds"].items():
        ours, theirs = (spread(1000 * each for each in seconds[side]) for side in ("nearfar", "sqlite"))
        told = others({"goal": "<=", "value": ours, "against": {"SQLite": theirs}})
        yield Row(f"of {asked['decisions']:,} decisions: {name}, ms", shown(ours), told)


def others(goal: Report) -> str:
    """What others have in the same run, and how many times better that is than ours, or ours than theirs."""
    told = []
    for name, theirs in goal.get("against", {}).items():
        if theirs is not None and goal["value"] is not None:
            told.append(f"{name} {shown(theirs)}{_times(goal, theirs)}")
    return "; ".join(told)


def _times(goal: Report, theirs: Spread) -> str:
    ours, their = goal["value"]["median"], theirs["median"]
    if min(ours, their) <= 0:
        return ""
    times = their / ours if goal["goal"].startswith("<=") else ours / their
    return f": {number(times)} x" if times >= 1 else f": {number(1 / times)} x better than ours"


def decision_time(report: Report) -> Iterator[Row]:
    """The slowest of the policies."""
    found = {name: each for name, each in report["policies"].items() if "plan" in each}
    slow = max(found, key=lambda name: found[name]["plan"]["p50_us"])
    for q in ("p50", "p99"):
        worst = max(each["plan"][f"{q}_us"] for each in found.values())
        limit = report["target"][f"{q}_us"]
        met = sum(each["plan"][f"{q}_us"] <= limit for each in found.values())
        more = f"{met} of {len(found)} policies; slowest: {slow}" if q == "p50" else f"{met} of {len(found)} policies"
        yield Row(f"a decision among ten candidates, {q} us", number(worst), more, f"<= {limit:g}", worst <= limit)


def log_scale(report: Report) -> Iterator[Row]:
    """The slowest question, and a decision's size."""
    slowest, size = report["asked"]["slowest_max_s"], report["size"]["bytes_per_decision"]
    rows = f"{report['size']['rows']:,} decisions"
    yield Row(f"slowest question over {rows}, s", number(slowest), "", "<= 1", slowest <= 1)
    yield Row("a settled decision, bytes", number(size), "", "<= 300", size <= 300)


def estimate_error(report: Report) -> Iterator[Row]:
    """Far, against the process's own irreducible error; near, of a real house; and against simple estimates."""
    row = next(row for row in report["far"]["rows"] if row["name"] == "all")
    simple = "; ".join(f"{name} {number(times)}" for name, times in row["baselines"].items())
    over, cover = row["over_best"], row["coverage"]["p95_s"] * 100
    yield Row("simulated far sides: error of predictions, times the least possible", number(over), simple, "<= 1.1", over <= 1.1)  # fmt: skip  # noqa: E501
    yield Row("simulated far sides: predicted p95 covers, %", f"{cover:.1f}", "", "93..97", 93 <= cover <= 97)
    for arm in report["near"]:
        off, mean, moving = (100 * arm[name] for name in ("error", "ten_mean_error", "ewma_error"))
        covers = 100 * arm["coverage"]["p95_s"]
        simple = f"ten-sample mean {mean:.1f}; EWMA {moving:.1f}"
        yield Row(f"near, {arm['name']}: error of predictions, %", f"{off:.1f}", simple, "<= 15", off <= 15)
        yield Row(f"near, {arm['name']}: predicted p95 covers, %", f"{covers:.1f}", "", "93..97", 93 <= covers <= 97)


def policy_regret(report: Report) -> Iterator[Row]:
    """The product's policies beside the best of the others, simulated and through the real server."""
    arms = {"on an arrival trace": report["simulated"]}
    if report.get("live"):
        arms["on that trace through the real server"] = report["live"]["arms"]
    for where, found in arms.items():
        share = {name: each["of_oracle"] * 100 for name, each in found.items()}
        theirs = {name: each for name, each in share.items() if name not in {"slo", "balanced", "oracle"}}
        best = max(theirs, key=lambda name: theirs[name])
        for name in ("slo", "balanced"):
            what = f"`{name}` {where}, % of the oracle's utility"
            yield Row(what, f"{share[name]:.1f}", f"{best} {theirs[best]:.1f}", ">= 90", share[name] >= 90)


def faults(report: Report) -> Iterator[Row]:
    """Where a fifth of the far side's answers fail: with this machine behind it, and without."""
    told: dict[str, tuple[int, int]] = {}
    for line in report["summary"]:
        if line["share"] == 20.0:
            good, asked = told.get(line["arm"], (0, 0))
            told[line["arm"]] = good + line["good"], asked + line["requests"]
    shares = {arm: good / asked * 100 for arm, (good, asked) in told.items()}
    ours = shares.pop("far + near")
    more = "; ".join(f"{arm} {shares[arm]:.1f}" for arm in ("two far", "one far, no router"))
    yield Row("whole answers where a fifth of the far side's fail, %", f"{ours:.1f}", more, ">= 100", ours >= 100)


def hostile_load(report: Report) -> Iterator[Row]:
    """What a crowd of which half means harm does to the rest."""
    failed = report["done"]["right"] - report["right_answered"]
    memory = report["rss"]["beside_the_log"]
    yield Row(f"right requests that failed in a hostile crowd, of {report['done']['right']:,}", str(failed), f"p99 {report['ms']['p99']:.0f} ms", "<= 0", failed == 0)  # fmt: skip  # noqa: E501
    yield _growth("memory beside the log grows in that crowd by, bytes a request", memory, "slope")


def soak(report: Report) -> Iterator[Row]:
    """Whether a server that runs for long keeps its size."""
    rss = {name: report["rss"][name] / 1e6 for name in ("bytes_per_minute", "low", "high")}
    yield _growth(
        f"a server's memory over {report['minutes']:g} minutes grows by, MB a minute", rss, "bytes_per_minute"
    )


def _growth(what: str, slope: Report, mean_of: str) -> Row:
    mean, low, high = (slope[name] for name in (mean_of, "low", "high"))
    return Row(what, f"{mean:.1f} (95 %: {low:.1f}..{high:.1f})", "", "95 % interval holds 0 or less", low <= 0)


def cascade(report: Report) -> Iterator[Row]:
    """How many calls of the strong model half of its gain takes."""
    ways = {name: each["calls_for"]["50%"]["mean"] * 100 for name, each in report["routing"]["ways"].items()}
    ours = ways.pop("quality by intent")
    told = "; ".join(f"{name} {share:.1f}" for name, share in ways.items())
    yield Row("calls of the strong model for half of its gain, %", f"{ours:.1f}", told)


def intents(report: Report) -> Iterator[Row]:
    """From ten examples a label."""
    for name, each in report["sets"].items():
        ways = {way: each["shots"]["10"][way]["accuracy"]["mean"] for way in ("head", "logistic", "centroid")}
        told = f"logistic regression {ways['logistic']:.3f}; nearest centroid {ways['centroid']:.3f}"
        yield Row(f"intents of {name} told apart from ten examples each, accuracy", f"{ways['head']:.3f}", told)


def replay_honesty(report: Report) -> Iterator[Row]:
    """How far from nominal the intervals of the estimates that are given first are: over all logs, and by cell."""
    rows = [row for row in report["coverage"] if row["method"] == "dr"]
    cover, logs = [row["coverage"] * 100 for row in rows], [row["logs"] for row in rows]
    pooled = sum(map(mul, cover, logs)) / sum(logs)
    told = f"{pooled:.1f} ({min(cover):.1f}..{max(cover):.1f})"
    yield Row("replay's 95 % intervals hold the truth, %", told, f"{len(rows)} cells", "93..97", 93 <= pooled <= 97)


def gpu(report: Report) -> Iterator[Row]:
    """Texts a second."""
    ours, cpu = (report["sides"][side]["feature-extraction"]["texts_per_s"] for side in ("gpu", "cpu"))
    yield Row("texts/s on a GPU", number(ours), f"its machine's CPU {number(cpu)}: {number(ours / cpu)} x")


def router_overhead(report: Report) -> Iterator[Row]:
    """What the router adds to a request that is alone."""
    alone = next((level for level in report["levels"] if level["concurrency"] == 1), None)
    for name, limit in (("p50", 1.0), ("p99", 5.0)):
        if alone is not None:
            value = alone["added"][f"{name}_ms"]
            yield Row(f"added without a key asked for, {name} ms", shown(value), "", f"<= {limit:g}", value["median"] <= limit)  # fmt: skip  # noqa: E501


def scale(report: Report) -> Iterator[Row]:
    """What a model elsewhere keeps of one in this process, asked by a crowd."""
    for what, figure in report["ratios"].items():
        if what.startswith("throughput of a crowd"):
            yield Row(what, shown(figure))


def browser_tier(report: Report) -> Iterator[Row]:
    """The first page, and the tier in the browser beside the server's near side."""
    page, loads = report["first_page"], f"slowest of {report['loads']} fresh loads"
    slowest, size = page["slowest_ms"], page["most_bytes"] / 1000
    yield Row("first page can be used after, ms", number(page["usable_ms"]["p50"]), f"{loads}: {slowest:.0f}", "<= 1000", slowest <= 1000)  # fmt: skip  # noqa: E501
    yield Row("first page, kB", number(size), "", "<= 300", size <= 300)
    times = {name: told["ratio"] for name, told in report["texts"].items()}
    told = "; ".join(f"{name} {number(each)}" for name, each in times.items() if name != "short")
    yield Row("vector of a short text in the page, times the server's", number(times["short"]), told)


READERS: dict[str, Callable[[Report], Iterator[Row]]] = {
    "gateways": by_goals,
    "router_overhead": router_overhead,
    "startup": by_goals,
    "log_ingest": log_ingest,
    "log_scale": log_scale,
    "local_throughput": local_throughput,
    "gpu": gpu,
    "decision_time": decision_time,
    "estimate_error": estimate_error,
    "policy_regret": policy_regret,
    "replay_honesty": replay_honesty,
    "cascade": cascade,
    "intents": intents,
    "faults": faults,
    "hostile_load": hostile_load,
    "soak": soak,
    "browser_tier": browser_tier,
    "scale": scale,
}


# --- the table ----------------------------------------------------------------------------------


def overview(results: Path) -> str:
    """The table of all results in a folder, with where we are behind above it and what was measured with below."""
    reports = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    names = [*READERS, *(name for name in reports if name not in READERS)]
    lines: list[str] = []
    behind: list[str] = []
    goals = 0
    for name in names:
        if name not in reports:
            lines.append(_line(Row(f"`{name}.py`", "not measured yet"), name))
            continue
        reader = READERS.get(name, by_goals if "goals" in reports[name] else _unread)
        for row in reader(reports[name]):
            lines.append(_line(row, name))
            goals += row.met is not None
            if row.met is False:
                behind.append(f"* {row.what}: {row.figure}, goal {row.goal}")
    runs = [_run(name, reports[name]) for name in names if name in reports]
    told = [f"Behind on {len(behind)} of {goals} goals{':' if behind else '.'}", "", *behind, *([""] if behind else [])]
    return "\n".join([*told, HEAD, rule(HEAD), *lines, "", RUNS, rule(RUNS), *runs])


def _unread(_: Report) -> Iterator[Row]:
    yield Row("see its section", "")


def _line(row: Row, name: str) -> str:
    verdict = {True: "met", False: "**behind**", None: ""}[row.met]
    return f"| {' | '.join([row.what, row.figure, row.others, row.goal, verdict, name])} |"


def _run(name: str, report: Report) -> str:
    machine = report["machine"]
    versions = (
        {"Python": machine["python"]} | machine["packages"] | report.get("versions", {}) | report.get("peers", {})
    )
    shown_versions = ", ".join(f"{what} {version}" for what, version in versions.items() if version)
    device = report["gpu"]["name"] if "gpu" in report else machine["cpu"]
    commit = machine["commit"] + (" and changes" if machine.get("uncommitted_changes") else "")
    return f"| {name} | {device}, {machine['cores']} cores | {shown_versions} | {commit}, {machine['date'][:10]} |"


def renewed(readme: str, table: str) -> str:
    """The text with what is between the two marks replaced.

    Raises:
        ValueError: It lacks one of the marks.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks {BEGIN!r} or {END!r}")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def main() -> int:
    """0 when the table is now as it should be, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 when it is not up to date")
    given = parser.parse_args()
    old = README.read_text(encoding="utf-8")
    new = renewed(old, overview(RESULTS))
    if given.check:
        print("up to date" if new == old else "out of date: run python benchmarks/table.py")
        return int(new != old)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
