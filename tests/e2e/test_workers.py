"""Several workers as a user meets them: one log, one API, and nothing lost or doubled whichever process dies."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import duckdb
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.command import here
from tests.e2e.conftest import START_S, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLERS = 8
ENOUGH = 150
BODY = {"model": "fake/chat", "inputs": "hi", "parameters": {"max_tokens": 3}}
TWO = "[server]\nworkers = 2\n"
STRICT = TWO + '[log]\ndurability = "strict"\n'


class Group:
    """A server of several processes."""

    def __init__(self, server: Server) -> None:
        self.server = server
        parent = psutil.Process(server.process.pid)
        self.until_up(2)
        self.everybody = parent.children(recursive=True)
        own = [each for each in self.everybody if any("nearfar.duckdb" in file.path for file in each.open_files())]
        [self.owner] = own
        rest = [each for each in self.everybody if each not in own and "resource_tracker" not in str(each.cmdline())]
        self.workers = sorted(rest, key=psutil.Process.create_time)
        sockets = [Path(each.laddr) for each in self.owner.net_connections("unix") if str(each.laddr).endswith("/log")]
        self.folder = sockets[0].parent

    def metrics(self) -> dict[str, dict[str, float]]:
        """Every sample's sum, by its name and worker."""
        with urllib.request.urlopen(f"{self.server.url}/metrics", timeout=START_S) as answer:
            text = answer.read().decode()
        found: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                told = found.setdefault(sample.name, Counter())
                told[sample.labels.get("worker", "")] += sample.value
        return found

    def until_up(self, count: int) -> None:
        until(lambda: count == sum(self.metrics()["nearfar_worker_up"].values()))

    def rest(self) -> list[psutil.Process]:
        """Whoever still runs."""
        return psutil.wait_procs(self.everybody, timeout=START_S)[1]


class Load:
    """Callers, each with a connection of its own for every request, until they are told to stop."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._more = threading.Condition()
        self.acknowledged: list[str] = []
        self.failed: list[Exception | int] = []
        self._callers = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for caller in self._callers:
            caller.start()

    def until_more(self, count: int = ENOUGH) -> None:
        """Wait until so many more have been answered."""
        with self._more:
            goal = len(self.acknowledged) + count

            assert self._more.wait_for(lambda: len(self.acknowledged) >= goal, START_S)

    def finish(self) -> None:
        self._stopping.set()
        for caller in self._callers:
            caller.join(START_S)

            assert not caller.is_alive()

    def _call(self) -> None:
        while not self._stopping.is_set():
            try:
                answer = self._server.post("/v1/inference", BODY)
            except (OSError, ValueError, HTTPException) as error:
                with self._more:
                    self.failed.append(error)
                continue
            with self._more:
                if answer.status == 200:
                    self.acknowledged.append(answer.body["decision_id"])
                    self._more.notify_all()
                else:
                    self.failed.append(answer.status)


def until(holds: Callable[[], bool]) -> None:
    """Look again and again until it holds."""
    give_up = time.monotonic() + START_S
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert time.monotonic() < give_up
        time.sleep(0.05)


def logged(folder: Path) -> list[tuple[str, str, int]]:
    """Every decision: its id, who made it, and its number there."""
    with duckdb.connect(str(folder / "nearfar.duckdb")) as log:  # for writing: what a crash left is replayed
        found = log.execute(
            "SELECT decision_id::VARCHAR, boot_id::VARCHAR, seq FROM decisions WHERE surface = '/v1/inference'"
        ).fetchall()
        [(left,)] = log.execute("SELECT count(*) FROM nearfar_log.outcome_rows WHERE decision_id NOT IN "
                                "(SELECT decision_id FROM nearfar_log.decision_rows)").fetchall()  # fmt: skip

    assert 0 == left
    return found


def numbers(rows: list[tuple[str, str, int]]) -> list[list[int]]:
    """Of each boot, the numbers of its decisions, in order."""
    boots: dict[str, list[int]] = {}
    for _, boot, seq in rows:
        boots.setdefault(boot, []).append(seq)
    return [sorted(seqs) for seqs in boots.values()]


@pytest.fixture
def group(serve: Callable[..., Server]) -> Iterator[Callable[[str], Group]]:
    """Servers of two workers; whatever a failed test leaves of them is killed."""
    begun: list[Group] = []

    def begin(config: str = TWO) -> Group:
        begun.append(Group(serve(config)))
        return begun[-1]

    yield begin
    for each in begun:
        for process in each.everybody:
            if process.is_running():
                process.kill()


def check_whole(found: Group, load: Load, *, all_of: bool) -> None:
    """Every acknowledged request has its row once, no number is missing or doubled, and nothing is left behind."""
    rows = logged(found.server.folder)
    ids = Counter(row[0] for row in rows)

    assert set() == set(load.acknowledged) - set(ids)
    assert {1} == set(ids.values())
    assert not all_of or set(load.acknowledged) == set(ids)
    for seqs in numbers(rows):
        assert list(range(1, len(seqs) + 1)) == seqs
    assert [] == found.rest()
    assert not found.folder.exists()
    assert [] == [path.name for path in found.server.folder.glob("*.spill")]


def test_every_request_has_its_row_after_sigterm_under_load(group) -> None:
    """Each worker finishes what runs and hands on its rows, the owner last: no process and no socket is left."""
    found = group()
    load = Load(found.server)
    load.until_more()
    code = found.server.stop(signal.SIGTERM)
    load.finish()

    assert 0 == code
    check_whole(found, load, all_of=True)
    assert 2 == len(numbers(logged(found.server.folder)))


def test_connections_that_stay_open_are_shared(group) -> None:
    """As those of a proxy's pool do: else one worker could be busy for as long as they live, and the other idle."""
    found = group()
    host, port = urlsplit(found.server.url).hostname, urlsplit(found.server.url).port
    with contextlib.ExitStack() as kept:
        clients = [kept.enter_context(contextlib.closing(HTTPConnection(host, port, START_S))) for _ in range(16)]
        for client in clients:
            client.connect()
        for client in clients:
            client.request("GET", "/health/live")
            client.getresponse().read()
        mine = {client.sock.getsockname() for client in clients}
        held = [sum(tuple(each.raddr) in mine for each in worker.net_connections("tcp")) for worker in found.workers]

    assert 16 == sum(held)
    assert min(held) >= 4, held


def test_whatever_worker_answers_the_others_know(group) -> None:
    """A decision is read right after it was made; files, batches and changes of the catalogue are everybody's; sums."""
    found = group()
    server = found.server
    read = []
    for _ in range(20):
        answer = server.post("/v1/inference", BODY)
        read.append(server.get(f"/v1/decisions/{answer.body['decision_id']}").status)

    assert {200: 20} == Counter(read)
    assert 20 == sum(found.metrics()["nearfar_requests_total"].values())

    file_id = uploaded(server, b'{"custom_id": "a", "method": "POST", "url": "/v1/inference", "body": '
                               b'{"model": "fake/chat", "inputs": "hi"}}\n')  # fmt: skip

    assert {200: 10} == Counter(server.get(f"/v1/files/{file_id}").status for _ in range(10))

    batch = server.post("/v1/batches", {"input_file_id": file_id, "endpoint": "/v1/inference"}).body
    until(lambda: server.get(f"/v1/batches/{batch['id']}").body["status"] == "completed")

    assert [[1]] == server.sql("SELECT count(*) FROM decisions WHERE surface = '/v1/batches'")

    alias = server.ask("PUT", "/v1/aliases/quick", b'{"models": ["fake/chat"]}')

    assert 200 == alias.status, alias.body
    until(lambda: {200} == {server.post("/v1/inference", BODY | {"model": "quick"}).status for _ in range(12)})
    changes = [row["change"] for row in server.get("/v1/catalog/snapshots").body["data"]]

    assert 2 == len(changes), changes
    assert "started" == changes[-1]


def uploaded(server: Server, content: bytes) -> str:
    boundary = b"frontier"
    parts = (
        b'--%s\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' % boundary,
        b'--%s\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n%s\r\n' % (boundary, content),
        b"--%s--\r\n" % boundary,
    )
    kind = {"content-type": f"multipart/form-data; boundary={boundary.decode()}"}
    answer = server.ask("POST", "/v1/files", b"".join(parts), kind)

    assert 200 == answer.status, answer.body
    return str(answer.body["id"])


@pytest.mark.slow
@pytest.mark.parametrize("config", [TWO, STRICT], ids=["batch", "strict"])
def test_an_owner_that_is_killed_costs_no_request_and_no_row(group, config: str) -> None:
    """Requests go on; their rows wait in the workers, and come when another owner is there, each once."""
    found = group(config)
    load = Load(found.server)
    load.until_more()
    found.owner.kill()
    load.until_more(2 * ENOUGH)
    failed = list(load.failed)
    new = [each for each in psutil.Process(found.server.process.pid).children() if each not in found.everybody]
    found.everybody += new
    found.server.stop(signal.SIGTERM)
    load._stopping.set()
    load.finish()

    assert [] == failed
    assert 1 == len(new)
    check_whole(found, load, all_of=True)
    assert "the log's owner" in errors(found.server)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again(group) -> None:
    """Others serve meanwhile. In strict durability what it had acknowledged is on disk."""
    found = group(STRICT)
    load = Load(found.server)
    load.until_more()
    found.workers[1].kill()
    load.until_more()
    found.until_up(2)
    load.until_more()
    found.everybody += psutil.Process(found.server.process.pid).children()
    found.server.stop(signal.SIGTERM)
    load.finish()

    check_whole(found, load, all_of=False)
    assert 3 == len(numbers(logged(found.server.folder)))
    assert "worker-1" in errors(found.server)


@pytest.mark.slow
def test_when_the_parent_is_killed_all_others_end(group) -> None:
    """In order: what runs is finished and every row handed on."""
    found = group()
    load = Load(found.server)
    load.until_more()
    found.server.stop(signal.SIGKILL)
    rest = found.rest()
    load.finish()

    assert [] == rest
    check_whole(found, load, all_of=True)


@pytest.mark.slow
def test_ctrl_c_reaches_all_and_ends_them_in_order(group) -> None:
    """A terminal sends it to the whole group: the owner waits for the others all the same."""
    found = group()
    load = Load(found.server)
    load.until_more()
    for process in found.everybody:
        if "resource_tracker" not in str(process.cmdline()):
            process.send_signal(signal.SIGINT)
    code = found.server.stop(signal.SIGINT)
    load.finish()

    assert 130 == code
    check_whole(found, load, all_of=True)
    assert "Traceback" not in errors(found.server)


@pytest.mark.slow
def test_how_the_log_is_shipped_is_told_by_any_worker(group, tmp_path: Path) -> None:
    """Its owner ships it, and the workers know: System Health, the metrics, and what is wrong."""
    away = tmp_path / "away"  # a disk that is not mounted
    server = group(f'{TWO}[log.ship]\nto = "{away / "shared"}"\nevery_s = 0.1\n').server
    server.post("/v1/inference", BODY)
    until(lambda: (server.get("/v1/system").body["shipping"] or {}).get("error") is not None)
    away.mkdir()

    def told() -> dict[str, Any]:
        found: dict[str, Any] = server.get("/v1/system").body["shipping"]
        return found

    until(lambda: told()["error"] is None and told()["segments"] > 0)
    assert "folder" == told()["kind"]


@pytest.mark.slow
def test_a_second_server_of_one_log_is_refused(group) -> None:
    """Its message names who owns it; nothing of it is left running."""
    found = group()
    command = [sys.executable, "-m", "router", "serve", "--port", "0"]
    done = subprocess.run(
        command, cwd=found.server.folder, capture_output=True, text=True, check=False, timeout=START_S
    )

    assert (1, "") == (done.returncode, done.stdout)
    assert "in use by another process" in done.stderr
    assert 200 == found.server.get("/health/ready").status


def test_what_they_cannot_share_is_refused_at_the_start(tmp_path: Path) -> None:
    """Before anything is opened."""
    (tmp_path / "nearfar.toml").write_text("[[budgets]]\nlimit_usd = 1.0\n", encoding="utf-8")
    done = here(tmp_path, "serve", "--workers", "2", "--port", "0")

    assert 1 == done.exit_code
    assert "budgets: with server.workers = 2" in done.output
    assert ["nearfar.toml"] == [path.name for path in tmp_path.iterdir()]


def errors(server: Server) -> Any:
    return (server.folder / "stderr.txt").read_text(encoding="utf-8")
