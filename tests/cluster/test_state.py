"""Two routers and the owner of their state, each a process: money, keys and news under load, kills and cuts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.client import HTTPException
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.cluster.nodes import BODY, FAR_AND_NEAR, budget, far

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.nodes import Cluster
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow
CALLERS = 4
PATIENCE_S = 120


class Load:
    """Callers at some routers, until told to stop; what was answered far, and near."""

    def __init__(self, *servers: Server) -> None:
        self._stop = threading.Event()
        self._lock = threading.Condition()
        self.far = self.near = self.broken = 0
        self._callers = [
            threading.Thread(target=self._call, args=(server,)) for server in servers for _ in range(CALLERS)
        ]
        for caller in self._callers:
            caller.start()

    def until(self, reached: Callable[[Load], bool]) -> None:
        with self._lock:
            assert self._lock.wait_for(lambda: reached(self), PATIENCE_S), (self.far, self.near, self.broken)

    def more(self, n: int) -> None:
        """Wait for so many more answers."""
        goal = self.far + self.near + n
        self.until(lambda load: load.far + load.near >= goal)

    def finish(self) -> None:
        self._stop.set()
        for caller in self._callers:
            caller.join(60)

            assert not caller.is_alive()

    def _call(self, server: Server) -> None:
        while not self._stop.is_set():
            try:
                was_far = far(server.post("/v1/inference", BODY))
            except (OSError, ValueError, HTTPException):  # the router is gone
                with self._lock:
                    self.broken += 1
                return
            with self._lock:
                self.far += was_far
                self.near += not was_far
                self._lock.notify_all()


def spent(cluster: Cluster) -> float:
    """What all routers have spent, by their logs; they have ended."""
    total = 0.0
    for node in cluster.nodes:
        with duckdb.connect(str(node.folder / "nearfar.duckdb")) as log:
            [(usd,)] = log.execute(
                "SELECT coalesce(sum(cost_usd), 0) FROM attempts WHERE candidate_id LIKE 'dear:%'"
            ).fetchall()
        total += usd
    return total


def until(look: Callable[[], bool], what: str) -> None:
    """Look until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)  # between two looks at what goes on by itself


def cluster_of(server: Server) -> dict:
    found: dict = server.get("/v1/system").body["cluster"]
    return found


def test_a_budget_under_load_is_spent_to_the_end_and_not_beyond_though_the_owner_is_killed(cluster) -> None:
    """Every request is answered; without the owner only what is held goes far, and with it all of the rest."""
    there = cluster(FAR_AND_NEAR + budget(400.0))
    load = Load(there.node("one"), there.node("two"))
    load.until(lambda load: load.far >= 50)
    there.owner.kill()
    until(lambda: not any(cluster_of(node)["reachable"] for node in there.nodes), "nobody misses the owner")
    load.more(200)
    assert load.far < 400
    there.owner.start()
    load.until(lambda load: load.far >= 400)
    load.more(100)
    load.finish()
    for node in there.nodes:
        node.stop()

    assert (400, 0) == (load.far, load.broken)
    assert 400.0 == spent(there)


def test_workers_of_one_server_spend_one_budget(cluster) -> None:
    """Each is a router of its own to the owner; together they spend all of it and no more."""
    there = cluster(FAR_AND_NEAR + budget(60.0))
    server = there.node("one", "[server]\nworkers = 2\n")
    until(lambda: cluster_of(server)["routers"] == 2, "not all workers have joined")
    load = Load(server)
    load.until(lambda load: load.far >= 60)
    load.more(50)
    load.finish()

    assert (60, 0) == (load.far, load.broken)
    until(lambda: 60.0 == server.get("/v1/system").body["budgets"][0]["spent_usd"], "not all of it is known as spent")


def test_a_router_that_is_killed_takes_no_more_with_it_than_it_held(cluster) -> None:
    """What it had under way counts as spent; the other goes on, and it is a router like any other when it is back."""
    there = cluster(FAR_AND_NEAR + budget(200.0))
    one, two = there.node("one"), there.node("two")
    load = Load(one, two)
    load.until(lambda load: load.far >= 40)
    one.stop(signal.SIGKILL)
    there.nodes.remove(one)
    there.node("one")
    again = Load(there.nodes[-1])
    load.more(300)
    again.more(100)
    load.finish()
    again.finish()
    total = load.far + again.far
    for node in (two, there.nodes[-1]):
        node.stop()

    assert CALLERS == load.broken
    assert 40 <= total <= 200
    assert spent(there) <= 200.0


def test_a_router_that_is_cut_off_serves_near_and_is_back_when_the_cut_heals(cluster) -> None:
    """It spends what it holds, and says what rule is in force; the other does not notice."""
    there = cluster(FAR_AND_NEAR + budget(1000.0))
    one, two = there.node("one"), there.node("two", wired=True)
    assert far(one.post("/v1/inference", BODY))
    assert far(two.post("/v1/inference", BODY))
    there.wires[0].cut()
    until(lambda: not cluster_of(two)["reachable"], "it does not notice")
    until(lambda: not far(two.post("/v1/inference", BODY)), "it goes on spending")

    told = cluster_of(two)
    assert ("alone", 2) == (told["rule"], told["routers"])
    assert told["away_since"] is not None
    assert far(one.post("/v1/inference", BODY))
    assert not far(two.post("/v1/inference", BODY))
    there.wires[0].heal()
    until(lambda: bool(cluster_of(two)["reachable"]), "it is not back")
    until(lambda: far(two.post("/v1/inference", BODY)), "it spends nothing")


def test_keys_and_catalogue_are_the_same_everywhere_through_a_restart_of_the_owner(cluster, tmp_path) -> None:
    """Over a Unix socket: made at one, good at the other; revoked there, good nowhere."""
    there = cluster(FAR_AND_NEAR + '[auth]\nmode = "keys"\n', f"unix:{tmp_path}/owner.sock")
    one, two = there.node("one"), there.node("two")
    assert 0 == (tmp_path / "owner.sock").stat().st_mode & 0o077  # this user's alone
    admin = _admin(one)
    until(lambda: 200 == two.ask("GET", "/v1/keys", headers=admin).status, "two does not know the admin")
    there.owner.kill()
    refused = one.post("/v1/keys", {"name": "alice"}, admin)
    assert (503, "owner_away") == (refused.status, refused.body["error"]["code"])
    there.owner.start()
    until(lambda: 201 == one.post("/v1/keys", {"name": "alice"}, admin).status, "no key can be made")
    until(
        lambda: {"admin", "alice"} == {k["name"] for k in two.ask("GET", "/v1/keys", headers=admin).body["data"]},
        "two does not know alice",
    )
    alias = {"models": ["test/both"]}
    assert 200 == two.ask("PUT", "/v1/aliases/mine", json.dumps(alias).encode(), admin).status
    asks = BODY | {"model": "mine"}
    until(lambda: 200 == one.post("/v1/inference", asks, admin).status, "one does not know the alias")
    assert 200 == two.ask("DELETE", "/v1/keys/admin", headers=admin).status
    for node in there.nodes:
        until(lambda node=node: 401 == node.post("/v1/inference", BODY, admin).status, "a revoked key is good")


def _admin(server: Server) -> dict[str, str]:
    """An admin's key, made by the command at that router."""
    command = [sys.executable, "-m", "router", "keys", "create", "admin", "--scope", "admin", "--scope", "infer"]
    done = subprocess.run(
        command, cwd=server.folder, env=os.environ.copy(), capture_output=True, text=True, check=True, timeout=120
    )
    return {"authorization": f"Bearer {done.stdout.strip()}"}


def test_a_start_without_the_owner_serves_near(cluster) -> None:
    """It holds no money, says so, and is whole when the owner is there."""
    there = cluster(FAR_AND_NEAR + budget(10.0))
    there.owner.kill()
    one = there.node("one")
    assert [False] * 3 == [far(one.post("/v1/inference", BODY)) for _ in range(3)]
    assert "error" == one.get("/v1/system").body["health"]
    there.owner.start()
    until(lambda: far(one.post("/v1/inference", BODY)), "it spends nothing")
