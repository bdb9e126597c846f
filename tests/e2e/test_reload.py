"""The configuration read again by a real server, by signal and by request, under load; refused where it is wrong."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.e2e.test_workers import Group

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.conftest import Answer, Server

ASKERS = 4


def config(usd: float, *, policy: str = "fastest", more: str = "") -> str:
    return f"""
[routing]
policy = "{policy}"
{more}
[[models]]
id = "team/priced"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "a"
  price = {{ per_request_usd = {usd} }}
"""


def write(server: Server, text: str) -> None:
    """As editors and config maps do it: another file in its place."""
    scratch = server.folder / "nearfar.toml.new"
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(server.folder / "nearfar.toml")


def ask(server: Server) -> Answer:
    return server.post("/v1/inference", {"model": "team/priced", "task": "text-generation", "inputs": "hello"})


def reload(server: Server) -> Answer:
    return server.post("/v1/settings/reload", b"")


def audited(server: Server) -> list[tuple[str, str]]:
    return [(line["who"], line["result"]) for line in server.get("/v1/audit").body["data"]]


class Load:
    """Askers that go on until they are stopped; `costs` are what their answers said, in no order."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self.failed: list[Any] = []
        self.costs: list[float] = []
        self._askers = [threading.Thread(target=self._go) for _ in range(ASKERS)]

    def __enter__(self) -> Self:
        for asker in self._askers:
            asker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for asker in self._askers:
            asker.join()

    def _go(self) -> None:
        while not self._stop.is_set():
            answer = ask(self._server)
            if 200 == answer.status:
                self.costs.append(answer.body["cost_usd"])
            else:
                self.failed.append(answer)

    def until(self, usd: float) -> None:
        """Wait until somebody was answered at this price."""
        while usd not in self.costs[-3 * ASKERS :]:
            assert not self.failed, self.failed
            self._stop.wait(0.01)


def test_no_request_fails_while_the_configuration_changes_again_and_again(serve: Callable[..., Server]) -> None:
    """Every answer costs what some configuration said, and every row is there."""
    server = serve(config(1.0))
    with Load(server) as load:
        load.until(1.0)
        for usd in (2.0, 3.0, 4.0):
            write(server, config(usd, policy="cheapest" if usd == 3.0 else "fastest"))
            server.process.send_signal(signal.SIGHUP)
            load.until(usd)
        write(server, config(5.0))
        assert ["models"] == reload(server).body["changed"]
        load.until(5.0)

    assert [] == load.failed
    assert {1.0, 2.0, 3.0, 4.0, 5.0} == set(load.costs)
    assert [[len(load.costs)]] == server.sql("SELECT count(*) FROM decisions WHERE status = 'ok'")
    assert [["cheapest"], ["fastest"]] == server.sql("SELECT DISTINCT policy FROM decisions ORDER BY 1")
    assert [("(nobody asked: loopback)", "ok"), *3 * [("SIGHUP", "ok")]] == audited(server)


def test_what_is_wrong_is_refused_with_its_line_and_the_old_stays(serve: Callable[..., Server]) -> None:
    """By request with an answer, by signal with a line in the log; both are in the audit."""
    server = serve(config(1.0))
    write(server, config(2.0).replace('"fastest"', '"nonsense"'))
    refused = reload(server)
    assert (400, 1.0) == (refused.status, ask(server).body["cost_usd"])
    message = refused.body["error"]["message"]
    assert all(words in message for words in ("nonsense", "Nothing has changed")), message
    assert str(server.folder) not in message

    write(server, "models = 7")
    server.process.send_signal(signal.SIGHUP)
    while 2 > len(audited(server)):
        assert server.process.poll() is None
    assert (1.0, "fastest") == (ask(server).body["cost_usd"], server.get("/v1/system").body["policy"])
    write(server, config(2.0))
    assert (200, 2.0) == (reload(server).status, ask(server).body["cost_usd"])
    server.stop()
    told = (server.folder / "stderr.txt").read_text(encoding="utf-8")
    assert "ERROR nearfar.settings: SIGHUP: nearfar.toml: models" in told
    assert "(line 1)" in told


def test_what_needs_a_restart_is_named_and_does_not_happen(serve: Callable[..., Server]) -> None:
    """The rest of the same file does. What the command line said goes before the file, as at the start."""
    server = serve(config(1.0))
    write(server, config(2.0, more='listings_dir = "lists"\n[server]\nport = 1\n[log]\npath = "other.duckdb"\n'))
    done = reload(server)

    assert (["models"], ["log.path", "routing.listings_dir"]) == (done.body["changed"], sorted(done.body["waiting"]))
    assert 2.0 == ask(server).body["cost_usd"]
    assert not (server.folder / "other.duckdb").exists()


def test_only_admins_may_have_it_read_again(serve: Callable[..., Server], tmp_path: Path) -> None:
    """A key that asks for answers is not enough."""
    folder = tmp_path / "server"
    folder.mkdir()
    text = '[auth]\nmode = "keys"\n' + config(1.0)
    (folder / "nearfar.toml").write_text(text, encoding="utf-8")
    keys = {name: _key(folder, name) for name in ("infer", "admin")}
    server = serve(text)
    answers = {name: server.post("/v1/settings/reload", b"", {"authorization": key}) for name, key in keys.items()}

    assert {"infer": 403, "admin": 200} == {name: answer.status for name, answer in answers.items()}


def _key(folder: Path, scope: str) -> str:
    command = [sys.executable, "-m", "router", "keys", "create", scope, "--scope", scope]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=100)
    return f"Bearer {done.stdout.strip()}"


def test_all_workers_read_it_again_and_so_does_one_that_comes_later(serve: Callable[..., Server]) -> None:
    """By a signal to the process that was started, and by a request that one of them took."""
    workers = "[server]\nworkers = 2\n"
    server = serve(workers + config(1.0))
    group = Group(server)
    write(server, workers + config(2.0))
    server.process.send_signal(signal.SIGHUP)
    until_audited(server, 2)
    assert {2.0} == costs(server)

    write(server, workers + config(3.0))
    assert ["models"] == reload(server).body["changed"]
    until_audited(server, 5)  # the request, and the signal to both
    assert {3.0} == costs(server)

    group.workers[1].kill()
    until_audited(server, 6)
    assert {3.0} == costs(server)
    write(server, workers + "[[budgets]]\nlimit_usd = 1.0\n" + config(4.0))
    refused = reload(server)
    assert (400, True) == (refused.status, "workers" in refused.body["error"]["message"])
    assert {3.0} == costs(server)


def until_audited(server: Server, count: int) -> None:
    while len(audited(server)) < count:
        assert server.process.poll() is None


def costs(server: Server) -> set[float]:
    """What so many requests cost that every worker is asked: each comes by a connection of its own."""
    return {ask(server).body["cost_usd"] for _ in range(40)}


IN_A_TERMINAL = """
import os, signal, subprocess, sys
os.setsid()
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
server = subprocess.Popen(
    [sys.executable, "-m", "router", "serve", "--port", "0"], stdout=open("out.txt", "w"),
    preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
)
open("pid.txt", "w").write(str(server.pid))
sys.exit(server.wait())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="terminals are taken the Linux way")
def test_a_server_whose_terminal_is_closed_ends(tmp_path: Path) -> None:
    """As it always did: only a SIGHUP that somebody sends reads the configuration again."""
    (tmp_path / "nearfar.toml").write_text(config(1.0), encoding="utf-8")
    ours, theirs = pty.openpty()
    shell = subprocess.Popen([sys.executable, "-c", IN_A_TERMINAL], cwd=tmp_path, stdin=theirs, stderr=theirs)
    os.close(theirs)
    while "http://" not in _text(tmp_path / "out.txt"):
        assert shell.poll() is None
    pid = int(_text(tmp_path / "pid.txt"))
    os.kill(pid, signal.SIGHUP)  # sent by somebody, perhaps before it is ready
    while "SIGHUP" not in _text(tmp_path / "nearfar-audit.jsonl"):
        assert shell.poll() is None
    os.close(ours)
    os.kill(pid, signal.SIGHUP)  # as a shell hands it on

    assert 0 == shell.wait(60)
    [line] = _text(tmp_path / "nearfar-audit.jsonl").splitlines()
    assert "ok" == json.loads(line)["result"]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
