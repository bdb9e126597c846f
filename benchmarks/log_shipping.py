"""What does shipping the decision log cost a node, and whoever reads the logs of all? In ratios.

The same decisions go into a log at a rate, once kept where they are and once shipped to a folder every five seconds:
the CPU time of the process, and how late each is committed, tell what shipping adds. Then, as fast as it goes: rows
shipped a second, and their size. Then the same questions of a settled log, of its segments, and of those joined.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delivery import deliver, rule, said
from goals import Spread, shown, spread
from interruption import stoppable
from log_live import ENDED_S, Feed, made, set_aside
from machine import ROOT, describe_machine

from router.decision_log.log import DecisionLog
from router.decision_log.retention import Retention
from router.sections import ShipSettings
from router.shipping.checking import checked
from router.shipping.compacting import compact
from router.shipping.names import segments_of, visible
from router.shipping.places import place_of
from router.shipping.reading import Segments
from router.shipping.shipper import Shipper

if TYPE_CHECKING:
    from router.decision_log.queries import LogReader

RESULT = Path(__file__).parent / "results" / "log_shipping.json"
PACKAGES = ("nearfar", "duckdb", "msgspec")
KEPT, SHIPPED = "kept", "shipped"
QUESTIONS = {"summary": "model", "timeseries": "backend", "savings": "model"}
EVERY_S = 5.0
ROUNDS_OF_SHIPPING = 12  # in which the rows that questions are about were shipped


def added(decisions: int, rate: float, rounds: int, dice: random.Random) -> list[dict[str, Any]]:
    """A log that takes decisions at a rate, with and without shipping beside it, in turns."""
    rows = made(decisions, age_s=ENDED_S)
    cells = []
    with set_aside():
        for number in range(1, rounds + 1):
            for name in dice.sample((KEPT, SHIPPED), 2):
                cells.append({"round": number, "name": name} | _fed(name, rows, rate))
                said(f"round {number} {name}: {cells[-1]['cpu_us_per_decision']:.0f} us of CPU a decision")
    return cells


def _fed(name: str, rows: list[Any], rate: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
        log = DecisionLog.open(Path(folder, "log.duckdb"), retention=Retention(until_shipped=name == SHIPPED))
        place = place_of(f"{folder}/shared")
        shipper = Shipper(log, place, ShipSettings(every_s=EVERY_S))
        feed, worked = Feed(log, rows, rate), time.process_time()
        if name == SHIPPED:
            shipper.start()
        late: list[float] = []
        feed.start()
        while feed.is_alive():
            feed.join(0.1)
            late.append(log.stats().lag_s)
        log.flush(120)
        shipper.close()
        cpu_s = time.process_time() - worked
        log.close()
        return {
            "cpu_us_per_decision": cpu_s / len(rows) * 1e6,
            "lag_ms": max(late) * 1000,
            "missing": _missing(place, len(rows)) if name == SHIPPED else 0,
        }


def _missing(place: Any, decisions: int) -> int:
    return sum(decisions - one.rows + one.missing + one.doubled for one in checked(place))


def bulk(decisions: int, rounds: int) -> list[dict[str, Any]]:
    """All rows of a log at once: how fast they are out, how large they are there."""
    cells = []
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
            log = DecisionLog.open(Path(folder, "log.duckdb"), retention=Retention(until_shipped=True))
            log.leave()
            for whole in made(decisions):
                for row in whole:
                    log.append(row)
            log.flush(120)
            shipper = Shipper(log, place_of(f"{folder}/shared"), ShipSettings())
            began, worked = time.perf_counter(), time.process_time()
            shipper.ship()
            seconds, cpu_s = time.perf_counter() - began, time.process_time() - worked
            state = shipper.state()
            log.close()
            size = sum(file.stat().st_size for file in Path(folder, "shared").rglob("*.parquet"))
            cells.append({
                "round": number,
                "rows": state.rows,
                "rows_per_s": state.rows / seconds,
                "cpu_us_per_row": cpu_s / state.rows * 1e6,
                "bytes_per_decision": size / decisions,
                "ms_per_segment": seconds / state.segments * 1000,
                "missing": _missing(place_of(f"{folder}/shared"), decisions),
            })  # fmt: skip
            said(f"round {number}: {cells[-1]['rows_per_s']:.0f} rows/s shipped")
    return cells


def questions(decisions: int, rounds: int) -> dict[str, Any]:
    """Seconds of questions over the same rows in a settled log, in many segments, and in those joined."""
    with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
        log = DecisionLog.open(Path(folder, "log.duckdb"), retention=Retention(until_shipped=True))
        log.leave()
        place = place_of(f"{folder}/shared")
        shipper = Shipper(log, place, ShipSettings())
        rows = made(decisions, age_s=2 * 86_400.0)
        for first in range(0, decisions, -(-decisions // ROUNDS_OF_SHIPPING)):
            for whole in rows[first : first - (-decisions // ROUNDS_OF_SHIPPING)]:
                for row in whole:
                    log.append(row)
            log.flush(120)
            shipper.ship()
        with closing(log.cursor()) as con:
            while log._keeper.settle(con, datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1), at_least=1):  # noqa: SLF001
                pass
        with closing(Segments(place)) as many:
            found = {"log": _asked(log.reader(), rounds), "segments": _asked(many.reader(), rounds)}
        compacted = compact(place)
        with closing(Segments(place)) as few:
            found["joined"] = _asked(few.reader(), rounds)
        log.close()
        answers = {name: each["requests"] for name, each in found.items()}
        left = len(visible(segments_of(place.names())))
        return {
            "decisions": decisions,
            "segments": compacted.joined,
            "left": left,
            "seconds": {name: each["seconds"] for name, each in found.items()},
            "faults": [f"{name} counts {n} of {decisions}" for name, n in answers.items() if n != decisions],
        }


def _asked(reader: LogReader, rounds: int) -> dict[str, Any]:
    seconds: list[float] = []
    requests = 0
    for _ in range(rounds):
        began = time.perf_counter()
        for name, by in QUESTIONS.items():
            answer = reader.ask(name, by=by)
            if name == "summary":
                requests = sum(row["requests"] for row in answer["rows"])
        seconds.append(time.perf_counter() - began)
    return {"seconds": spread(seconds), "requests": requests}


def shipping(decisions: int, rate: float, rounds: int, dice: random.Random) -> dict[str, Any]:
    """Every figure of this page: what `scale.py` asks for."""
    live, at_once, asked = added(decisions, rate, rounds, dice), bulk(decisions, rounds), questions(decisions, rounds)
    by_name = {name: _of(live, name, "cpu_us_per_decision") for name in (KEPT, SHIPPED)}
    cells = {(cell["round"], cell["name"]): cell["cpu_us_per_decision"] for cell in live}
    return {
        "cpu_us_per_decision": by_name,
        "cpu_times": spread(cells[n, SHIPPED] / cells[n, KEPT] for n, name in cells if name == KEPT),
        "lag_ms": {name: _of(live, name, "lag_ms") for name in (KEPT, SHIPPED)},
        **{
            name: spread(cell[name] for cell in at_once)
            for name in ("rows_per_s", "cpu_us_per_row", "bytes_per_decision", "ms_per_segment")
        },
        "questions": asked,
        "faults": [f"round {cell['round']}: {cell['missing']} missing" for cell in live + at_once if cell["missing"]]
        + asked["faults"],
    }


def _of(cells: list[dict[str, Any]], name: str, field: str) -> Spread | None:
    return spread(cell[field] for cell in cells if cell["name"] == name)


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    found, asked = report["figures"], report["figures"]["questions"]
    head = "| | kept | shipped | times |"
    cpu, lag = found["cpu_us_per_decision"], found["lag_ms"]
    seconds = {name: shown(value) for name, value in asked["seconds"].items()}
    shipped = f"{seconds['segments']} in {asked['segments']} segments, {seconds['joined']} in {asked['left']}"
    one_each = ("rows_per_s", "cpu_us_per_row", "bytes_per_decision", "ms_per_segment")
    rows = [
        (
            f"CPU us a decision, at {report['settings']['rate']:g}/s",
            shown(cpu[KEPT]),
            shown(cpu[SHIPPED]),
            found["cpu_times"],
        ),
        ("longest lag of a commit, ms", shown(lag[KEPT]), shown(lag[SHIPPED]), None),
        *((name.replace("_", " "), "", shown(found[name]), None) for name in one_each),
        (f"three questions over {asked['decisions']:,} decisions, s", seconds["log"], shipped, None),
    ]
    lines = [f"| {what} | {kept} | {there} | {shown(times) if times else ''} |" for what, kept, there, times in rows]
    return "\n".join([head, rule(head), *lines, "", f"Faults: {'; '.join(found['faults']) or 'none'}."])


def main() -> int:
    """Measure, and say what came of it; 1 where a row is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=1000.0, help="decisions a second, with and without shipping")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="of the order within each round")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    parser.add_argument("--save", action="store_true", help=f"write the report to {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    machine = describe_machine(PACKAGES)
    report = {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *sys.argv]),
        "machine": machine,
        "settings": {name: value for name, value in vars(given).items() if name not in {"json", "save"}},
        "figures": shipping(given.decisions, given.rate, given.rounds, random.Random(given.seed)),
    }
    deliver(report, table(report), to=given.json, keep=RESULT if given.save else None)
    return 1 if report["figures"]["faults"] else 0


if __name__ == "__main__":
    sys.exit(stoppable(main))
