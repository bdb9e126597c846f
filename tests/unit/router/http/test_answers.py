"""A whole answer is worked on while its sender is there, and whoever else ends the wait is told so."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from router.http.answers import UNWATCHED_S, Logged, Whole, _Watched, answered

if TYPE_CHECKING:
    from collections.abc import Callable


class _Caller:
    """A sender and the work that is done for it: as much of both as `answered` sees."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.begun = asyncio.Event()
        self.watched = asyncio.Event()
        self.stopped = False
        self.app = SimpleNamespace(state=SimpleNamespace(services=SimpleNamespace(dispatcher=self)))

    async def receive(self) -> dict[str, str]:
        self.watched.set()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def infer(self, _call: object) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped = True


def ended(happens: Callable[[_Caller, asyncio.Task[Any]], None]) -> tuple[BaseException, asyncio.Task[Any], bool]:
    """What a wait ends with when something happens to it, its task, and whether the work was stopped."""

    async def go() -> tuple[BaseException, asyncio.Task[Any], bool]:
        caller = _Caller()
        asking = asyncio.create_task(answered(cast("Any", caller), cast("Any", None)))
        await caller.begun.wait()
        await caller.watched.wait()
        happens(caller, asking)
        (found,) = await asyncio.gather(asking, return_exceptions=True)
        return found, asking, caller.stopped

    return asyncio.run(go())


def test_whoever_is_done_when_the_sender_leaves_is_not_stopped_at_what_comes_after() -> None:
    """The answer is there in the very turn of the loop in which the sender goes: sending it is nobody's to cancel."""

    async def go() -> str:
        caller = _Caller()
        with _Watched(cast("Any", caller)):
            await caller.watched.wait()
            caller.left.set()
            await asyncio.sleep(0)  # the watcher has ended, and its callback is on its way
        await asyncio.sleep(0)
        return "sent"

    assert "sent" == asyncio.run(go())


def test_work_stops_when_its_sender_leaves() -> None:
    """The wait ends with an error that says so, and its task is not left half cancelled."""
    error, task, stopped = ended(lambda caller, _: caller.left.set())
    assert isinstance(error, Logged)
    assert "The sender went away before the answer." == str(error)
    assert (0, False, True) == (task.cancelling(), task.cancelled(), stopped)


def test_a_cancellation_from_elsewhere_stays_one() -> None:
    """The server shuts down, not the sender: nothing may take that for an error of the request."""
    error, task, stopped = ended(lambda _, asking: asking.cancel())
    assert isinstance(error, asyncio.CancelledError)
    assert (True, True) == (task.cancelled(), stopped)


def test_a_cancellation_from_elsewhere_goes_before_a_sender_who_leaves_at_the_same_time() -> None:
    """Whoever cancelled the task still finds it cancelled."""

    def both(caller: _Caller, asking: asyncio.Task[Any]) -> None:
        caller.left.set()
        asking.get_loop().call_soon(asyncio.get_running_loop().call_soon, asking.cancel)

    error, task, stopped = ended(both)
    assert isinstance(error, asyncio.CancelledError)
    assert (True, True) == (task.cancelled(), stopped)


def test_who_left_at_once_is_noticed_all_the_same() -> None:
    """Nobody looks in the first moment, and the sender is gone by then."""

    async def go() -> tuple[BaseException, bool]:
        caller = _Caller()
        caller.left.set()
        (found,) = await asyncio.gather(answered(cast("Any", caller), cast("Any", None)), return_exceptions=True)
        return cast("BaseException", found), caller.stopped

    error, stopped = asyncio.run(go())
    assert (Logged, True) == (type(error), stopped)


def test_an_answer_that_is_there_at_once_has_no_watcher() -> None:
    """Nobody begins to watch when all is over."""

    async def go() -> bool:
        caller = _Caller()
        with _Watched(cast("Any", caller)):
            await asyncio.sleep(0)
        await asyncio.sleep(2 * UNWATCHED_S)
        return caller.watched.is_set()

    assert not asyncio.run(go())


@pytest.mark.parametrize(("content", "body"), [({}, b"{}"), ({"text": "ü"}, '{"text":"ü"}'.encode())])
def test_an_answer_goes_out_whole_with_its_length(content: object, body: bytes) -> None:
    """Its length counts bytes, not characters, and its headers follow."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Whole(content, {"x-request-id": "a-1"})(cast("Any", {}), cast("Any", None), cast("Any", send)))

    start, rest = sent
    assert {
        b"content-type": b"application/json",
        b"content-length": str(len(body)).encode(),
        b"x-request-id": b"a-1",
    } == dict(start["headers"])
    assert (200, body, False) == (start["status"], rest["body"], rest["more_body"])
