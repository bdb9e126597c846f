"""What shipping promises to a cluster, held by real processes: they are killed at every step, and under load."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from router.decision_log.log import DecisionLog
from router.decision_log.retention import Retention
from router.sections import ShipSettings
from router.shipping.checking import checked
from router.shipping.names import segments_of, visible
from router.shipping.places import place_of
from router.shipping.shipper import Shipper

ROOT = Path(__file__).parents[2]

# Ships rounds of a few rows, and dies at its n-th step: before and after each call that changes a disk.
STEPS = """
import os, signal, sys, uuid
from pathlib import Path
from router.decision_log.log import DecisionLog
from router.decision_log.record import FeedbackRow
from router.decision_log.retention import Retention
from router.sections import ShipSettings
from router.shipping import staging
from router.shipping.places import place_of
from router.shipping.shipper import Shipper

path, to, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
log = DecisionLog.open(path, retention=Retention(until_shipped=True))
log.leave()
for nth in range(3):
    log.append(FeedbackRow(decision_id=str(uuid.uuid4()), ts_us=1, source="s", metric="score", value=1.0))
log.flush()
steps = 0

def step():
    global steps
    if steps == at:
        os.kill(os.getpid(), signal.SIGKILL)
    steps += 1

def stepping(call):
    def stepped(*args, **kwargs):
        step()
        result = call(*args, **kwargs)
        step()
        return result
    return stepped

for name in ("fsync", "replace", "unlink"):
    setattr(os, name, stepping(getattr(os, name)))
staging.write_parquet = stepping(staging.write_parquet)
Shipper._stage = stepping(Shipper._stage)
Shipper(log, place_of(to), ShipSettings(to=to)).ship()
print("shipped", flush=True)
log.close()
"""

# Serves as a node does: rows are acknowledged when they are committed, and shipped beside.
NODE = """
import asyncio, sys, uuid
from pathlib import Path
from router.decision_log.log import DecisionLog
from router.decision_log.retention import Retention
from router.sections import ShipSettings
from router.shipping.places import place_of
from router.shipping.shipper import Shipper
from tests.unit.decision_log.conftest import make_attempt, make_decision, make_outcome

path, to = Path(sys.argv[1]), sys.argv[2]
log = DecisionLog.open(path, durability="strict", retention=Retention(until_shipped=True))
Shipper(log, place_of(to), ShipSettings(to=to, every_s=0.05)).start()

async def one():
    row = make_decision(seq=log.next_seq())
    log.append(row)
    log.append(make_attempt(row.decision_id))
    log.append(make_outcome(row.decision_id))
    await log.committed()
    print(row.decision_id, flush=True)

async def serve():
    while True:
        await asyncio.gather(*(one() for _ in range(10)))

asyncio.run(serve())
"""


def run(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def numbers(shared: Path, table: str) -> tuple[int, int]:
    """How many rows there are, and how many different numbers they have."""
    files = [str(shared / one.name) for one in visible(segments_of(place_of(str(shared)).names(table)))]
    with duckdb.connect() as con:
        [found] = con.execute("SELECT count(*), count(DISTINCT arrival) FROM read_parquet(?)", [files]).fetchall()
    return found


@pytest.mark.slow
def test_killed_at_any_step_every_row_arrives_once(tmp_path: Path) -> None:
    """Each death is at the next step, each start brings rows of its own; the last one lives, and ships the rest."""
    path, shared = tmp_path / "nearfar.duckdb", tmp_path / "shared"
    deaths = 0
    while True:
        with run(STEPS, str(path), str(shared), str(deaths)) as process:
            process.wait(120)
        if process.returncode != -signal.SIGKILL:
            break
        deaths += 1

    assert 0 == process.returncode
    assert deaths > 12
    assert (3 * (deaths + 1),) * 2 == numbers(shared, "feedback")
    [one] = checked(place_of(str(shared)))
    assert (0, 0, 1, 3 * (deaths + 1)) == (one.missing, one.doubled, one.first, one.last)


def lines(process: subprocess.Popen[str], count: int) -> Iterator[str]:
    assert process.stdout is not None
    for _ in range(count):
        yield process.stdout.readline().strip()


def rest(process: subprocess.Popen[str]) -> set[str]:
    """What was acknowledged up to the end; a line cut short was not."""
    assert process.stdout is not None
    told = process.stdout.read()
    process.stdout.close()
    process.wait(60)
    return {line for line in told.split("\n")[:-1] if line}


def drained(path: Path, shared: Path) -> int:
    """Ship what the last death left, and return how many decisions the node's own log has."""
    log = DecisionLog.open(path, retention=Retention(until_shipped=True))
    log.flush()
    Shipper(log, place_of(str(shared)), ShipSettings()).ship()
    [[rows]] = log.reader().sql("SELECT count(*) FROM decisions").rows
    log.close()
    return int(rows)


def test_two_nodes_killed_under_load_ship_every_acknowledged_row_once(tmp_path: Path) -> None:
    """Into one folder: no decision is missing that somebody was told of, none is there twice, no number is left out."""
    shared = tmp_path / "shared"
    paths = [tmp_path / name / "nearfar.duckdb" for name in ("one", "two")]
    acknowledged: set[str] = set()
    for _ in range(2):  # each node is killed, started again, and killed again
        nodes = [run(NODE, str(path), str(shared)) for path in paths]
        for node in nodes:
            acknowledged |= set(lines(node, 100))
        for node in nodes:
            node.kill()
        for node in nodes:
            acknowledged |= rest(node)
    stored = sum(drained(path, shared) for path in paths)
    files = [str(shared / one.name) for one in visible(segments_of(place_of(str(shared)).names("decisions")))]
    with duckdb.connect() as con:
        rows = con.execute("SELECT decision_id::VARCHAR FROM read_parquet(?)", [files]).fetchall()
        boots = con.execute(
            "SELECT count(*), count(DISTINCT seq), max(seq) FROM read_parquet(?) GROUP BY node_id, boot_id", [files]
        ).fetchall()

    assert [] == [one for one in checked(place_of(str(shared))) if one.missing or one.doubled]
    assert set() == acknowledged.difference(row[0] for row in rows)
    assert stored == len(rows) == len({row[0] for row in rows})
    assert 4 == len(boots)
    assert [] == [boot for boot in boots if len(set(boot)) > 1]


def test_a_node_that_is_cut_off_goes_on_and_catches_up(tmp_path: Path) -> None:
    """The folder is gone while it serves: nobody waits, and all of it is there after the folder is back."""
    mount = tmp_path / "mount"
    path = tmp_path / "nearfar.duckdb"
    node = run(NODE, str(path), str(mount / "shared"))
    list(lines(node, 50))  # served, with nowhere to ship to
    assert not mount.exists()
    mount.mkdir()
    list(lines(node, 50))
    node.kill()
    rest(node)
    stored = drained(path, mount / "shared")

    assert stored >= 100
    for table in ("decisions", "attempts", "outcomes"):
        assert (stored, stored) == numbers(mount / "shared", table)
