"""A log, its owner at a real socket, and processes' logs that send to it; all in this process, on threads."""

from __future__ import annotations

import contextlib
import select
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator  # noqa: TC003 - fixtures are looked at
from pathlib import Path

import pytest

from router.decision_log.log import DecisionLog
from router.decision_log.taking import Durability, Log, Pace
from router.shipping.shipper import ShippingState  # noqa: TC001 - as above
from router.workers.owner import Owner
from router.workers.remote_log import Link, RemoteLog
from router.workers.wire import listening
from tests.unit.decision_log.conftest import make_decision

AT_ONCE = Pace(flush_s=0.0)


class World:
    """A log that comes and goes, and those who send to it."""

    def __init__(self, folder: Path, sockets: Path) -> None:
        self.path = folder / "nearfar.duckdb"
        self.socket = sockets / "log"
        self.log: DecisionLog | None = None
        self.shipping: ShippingState | None = None  # as its owner would say
        self._owner: Owner | None = None
        self._remote: list[RemoteLog] = []
        log = DecisionLog.open(self.path)
        self.node_id = log.node_id
        log.close()

    def own(self) -> DecisionLog:
        """The owner is there from now on."""
        self.log = DecisionLog.open(self.path, flush_s=0.0)
        self._owner = Owner(self.log, self.socket, lambda: self.shipping)
        self._owner.start()
        return self.log

    def disown(self) -> None:
        """It is gone, as after an orderly end: whatever it had taken is committed."""
        if self._owner is not None and self.log is not None:
            self._owner.close()
            self.log.close()
        self._owner = self.log = None

    def worker(
        self,
        place: str = "worker-0",
        durability: Durability = "batch",
        queue_rows: int = 100_000,
        at: Path | None = None,
    ) -> RemoteLog:
        """A log that sends to whoever owns it."""
        log = RemoteLog(Link(at or self.socket, place, self.path, self.node_id), durability, queue_rows, AT_ONCE)
        log._start()
        log._listener.start()
        self._remote.append(log)
        return log

    def close(self) -> None:
        for log in self._remote:
            log.close()
        self.disown()

    def seqs(self, *logs: Log) -> list[list[int]]:
        """The decisions that are there of each of these, by their numbers: one that came twice is there twice."""
        assert self.log is not None
        self.log.flush()
        query = "SELECT boot_id::VARCHAR, seq FROM decisions ORDER BY ALL"
        found = self.log.reader().sql(query, max_rows=1_000_000).rows
        return [[seq for boot, seq in found if boot == log.boot_id] for log in logs]


def decided(log: Log, count: int) -> list[int]:
    """Append so many decisions; their numbers."""
    numbers = [log.next_seq() for _ in range(count)]
    for number in numbers:
        log.append(make_decision(number))
    return numbers


class Relay:
    """Stands between a worker and the owner, and breaks each connection after so many bytes of the owner's."""

    def __init__(self, owner: Path, path: Path, after: Callable[[], int | None]) -> None:
        self.path, self.after = path, after
        self._owner = owner
        self._listener = listening(path)
        self.broken = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with self._listener:
            while True:
                worker, _ = self._listener.accept()
                threading.Thread(target=self._between, args=(worker, self.after()), daemon=True).start()

    def _between(self, worker: socket.socket, left: int | None) -> None:
        with worker, socket.socket(socket.AF_UNIX) as owner, contextlib.suppress(OSError):
            owner.connect(str(self._owner))
            while True:
                ready, _, _ = select.select([worker, owner], [], [])
                for source in ready:
                    data = source.recv(65536 if left is None or source is worker else left)
                    if not data:
                        return
                    (owner if source is worker else worker).sendall(data)
                    if left is not None and source is owner:
                        left -= len(data)
                        if not left:
                            self.broken.set()
                            return


@contextlib.contextmanager
def made(folder: Path) -> Iterator[World]:
    """A world, which is closed at the end."""
    with tempfile.TemporaryDirectory(prefix="nearfar-test-") as sockets:  # a socket's path must be short
        found = World(folder, Path(sockets))
        yield found
        found.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Whoever cannot hand on its rows at the end waits for a moment only."""
    monkeypatch.setattr("router.decision_log.taking._CLOSE_S", 0.2)
    with made(tmp_path) as found:
        yield found
