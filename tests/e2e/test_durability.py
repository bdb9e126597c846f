"""Requests equal rows: under load, through SIGTERM, and in strict durability through kill -9."""

from __future__ import annotations

import signal
import threading
from http.client import HTTPException
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.conftest import Server

CALLERS = 8
ENOUGH = 200


class Load:
    """Callers that ask until the server is gone, and remember every answer they got."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self.acknowledged: list[str] = []
        self._callers = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def until_busy(self) -> None:
        for caller in self._callers:
            caller.start()

        assert self._enough.wait(60)

    def finish(self) -> None:
        for caller in self._callers:
            caller.join(60)

            assert not caller.is_alive()

    def _call(self) -> None:
        body = {"model": "fake/chat", "inputs": "hi", "parameters": {"max_tokens": 3}}
        while True:
            try:
                answer = self._server.post("/v1/inference", body)
            except (
                OSError,
                ValueError,
                HTTPException,
            ):  # gone, perhaps in the middle of an answer
                return
            with self._lock:
                self.acknowledged.append(answer.body["decision_id"])
                if len(self.acknowledged) >= ENOUGH:
                    self._enough.set()


def rows(folder: Path) -> list[tuple[str, str, int, str]]:
    with duckdb.connect(str(folder / "nearfar.duckdb"), read_only=True) as log:
        return log.execute(
            "select decision_id::varchar, status, seq, boot_id::varchar from decisions order by seq"
        ).fetchall()


def test_every_request_has_its_row_after_sigterm_under_load(serve: Callable[..., Server]) -> None:
    """SIGTERM lets what runs finish and drains the log: ids acknowledged and ids logged are the same set."""
    server = serve()
    load = Load(server)
    load.until_busy()
    code = server.stop(signal.SIGTERM)
    load.finish()
    logged = rows(server.folder)

    assert 0 == code
    assert set(load.acknowledged) == {row[0] for row in logged}
    assert {"ok"} == {row[1] for row in logged}
    assert list(range(1, len(logged) + 1)) == [row[2] for row in logged]


def test_strict_durability_keeps_every_acknowledged_request_through_kill_9(serve: Callable[..., Server]) -> None:
    """What was answered in strict mode is on disk when the process dies without warning, a refusal like any other."""
    server = serve('[log]\ndurability = "strict"')
    answer = server.post("/v1/inference", {"model": "nope", "inputs": "x"})
    load = Load(server)
    load.until_busy()
    server.stop(signal.SIGKILL)
    load.finish()
    logged = rows_after_crash(server.folder)

    assert len(load.acknowledged) >= ENOUGH
    assert set(load.acknowledged) <= {row[0] for row in logged if row[1] == "ok"}
    assert 404 == answer.status
    assert (answer.body["error"]["decision_id"], "refused") in [row[:2] for row in logged]


def rows_after_crash(folder: Path) -> list[tuple[str, str, int, str]]:
    """Open for writing once, which replays the write-ahead log."""
    duckdb.connect(str(folder / "nearfar.duckdb")).close()
    return rows(folder)
