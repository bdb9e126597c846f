"""Workers that accept from one socket: each has about as many connections, and none waits for one that never comes."""

from __future__ import annotations

import asyncio
import errno
import socket
from array import array
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from router.workers import accepting
from router.workers.accepting import KIND, NOBODY, Accepting, Board, blank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY = 24


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits so long that a machine that is busy for a while changes nothing."""
    monkeypatch.setattr(accepting, "STEPS", 100)


class Worker:
    """As much of a worker as counts its connections."""

    def __init__(self, board: Board, changed: Callable[[], None]) -> None:
        self.board = board
        self.open: set[Any] = set()
        self.shut: list[Any] = []
        self.broken: list[Exception] = []
        self._changed = changed

    def connected(self) -> asyncio.Protocol:
        worker = self
        if self.broken:
            raise self.broken.pop()

        class Connection(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport
                worker.open.add(transport)
                worker._told()

            def connection_lost(self, _: Exception | None) -> None:
                worker.open.discard(self.transport)
                worker._told()

            def shutdown(self) -> None:
                worker.shut.append(self.transport)

        return Connection()

    def _told(self) -> None:
        self.board.tell(len(self.open))
        self._changed()


class House:
    """Workers that share a socket and a board, and clients that come and stay."""

    def __init__(self, workers: int, idle: tuple[int, ...] = ()) -> None:
        self.counts = array(KIND, blank(workers + len(idle)))
        self.counts[workers : workers + len(idle)] = array(KIND, idle)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.changed = asyncio.Event()
        self.workers = [Worker(Board(self.counts, number), self.changed.set) for number in range(workers)]
        self.listeners = [self.listener.dup() for _ in self.workers]
        self.clients: list[socket.socket] = []
        self.accepting: list[Accepting] = []

    def begin(self, *numbers: int) -> None:
        for number in numbers or range(len(self.workers)):
            worker = self.workers[number]
            self.accepting.append(Accepting(self.listeners[number], worker.connected, worker.board))

    async def come(self, clients: int) -> None:
        """So many connect at once; return when all have been accepted."""
        self.clients += [socket.create_connection(self.listener.getsockname()) for _ in range(clients)]
        await self.until(lambda: sum(self.held) == len(self.clients))

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not so():
                self.changed.clear()
                await self.changed.wait()

    @property
    def held(self) -> list[int]:
        return [len(worker.open) for worker in self.workers]

    async def end(self) -> None:
        for one in self.accepting:
            one.close()
            await one.wait_closed()
        for client in self.clients:
            client.close()
        await self.until(lambda: not any(self.held))


@contextmanager
def house(workers: int, idle: tuple[int, ...] = ()) -> Iterator[House]:
    made = House(workers, idle)
    yield made
    for one in (made.listener, *made.listeners):
        one.close()


@pytest.mark.usefixtures("patient")
def test_connections_that_come_together_are_shared(loop: asyncio.Runner) -> None:
    async def shared() -> None:
        with house(3) as found:
            found.begin()
            await found.come(MANY)
            assert max(found.held) - min(found.held) <= 2, found.held
            await found.end()

    loop.run(shared())


@pytest.mark.usefixtures("patient")
def test_who_has_fewer_takes_the_next_also_where_they_come_one_by_one(loop: asyncio.Runner) -> None:
    """As when one has been started again, and those that it had come back."""

    async def taken() -> None:
        with house(2) as found:
            found.begin(0)
            await found.come(MANY)
            found.begin(1)
            for _ in range(MANY):
                await found.come(1)
            assert found.held[1] >= MANY * 3 / 4, found.held  # by chance it would be half
            await found.end()

    loop.run(taken())


@pytest.mark.parametrize("idle", [(NOBODY,), (0,)], ids=["gone", "busy"])
def test_none_waits_for_a_worker_that_does_not_come(loop: asyncio.Runner, idle: tuple[int, ...]) -> None:
    async def all_of_them() -> None:
        with house(1, idle) as found:
            found.begin()
            await found.come(MANY)
            assert found.held == [MANY]
            await found.end()

    loop.run(all_of_them())


def test_who_waits_in_vain_takes_all_that_are_there(loop: asyncio.Runner) -> None:
    """Else a worker that has more, and another that is busy, would make every connection wait for its turn."""

    async def at_once() -> None:
        with house(1, (0,)) as found:
            found.begin()
            waits = []

            class Waiting(Accepting):
                def _wait(self, taken: int, steps: int) -> None:
                    waits.append(taken)
                    super()._wait(taken, steps)

            found.accepting = [Waiting(found.listeners[0], found.workers[0].connected, found.workers[0].board)]
            await found.come(2 * accepting.AT_ONCE)
            assert len(waits) <= 3 * accepting.STEPS  # the first one comes without a wait
            await found.end()

    loop.run(at_once())


def test_a_machine_that_refuses_for_a_while_is_asked_again(
    loop: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "PAUSE_S", 0.01)
    refusals = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError()]

    class Refusing(socket.socket):
        def accept(self) -> Any:
            if refusals:
                raise refusals.pop(0)
            return super().accept()

    async def again() -> None:
        with house(1) as found:
            listener = Refusing(fileno=found.listeners[0].detach())
            found.listeners[0] = listener
            found.begin()
            await found.come(2)
            await found.end()

    loop.run(again())
    assert ["Too many open files" in record.getMessage() for record in caplog.records] == [True]


def test_a_connection_that_cannot_be_served_costs_no_other(
    loop: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def others() -> None:
        with house(1) as found:
            found.workers[0].broken.append(RuntimeError("a fault of ours"))
            found.begin()
            with socket.create_connection(found.listener.getsockname()) as first:
                assert b"" == await asyncio.to_thread(first.recv, 1)  # closed
            await found.come(2)
            await found.end()

    loop.run(others())
    assert ["could not be served" in record.getMessage() for record in caplog.records] == [True]


def test_who_was_accepted_as_the_last_is_told_that_it_was(loop: asyncio.Runner) -> None:
    """Uvicorn tells those that it knows when it ends, and this one it does not know yet."""

    async def last() -> None:
        with house(1) as found:
            found.begin()
            [one], [worker] = found.accepting, found.workers
            found.clients.append(socket.create_connection(found.listener.getsockname()))
            one._take(1)
            one.close()
            await one.wait_closed()
            assert found.counts[0] == NOBODY
            assert worker.shut == list(worker.open)
            assert len(worker.shut) == 1
            await found.end()

    loop.run(last())


def test_a_board_is_told_of_no_connections_before_and_after_one_serves() -> None:
    counts = array(KIND, [NOBODY, 3, 0, 7])
    board = Board(counts, 0)
    board.tell(1)  # over its private socket, say
    assert list(counts) == [NOBODY, 3, 0, 7]
    board.enter()
    board.tell(5)
    board.took()
    assert (list(counts), board.ahead, board.taken) == ([5, 3, 1, 7], 2, 8)
    board.leave()
    board.tell(4)
    assert list(counts) == [NOBODY, 3, 1, 7]


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=8))
def test_who_has_most_is_ahead_of_who_has_fewest(found: list[int]) -> None:
    counts = array(KIND, blank(len(found)))
    boards = [Board(counts, number) for number in range(len(found))]
    for board, count in zip(boards, found, strict=True):
        board.enter()
        board.tell(count)
    assert [board.ahead for board in boards] == [count - min(found) for count in found]
