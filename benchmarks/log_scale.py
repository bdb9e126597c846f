"""Does the log stay small and fast? Every question over millions of decisions, while 500 a second are written.

The first hundred thousand go the way of real rows: into the tables that rows arrive in, and settled from there by the
log's own upkeep. What is above that is these repeated, later and with ids of their own. Then the log is opened as the
router opens it, a thread appends whole decisions at a fixed rate, and every question is asked over the whole log, its
last week, its last day and an odd hour of it.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import log_rows
from delivery import deliver, said
from machine import describe_machine

sys.path.insert(0, str(Path(__file__).parents[1]))

from router.decision_log import keeping
from router.decision_log.log import DecisionLog
from router.decision_log.migrations import connect
from router.decision_log.questions import QUESTIONS
from router.decision_log.record import AttemptRow, CandidateRow, DecisionRow, OutcomeRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

    from router.decision_log.queries import LogReader

RESULT = Path(__file__).parent / "results" / "log_scale.json"
FIRST = 100_000
CHUNK = 50_000
SPAN_DAYS = 30
TENANTS, TENANT = 7, "team-3"  # who asks, and the one that asks about its own
LIMIT_S = 1.0
LIMIT_BYTES = 300


# --- filling ------------------------------------------------------------------------------------


def fill(path: Path, rows: int) -> dict[str, Any]:
    """Fill a new log so that it ends an hour ago; how large a decision is before it is settled, and after."""
    first = min(rows, FIRST)
    times = rows // first
    hours = SPAN_DAYS * 24 // times
    end = datetime.now(UTC).replace(tzinfo=None, minute=0, second=0, microsecond=0) - timedelta(hours=1)
    start = end - timedelta(hours=hours * times)
    began = time.perf_counter()
    keeping.AT_ONCE = CHUNK
    con = connect(path)
    keeper = keeping.Keeper(con.cursor)
    fresh_bytes, settled = None, 0
    settling_s = 0.0
    for n in range(0, first, CHUNK):
        many = min(CHUNK, first - n)
        log_rows.fill(con, many, start + timedelta(hours=hours) * (n / first), hours * 3600 * many / first, seed=n)
        if fresh_bytes is None:
            con.execute("CHECKPOINT")
            fresh_bytes = path.stat().st_size / many
        at = time.perf_counter()
        with con.cursor() as cursor:
            settled += keeper.settle(cursor, datetime.now(UTC).replace(tzinfo=None) + timedelta(days=2))
        settling_s += time.perf_counter() - at
        said(f"{settled} settled")
    until = start + timedelta(hours=hours)
    for n in range(1, times):
        log_rows.copy_settled(con, until, n, hours * 3600 * n)
        con.execute("CHECKPOINT")
        said(f"{(n + 1) * first} there")
    con.execute("CHECKPOINT")
    report = sizes(con, path, rows) | {
        "rows": rows,
        "bytes_per_decision_before": fresh_bytes,
        "settle_us_per_decision": settling_s / first * 1e6,
        "fill_s": time.perf_counter() - began,
    }
    con.close()
    return report


def sizes(con: duckdb.DuckDBPyConnection, path: Path, rows: int) -> dict[str, Any]:
    """What the file holds: blocks in use, and blocks that DuckDB keeps to use again."""
    ((_, _, block, total, used, free, *_),) = con.execute("PRAGMA database_size").fetchall()
    ((cells,),) = con.execute("SELECT count(*) FROM nearfar_log.cells").fetchall()
    return {
        "file_bytes_per_decision": path.stat().st_size / rows,
        "bytes_per_decision": used * block / rows,
        "free_blocks_share": free / total,
        "cells": cells,
    }


# --- writing ------------------------------------------------------------------------------------


def decision(seq: int, draw: random.Random, age_s: float = 0.0) -> Iterator[DecisionRow | AttemptRow | OutcomeRow]:
    """The rows of one request that was decided and answered just now, or so many seconds ago."""
    decision_id, now = str(uuid.uuid4()), time.time_ns() // 1000 - int(age_s * 1e6)
    slate = [_candidate(n, draw) for n in range(3)]
    yield DecisionRow(
        decision_id=decision_id,
        ts_us=now,
        seq=seq,
        surface="/v1/inference",
        request_id=None,
        mode="policy",
        reason=f"{slate[0].candidate_id} has the best balance of latency and cost (no quality is known): score 0.0421 "
        f"against 0.513 ({slate[1].candidate_id}); expected {slate[0].pred_ms:.1f} ms, $0.0000003.",
        price_book="7c1f0a2b9d3e4f50",
        task="feature-extraction",
        model="sentence-transformers/all-MiniLM-L6-v2",
        input_bytes=240,
        policy="balanced",
        policy_version="balanced@1-3f1c2b7a",
        input_tokens=40,
        batch_items=1,
        deadline_ms=300_000.0,
        candidates=slate,
        chosen=slate[0].candidate_id,
        decide_us=90,
        tenant=f"team-{seq % TENANTS}",
        session=f"{seq // 5:016x}",
        propensity=1.0,
    )
    total_ms = round(slate[0].pred_ms * draw.lognormvariate(0, 0.25), 3)
    usd = total_ms * 0.067 / 3.6e6
    yield AttemptRow(
        decision_id=decision_id,
        attempt=1,
        ts_us=now,
        role="primary",
        candidate_id=slate[0].candidate_id,
        backend="local",
        provider="local",
        model=slate[0].model,
        device="cpu",
        status="ok",
        error_class=None,
        error=None,
        censored=False,
        won=True,
        total_ms=total_ms,
        queue_ms=0.1,
        load_ms=0.0,
        service_ms=total_ms,
        first_token_ms=None,
        batch_size=1,
        prompt_tokens=40,
        completion_tokens=None,
        occupancy_ms=total_ms,
        cost_usd=usd,
        cost_source="measured",
        provider_request_id=None,
    )
    yield OutcomeRow(
        decision_id=decision_id,
        ts_us=now + int(total_ms * 1000),
        status="ok",
        error_class=None,
        error=None,
        cost_usd=usd,
        cost_source="measured",
        backend="local",
        provider="local",
        model_served=slate[0].model,
        device="cpu",
        attempts=1,
        latency_ms=total_ms + 0.8,
        overhead_ms=0.8,
        prompt_tokens=40,
    )


def _candidate(n: int, draw: random.Random) -> CandidateRow:
    backend = "local" if n == 0 else "remote"
    pred = round((8.0, 95.0, 140.0)[n] * draw.uniform(0.9, 1.1), 3)
    provider = ("local", "hf-inference", "together")[n]
    return CandidateRow(
        candidate_id=f"{provider}:sentence-transformers/all-MiniLM-L6-v2",
        backend=backend,
        provider=provider,
        model="sentence-transformers/all-MiniLM-L6-v2",
        device="cpu" if n == 0 else "remote",
        eligible=True,
        reason=None,
        warm=True,
        queued=0,
        load_ms=0.0,
        queue_ms=0.0,
        pred_ms=pred,
        pred_source="history",
        pred_cost_usd=1e-7 * (n + 1),
        pred_cost_source="priced",
        pred_quality=None,
        score=0.1 * n,
        near=n == 0,
        p90_ms=round(pred * 1.4, 3),
        p95_ms=round(pred * 1.55, 3),
        p99_ms=round(pred * 1.9, 3),
        propensity=float(n == 0),
    )


class Writer(threading.Thread):
    """Appends decisions at a rate until it is told to stop, and looks how far the log is behind."""

    def __init__(self, log: DecisionLog, rate: int) -> None:
        super().__init__(name="writer")
        self._log, self._rate = log, rate
        self.stopped = threading.Event()
        self.written = 0
        self.lags_s: list[float] = []
        self.commits_ms: list[float] = []

    def run(self) -> None:
        """Write a tenth of a second's rows at a time."""
        draw, began, tick = random.Random(1), time.monotonic(), 0
        while not self.stopped.wait(max(0.0, began + tick / 10 - time.monotonic())):
            tick += 1
            due = int(tick / 10 * self._rate) - self.written
            for _ in range(due):
                self.written += 1
                for row in decision(self.written, draw):
                    self._log.append(row)
            stats = self._log.stats()
            self.lags_s.append(stats.lag_s)
            self.commits_ms.append(stats.last_commit_ms or 0.0)


# --- asking -------------------------------------------------------------------------------------


def questions(reader: LogReader) -> dict[str, Callable[[], object]]:
    """Every question a dashboard asks, by name and range."""
    now = datetime.now(UTC)
    odd = now.replace(minute=17, second=23, microsecond=0)
    ranges = {
        "all": {},
        "week": {"since": now - timedelta(days=7)},
        "day": {"since": now - timedelta(hours=24)},
        "odd hour": {"since": odd - timedelta(days=4, hours=1), "until": odd - timedelta(days=4)},
    }
    asked: dict[str, Callable[[], object]] = {}
    for name, question in QUESTIONS.items():
        for label, span in ranges.items():
            asked[f"{name} ({label})"] = lambda name=name, span=span: reader.ask(name, **span)
        for by in question.by[1:]:
            asked[f"{name} by {by} (all)"] = lambda name=name, by=by: reader.ask(name, by=by)
    asked["timeseries by minute (2 h)"] = lambda: reader.ask(
        "timeseries", since=now - timedelta(hours=2), step="minute"
    )
    asked["estimate-error by day (all)"] = lambda: reader.ask("estimate-error", step="day")
    asked["decisions, newest page"] = lambda: reader.decisions(limit=50)
    asked["decisions of one model, newest page"] = lambda: reader.decisions(
        limit=50, model="meta-llama/Llama-3.3-70B-Instruct"
    )
    (newest,) = reader.decisions(limit=1, until=now - timedelta(days=2))[0]
    asked["one decision, 2 days old"] = lambda: reader.decision(newest["decision_id"])
    return asked


def measure(log: DecisionLog, rate: int, rounds: int) -> dict[str, Any]:
    """Ask everything several times while rows are written."""
    writer = Writer(log, rate)
    writer.start()
    time.sleep(20)  # so that the first of them have been settled, and the tail is as long as it gets
    took: dict[str, list[float]] = {}
    began, before = time.monotonic(), writer.written
    try:
        for number in range(rounds):
            asked = questions(log.reader()) | {
                f"{TENANT}: {name}": ask for name, ask in questions(log.reader(TENANT)).items()
            }
            asked[f"{TENANT}: SQL, requests by status"] = lambda: log.reader(TENANT).sql(
                "SELECT status, count(*), avg(latency_ms) FROM decisions GROUP BY status", timeout_s=60.0
            )
            for name, ask in asked.items():
                at = time.perf_counter()
                ask()
                took.setdefault(name, []).append(time.perf_counter() - at)
            said(f"round {number + 1}: slowest {max(took, key=lambda name: took[name][-1])}")
        rate_kept = (writer.written - before) / (time.monotonic() - began)
    finally:
        writer.stopped.set()
        writer.join()
    answers = {name: {"p50_s": sorted(times)[len(times) // 2], "max_s": max(times)} for name, times in took.items()}
    return {
        "questions": answers,
        "slowest_p50_s": max(answer["p50_s"] for answer in answers.values()),
        "slowest_max_s": max(answer["max_s"] for answer in answers.values()),
        "written_per_s": rate_kept,
        "lag_s": {"p50": sorted(writer.lags_s)[len(writer.lags_s) // 2], "max": max(writer.lags_s)},
        "commit_ms_max": max(writer.commits_ms),
    }


# --- reporting ----------------------------------------------------------------------------------


def show(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    size, asked = report["size"], report["asked"]
    lines = [
        (
            f"{size['rows']} decisions: {size['bytes_per_decision']:.0f} bytes each settled (limit {LIMIT_BYTES}), "
            f"{size['bytes_per_decision_before']:.0f} before; file {size['file_bytes_per_decision']:.0f} each with "
            f"{size['free_blocks_share']:.0%} free; {size['cells']} cells; "
            f"settling {size['settle_us_per_decision']:.0f} us each"
        ),
        (
            f"{asked['written_per_s']:.0f} decisions/s written meanwhile; lag p50 {asked['lag_s']['p50']:.2f} s, max "
            f"{asked['lag_s']['max']:.2f} s; slowest question p50 {asked['slowest_p50_s']:.2f} s, max "
            f"{asked['slowest_max_s']:.2f} s (limit {LIMIT_S} s); RSS {report['rss_mb']:.0f} MB"
        ),
        "",
        "| question | p50 s | max s |",
        "|---|---|---|",
        *(f"| {name} | {a['p50_s']:.3f} | {a['max_s']:.3f} |" for name, a in asked["questions"].items()),
    ]
    return "\n".join(lines)


def main() -> None:
    """Fill, open, write and ask."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="a multiple of 100,000, or fewer")
    parser.add_argument("--path", type=Path, help="where the log is made (default: a temporary folder)")
    parser.add_argument("--keep", action="store_true", help="ask a log that is already at --path")
    parser.add_argument("--rate", type=int, default=500, help="decisions written per second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="write the report as JSON; no FILE: print it"
    )
    parser.add_argument("--save", action="store_true", help=f"write it to {RESULT.name}")
    options = parser.parse_args()
    machine = describe_machine(("duckdb", "msgspec"))
    with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
        path = options.path or Path(folder) / "log.duckdb"
        noted = path.with_name(f"{path.name}.size.json")
        if not options.keep:
            noted.write_text(json.dumps(fill(path, options.rows)), encoding="utf-8")
        size = json.loads(noted.read_text(encoding="utf-8"))
        keeping.AT_ONCE = 5000
        log = DecisionLog.open(path)
        try:
            asked = measure(log, options.rate, options.rounds)
        finally:
            log.close()
    report = {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *sys.argv]),
        "machine": machine,
        "size": size,
        "asked": asked,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    deliver(report, show(report), to=options.json, keep=RESULT if options.save else None)


if __name__ == "__main__":
    main()
