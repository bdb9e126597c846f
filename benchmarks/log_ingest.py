"""How many rows a second does the decision log take, and how fast does it answer? Beside a log on SQLite.

That has the same columns, and is batched and synced the same way (`sqlite_log.py`). In bulk: as fast as one thread
appends. Live: in Nearfar's own server, while it is asked for something by somebody else. And questions of a dashboard
over the same rows. Rows are made before the clock starts, and counted in the database afterwards.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sqlite3
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import log_scale
import sqlite_log
from children import Child
from delivery import deliver, rule, said
from goals import Spread, goal, shown, spread, told
from interruption import stoppable
from load import Plan, measure
from log_live import NEARFAR, NOBODY, SQLITE, made, set_aside
from log_questions import Asked, copied
from machine import ROOT, describe_machine

from router.decision_log import keeping
from router.decision_log.log import DecisionLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.decision_log.record import Row

RESULT = Path(__file__).parent / "results" / "log_ingest.json"
PACKAGES = ("nearfar", "duckdb", "msgspec", "uvicorn", "uvloop")
FED = """
    SELECT count(*) FROM nearfar_log.every_decision SEMI JOIN nearfar_log.every_attempt USING (decision_id)
    SEMI JOIN nearfar_log.every_outcome USING (decision_id)
    WHERE tenant LIKE 'team-%'"""  # what was made; requests have no tenant
BOTH = (NEARFAR, SQLITE)
CONFIG = """\
[log]
path = "{folder}/decisions.duckdb"
[[models]]
id = "bench/chat"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "side"
  script = {{ near = true, tokens = 8 }}
  price = {{ input_per_1m_usd = 0.1, output_per_1m_usd = 0.1 }}
"""
BODY = json.dumps(
    {
        "model": "bench/chat",
        "messages": [{"role": "user", "content": "Which of two places should a request run in, near or far?"}],
        "max_tokens": 16,
    }
).encode()


# --- bulk ---------------------------------------------------------------------------------------


def bulk(decisions: int, rounds: int, dice: random.Random) -> Iterator[dict[str, Any]]:
    """As many rows as one thread appends, into a new log each time, until the last is committed."""
    rows = [row for whole in made(decisions) for row in whole]
    with set_aside():
        for number in range(1, rounds + 1):
            for name in dice.sample(BOTH, 2):
                cell = {"round": number, "name": name} | appended(name, rows)
                said(f"round {number} bulk {name}: {cell['rows_per_s']:.0f} rows/s")
                yield cell


def appended(name: str, rows: list[Row]) -> dict[str, Any]:
    """One new log's figures."""
    with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
        path = Path(folder) / "log.db"
        log = DecisionLog.open(path) if name == NEARFAR else sqlite_log.SqliteLog(path)
        began, worked = time.perf_counter(), time.process_time()
        for row in rows:
            log.append(row)
        append_s = time.perf_counter() - began
        log.flush(120)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - worked
        log.close()
        return {
            "rows": len(rows),
            "seconds": seconds,
            "append_s": append_s,
            "rows_per_s": len(rows) / seconds,
            "cpu_us_per_row": cpu_s / len(rows) * 1e6,
            "missing": len(rows) // len(sqlite_log.TABLES) - counted(path, name),
            "bytes_per_row": path.stat().st_size / len(rows),
        }


def counted(path: Path, name: str) -> int:
    """How many of the decisions that were made are in a closed log, counted by an attempt and an end of each."""
    if name == NEARFAR:
        with duckdb.connect(str(path), read_only=True) as con:
            ((found,),) = con.execute(FED).fetchall()
            return int(found)
    with closing(sqlite3.connect(path)) as con:
        return min(
            con.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in sqlite_log.TABLES.values()
        )


# --- live ---------------------------------------------------------------------------------------


class Server(Child):
    """`log_live.py`, which takes one question at a time while it serves."""

    url = ""

    def ready(self) -> str:
        """Wait until it serves; its URL.

        Raises:
            RuntimeError: It ended, or does not serve.
        """
        line = super().ready()
        found = re.search(r"http://[\w.:\[\]-]+", line)
        if found is None:
            raise RuntimeError(f"{self.name} announced no URL but {line!r}")
        self.url = found[0]
        for _ in range(600):
            with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{self.url}/health/ready"):
                return self.url
            time.sleep(0.05)  # between two tries
        raise RuntimeError(f"{self.name} is not ready, exit status {self.process.poll()}")

    def tell(self, **asked: Any) -> dict[str, Any]:
        """Ask for something; its answer, while it goes on serving."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked).encode() + b"\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line(300.0))
        return answer


def live(rate: float, seconds: float, rounds: int, dice: random.Random) -> Iterator[dict[str, Any]]:
    """Requests one after the other to a server, a new one each time, in which decisions are logged meanwhile or not."""
    for number in range(1, rounds + 1):
        for name in dice.sample((NOBODY, NEARFAR, SQLITE), 3):
            with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
                cell = {"round": number, "name": name} | served(Path(folder), name, rate, seconds)
            said(
                f"round {number} live {name}: p50 {cell['p50_ms']:.2f} ms, p99 {cell['p99_ms']:.2f} ms, "
                f"{cell['decisions_per_s']:.0f} decisions/s"
            )
            yield cell


def served(folder: Path, name: str, rate: float, seconds: float) -> dict[str, Any]:
    """One server's figures."""
    config, sqlite_file = folder / "nearfar.toml", folder / "log.sqlite"
    config.write_text(CONFIG.format(folder=folder), encoding="utf-8")
    command = [sys.executable, str(Path(__file__).with_name("log_live.py")), str(config), str(sqlite_file)]
    server = Server("log_live.py", command)
    try:
        url = f"{server.ready()}/v1/chat/completions"
        server.tell(make=int(rate * (seconds + 2)))
        measure(Plan(url=url, concurrency=1, requests=500, warm_up=0), BODY)
        server.tell(feed=name, rate=rate)
        found = measure(Plan(url=url, concurrency=1, requests=1_000_000, warm_up=0, seconds=seconds), BODY)
        fed = server.tell(stop=True)
    finally:
        status = server.close()
    path = sqlite_file if name == SQLITE else folder / "decisions.duckdb"
    return {
        "p50_ms": found.quantile_ms(0.5),
        "p99_ms": found.quantile_ms(0.99),
        "requests_per_s": found.rps,
        "errors": found.errors,
        "decisions_per_s": fed["fed"] / fed["committed_s"] if fed["fed"] else 0.0,
        "missing": fed["fed"] - counted(path, name) if name != NOBODY else 0,
        "exit_status": status,
    } | fed


# --- questions ----------------------------------------------------------------------------------


def questions(decisions: int, rounds: int) -> dict[str, Any]:
    """A log of so many decisions, settled as the router's own upkeep settles them, and the same rows in SQLite."""
    with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
        path, other = Path(folder) / "log.duckdb", Path(folder) / "log.sqlite"
        at_once = keeping.AT_ONCE
        size = log_scale.fill(path, decisions)
        keeping.AT_ONCE = at_once
        with closing(sqlite_log.connected(other)) as con:
            copied(path, con, {table: sqlite_log.columns(kind) for kind, table in sqlite_log.TABLES.items()})
            con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            log = DecisionLog.open(path)
            log.leave()
            try:
                asked = Asked(log.reader(), con, datetime.now(UTC))
                for number in range(rounds):
                    asked.once()
                    said(f"round {number + 1} of the questions")
            finally:
                log.close()
        return {
            "decisions": decisions,
            "bytes_per_decision": {NEARFAR: size["file_bytes_per_decision"], SQLITE: other.stat().st_size / decisions},
            "seconds": asked.seconds,
            "faults": sorted(set(asked.faults)),
        }


# --- reporting ----------------------------------------------------------------------------------


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Measure everything; the report."""
    machine, began = describe_machine(PACKAGES), time.monotonic()
    dice = random.Random(given.seed)
    bulk_cells = list(bulk(given.bulk, given.rounds, dice))
    live_cells = list(live(given.rate, given.seconds, given.rounds, dice))
    asked = questions(given.decisions, given.question_rounds)
    return {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *sys.argv]),
        "machine": machine,
        "seconds": time.monotonic() - began,
        "versions": {"SQLite": sqlite3.sqlite_version},
        "settings": {name: value for name, value in vars(given).items() if name not in {"json", "save"}},
        "goals": goals(bulk_cells, live_cells),
        "ratios": ratios(bulk_cells, live_cells, asked),
        "bulk": bulk_cells,
        "live": live_cells,
        "questions": asked,
        "faults": faults(bulk_cells, live_cells, asked),
    }


def goals(bulk_cells: list[dict[str, Any]], live_cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The issue's goals, each with its figure."""
    sqlite = {
        field: {SQLITE: of(cells, SQLITE, field)}
        for cells, field in ((bulk_cells, "rows_per_s"), (live_cells, "decisions_per_s"))
    }
    p99 = moved(live_cells, NEARFAR), {SQLITE: moved(live_cells, SQLITE)}
    return [
        goal("bulk, rows/s", of(bulk_cells, NEARFAR, "rows_per_s"), 50_000, against=sqlite["rows_per_s"]),
        goal(
            "live, decisions/s",
            of(live_cells, NEARFAR, "decisions_per_s"),
            5_000,
            against=sqlite["decisions_per_s"],
        ),
        goal("requests' p99 moved by that, %", p99[0], 5, most=True, against=p99[1]),
    ]


def of(cells: list[dict[str, Any]], name: str, field: str) -> Spread | None:
    """A figure of one log, over the rounds."""
    return spread(cell[field] for cell in cells if cell["name"] == name)


def moved(cells: list[dict[str, Any]], name: str) -> Spread | None:
    """By how many percent the p99 of requests is higher than without decisions beside them, round by round."""
    p99 = {(cell["round"], cell["name"]): cell["p99_ms"] for cell in cells}
    return spread((p99[number, of] / p99[number, NOBODY] - 1) * 100 for number, of in p99 if of == name)


def ratios(
    bulk_cells: list[dict[str, Any]], live_cells: list[dict[str, Any]], asked: dict[str, Any]
) -> dict[str, Spread | None]:
    """Ours against SQLite's, round by round: above 1 is more a second, or sooner answered."""
    times = {name: [their / our for our, their in pairs(each)] for name, each in asked["seconds"].items()}
    return {
        "bulk, rows/s": against(bulk_cells, "rows_per_s"),
        "live, decisions/s": against(live_cells, "decisions_per_s"),
        **{name: spread(each) for name, each in times.items()},
    }


def pairs(seconds: dict[str, list[float]]) -> list[tuple[float, float]]:
    """Ours and SQLite's seconds of the same round."""
    return list(zip(seconds["nearfar"], seconds["sqlite"], strict=True))


def against(cells: list[dict[str, Any]], field: str) -> Spread | None:
    found = {(cell["round"], cell["name"]): cell[field] for cell in cells}
    return spread(value / found[number, SQLITE] for (number, name), value in found.items() if name == NEARFAR)


def faults(bulk_cells: list[dict[str, Any]], live_cells: list[dict[str, Any]], asked: dict[str, Any]) -> list[str]:
    """What makes the run worth nothing."""
    found = [
        f"round {cell['round']} {cell['name']}: {cell[what]} {what}"
        for cell in bulk_cells + live_cells
        for what in ("missing", "errors")
        if cell.get(what)
    ]
    return found + list(asked["faults"])


def table(report: dict[str, Any]) -> str:
    """The report as Markdown: what benchmarks/README.md holds."""
    head = "| | Nearfar | SQLite | times |"
    lines = [f"| {' | '.join(row)} |" for row in (*_ingest(report), *_answers(report))]
    quiet = ", ".join(f"{q} {shown(of(report['live'], NOBODY, f'{q}_ms'))} ms" for q in ("p50", "p99"))
    below = (
        f"Requests without decisions beside them: {quiet}. Questions over {report['questions']['decisions']:,} "
        f"decisions. SQLite {report['versions']['SQLite']}. Faults: {'; '.join(report['faults']) or 'none'}."
    )
    return "\n".join([*told(report["goals"]), "", head, rule(head), *lines, "", below])


def _ingest(report: dict[str, Any]) -> Iterator[list[str]]:
    for kind, field, what in (
        ("bulk", "rows_per_s", "bulk, rows/s"),
        ("bulk", "cpu_us_per_row", "bulk, CPU us a row"),
        ("live", "decisions_per_s", "live, decisions/s"),
        ("live", "p50_ms", "requests' p50 ms meanwhile"),
        ("live", "p99_ms", "requests' p99 ms meanwhile"),
    ):
        times = shown(report["ratios"][what]) if what in report["ratios"] else ""
        yield [what, *(shown(of(report[kind], name, field)) for name in BOTH), times]
    yield ["requests' p99 moved, %", *(shown(moved(report["live"], name)) for name in BOTH), ""]


def _answers(report: dict[str, Any]) -> Iterator[list[str]]:
    asked = report["questions"]
    yield ["bytes a decision", *(f"{asked['bytes_per_decision'][name]:.0f}" for name in BOTH), ""]
    for name, each in asked["seconds"].items():
        spent = [shown(spread(1000 * second for second in each[side])) for side in ("nearfar", "sqlite")]
        yield [f"{name}, ms", *spent, shown(report["ratios"][name])]


def main() -> int:
    """0 when nothing is missing and all answers agree, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bulk", type=int, default=30_000, help="decisions of three rows each")
    parser.add_argument("--rate", type=float, default=5_500.0, help="decisions a second that are offered live")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each server")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--decisions", type=int, default=300_000, help="that questions are about")
    parser.add_argument("--question-rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1, help="of the order within each round")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    parser.add_argument("--save", action="store_true", help=f"write the report to {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    report = run(given)
    deliver(report, table(report), to=given.json, keep=RESULT if given.save else None)
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(stoppable(main))
