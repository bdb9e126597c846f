"""Workers that accept from one socket: each has about as many connections, and none waits for one that never comes."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from router.workers import accepting
from router.workers.accepting import Accepting, Board

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MANY = 24


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


class Worker:
    """As much of a worker as counts its connections."""

    def __init__(self, board: Board, changed: Callable[[], None]) -> None:
        self.board = board
        self.open: set[asyncio.BaseTransport] = set()
        self._changed = changed

    def connected(self) -> asyncio.Protocol:
        worker = self

        class Connection(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport
                worker.open.add(transport)
                worker._told()

            def connection_lost(self, _: Exception | None) -> None:
                worker.open.discard(self.transport)
                worker._told()

        return Connection()

    def _told(self) -> None:
        self.board.tell(len(self.open))
        self._changed()


class House:
    """Workers that share a socket and a board, and clients that come and stay."""

    def __init__(self, path: Path, workers: int, idle: int = 0) -> None:
        Board.make(path, workers + idle)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.changed = asyncio.Event()
        self.workers = [Worker(Board(path, number), self.changed.set) for number in range(workers)]
        self.clients: list[socket.socket] = []

    def begin(self, kind: type[Accepting] = Accepting) -> None:
        self.listeners = [self.listener.dup() for _ in self.workers]
        shared = zip(self.listeners, self.workers, strict=True)
        self.accepting = [kind(listener, worker.connected, worker.board) for listener, worker in shared]

    async def come(self, clients: int) -> None:
        """So many connect at once; return when all have been accepted."""
        self.clients += [socket.create_connection(self.listener.getsockname()) for _ in range(clients)]
        await self.until(lambda: sum(self.counts) == len(self.clients))

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not so():
                self.changed.clear()
                await self.changed.wait()

    @property
    def counts(self) -> list[int]:
        return [len(worker.open) for worker in self.workers]

    async def end(self) -> None:
        for one, listener in zip(self.accepting, self.listeners, strict=True):
            one.close()
            await one.wait_closed()
            listener.close()
        for client in self.clients:
            client.close()
        await self.until(lambda: not any(self.counts))


@contextmanager
def closed(house: House) -> Iterator[None]:
    with house.listener:
        yield
    for worker in house.workers:
        worker.board.close()


def test_connections_that_come_together_are_shared(loop: asyncio.Runner, tmp_path: Path) -> None:
    async def shared() -> None:
        house = House(tmp_path / "board", 3)
        with closed(house):
            house.begin()
            await house.come(MANY)
            assert max(house.counts) - min(house.counts) <= 2, house.counts
            await house.end()

    loop.run(shared())


def test_who_lost_some_takes_the_next(loop: asyncio.Runner, tmp_path: Path) -> None:
    async def taken() -> None:
        house = House(tmp_path / "board", 2)
        with closed(house):
            house.begin()
            await house.come(MANY)
            mine = {transport.get_extra_info("peername") for transport in house.workers[0].open}
            gone = [client for client in house.clients if client.getsockname() in mine]
            for client in gone:
                client.close()
            house.clients = [client for client in house.clients if client not in gone]
            await house.until(lambda: house.counts[0] == 0)
            before = house.counts[1]
            await house.come(before - 2)
            assert house.counts[1] <= before + 1
            await house.end()

    loop.run(taken())


def test_nobody_waits_for_a_worker_that_does_not_come(loop: asyncio.Runner, tmp_path: Path) -> None:
    """One that died, say, has none open, and takes none."""

    async def all_of_them() -> None:
        house = House(tmp_path / "board", 1, idle=1)
        with closed(house):
            house.begin()
            await house.come(MANY)
            assert house.counts == [MANY]
            await house.end()

    loop.run(all_of_them())


def test_a_machine_that_refuses_for_a_while_is_asked_again(
    loop: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "PAUSE_S", 0.01)
    refusals = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError()]

    class Refused(Accepting):
        async def _one(self) -> None:
            if refusals:
                raise refusals.pop(0)
            await super()._one()

    async def again() -> None:
        house = House(tmp_path / "board", 1)
        with closed(house):
            house.begin(Refused)
            await house.come(2)
            await house.end()

    loop.run(again())
    assert ["Too many open files" in record.getMessage() for record in caplog.records] == [True]


@given(counts=st.lists(st.integers(0, 10_000), min_size=1, max_size=8))
def test_who_has_most_is_ahead_of_who_has_fewest(counts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("board") / "board"
    Board.make(path, len(counts))
    boards = [Board(path, number) for number in range(len(counts))]
    for board, count in zip(boards, counts, strict=True):
        board.tell(count)
    assert [board.ahead for board in boards] == [count - min(counts) for count in counts]
    again = Board(path, 0)  # whoever comes in a dead one's place has none open
    assert again.ahead == 0
    for board in (*boards, again):
        board.close()
