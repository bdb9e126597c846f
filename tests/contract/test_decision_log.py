"""What the decision log promises to a process, held by real processes: they are killed, stopped and locked out here."""

import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from router.decision_log.log import DecisionLog
from router.errors import LogLocked

WRITER = """
import asyncio, signal, sys, uuid
from pathlib import Path
from router.decision_log.log import DecisionLog
from router.decision_log.record import PriceBookRow

log = DecisionLog.open(Path(sys.argv[1]), durability=sys.argv[2], queue_rows=int(sys.argv[3]), flush_s=60)

async def one():
    name = uuid.uuid4().hex
    log.append(PriceBookRow(price_book=name, ts_us=1, body="{}"))
    if sys.argv[2] == "strict":
        await log.committed()
    print(name, flush=True)

async def until_terminated():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    while not stop.is_set():
        await asyncio.gather(*(one() for _ in range(20)))

asyncio.run(until_terminated())
log.close()
"""


def start_writer(path: Path, durability: str, queue_rows: int = 100_000) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), durability, str(queue_rows)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def read_lines(writer: subprocess.Popen[str], count: int) -> set[str]:
    assert writer.stdout is not None
    return {writer.stdout.readline().strip() for _ in range(count)}


def finish(writer: subprocess.Popen[str], acknowledged: set[str]) -> set[str]:
    """Read what was acknowledged up to the end; a line cut short was not."""
    assert writer.stdout is not None
    rest = writer.stdout.read()  # not `communicate`, which would pass over what `readline` has buffered
    writer.stdout.close()
    writer.wait(60)
    return acknowledged | {line for line in rest.split("\n")[:-1] if line}


def stored(path: Path) -> list[str]:
    log = DecisionLog.open(path)
    log.flush()
    rows = log.reader().sql("select price_book from price_books", max_rows=10_000_000).rows
    log.close()
    return [row[0] for row in rows]


@pytest.mark.parametrize("queue_rows", [100_000, 5])
def test_a_killed_process_has_every_acknowledged_row(tmp_path: Path, queue_rows: int) -> None:
    """In strict mode a row whose `committed` returned survives SIGKILL, also one that went through the spill file."""
    path = tmp_path / "nearfar.duckdb"
    writer = start_writer(path, "strict", queue_rows)
    acknowledged = read_lines(writer, 500)
    writer.kill()
    acknowledged = finish(writer, acknowledged)
    kept = stored(path)
    assert set() == acknowledged - set(kept)
    assert len(set(kept)) == len(kept)


def test_a_terminated_process_drains(tmp_path: Path) -> None:
    """On SIGTERM, `close` commits what waited: here everything, since the batch was not due for a minute."""
    path = tmp_path / "nearfar.duckdb"
    writer = start_writer(path, "batch")
    acknowledged = read_lines(writer, 200)
    writer.send_signal(signal.SIGTERM)
    acknowledged = finish(writer, acknowledged)
    assert 0 == writer.returncode
    assert set() == acknowledged - set(stored(path))


def test_overflow_of_a_killed_process_is_committed_at_the_next_open(tmp_path: Path) -> None:
    """In batch mode a kill may cost what was in memory, never what was in the spill file."""
    path = tmp_path / "nearfar.duckdb"
    writer = start_writer(path, "batch", queue_rows=0)
    acknowledged = read_lines(writer, 200)
    writer.kill()
    acknowledged = finish(writer, acknowledged)
    kept = stored(path)
    assert set() == acknowledged - set(kept)
    assert len(set(kept)) == len(kept)


def test_a_second_process_is_locked_out(tmp_path: Path) -> None:
    """The refusal names the owner's process and the way out, and not where Python is installed."""
    path = tmp_path / "nearfar.duckdb"
    writer = start_writer(path, "strict")
    read_lines(writer, 1)
    with pytest.raises(LogLocked) as refusal:
        DecisionLog.open(path)
    writer.kill()
    writer.communicate(timeout=60)
    assert f"PID {writer.pid}" in str(refusal.value)
    assert "--server" in str(refusal.value)
    assert "log.path" in str(refusal.value)
    assert "python" not in str(refusal.value).replace(str(path), "")


FULL_DISK = """
import resource, signal, sys, uuid
from pathlib import Path
from router.decision_log import migrations
from router.decision_log.log import DecisionLog
from router.decision_log.record import OutcomeRow, PriceBookRow

migrations._CONFIG["checkpoint_threshold"] = sys.argv[2]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = DecisionLog.open(Path(sys.argv[1]), queue_rows=100, flush_rows=50)
first_con = log._con
def outcome():
    return OutcomeRow(decision_id=str(uuid.uuid4()), ts_us=1, status="ok", error_class=None, error=None, backend=None,
        provider=None, model_served=None, device=None, attempts=1, latency_ms=1.0, overhead_ms=0.0, first_token_ms=None,
        prompt_tokens=None, completion_tokens=None, cost_usd=None, cost_source="unknown")
unlimited = resource.RLIM_INFINITY
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, unlimited))  # every file full: log, spill and rejected
for n in range(5000):
    log.append(PriceBookRow(price_book=f"{n}", ts_us=1, body='{"a": "' + f"{n}" * 50 + '"}'))
    log.append(outcome())
while not log.stats().failed_commits:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
log.flush()
assert log.stats().rejected == 0, log.stats()
query = "select count(*), count(distinct decision_id) from nearfar_log.outcome_rows"
counts = log._con.cursor().execute(query).fetchall()
assert counts == [(5000, 5000)], counts
assert log._con is not first_con or sys.argv[2] == "256MB"
log.close()
"""


@pytest.mark.parametrize("checkpoint_threshold", ["256MB", "100KB"])
def test_a_full_disk_loses_nothing(tmp_path: Path, checkpoint_threshold: str) -> None:
    """Rows taken while no file could grow are committed, each once, when there is room again.

    The full disk meets a commit, or a checkpoint, after which DuckDB must be opened anew.
    """
    path = tmp_path / f"{uuid.uuid4().hex}.duckdb"
    command = [sys.executable, "-c", FULL_DISK, str(path), checkpoint_threshold]
    root = Path(__file__).parents[2]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root, check=False)
    assert 0 == ran.returncode, ran.stderr
    assert sorted(str(n) for n in range(5000)) == sorted(stored(path))
