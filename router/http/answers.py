"""From the dispatcher to a handler: only whole answers and opened streams get through, errors are raised."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple

import msgspec
from litestar import Request, Response
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

from backends.types import Delta, InferenceResult, Piece, Progress
from router.errors import RouterError
from router.http.services import services
from router.outcome import Attempt, Begun, Outcome
from router.request import Call

UNWATCHED_S = 0.02
"""So long nobody looks whether the sender is still there."""


class Answer(NamedTuple):
    """An outcome that has a result, and the attempt that gave it."""

    outcome: Outcome
    result: InferenceResult
    winner: Attempt


async def answered(request: Request[Any, Any, Any], call: Call) -> Answer:
    """Run the call whole, and stop running it when its sender goes away.

    Raises:
        RouterError: the outcome's own error, carrying its decision's id.
    """
    with _Watched(request), _Dispatched():
        return answer_of(await services(request).dispatcher.infer(call))


async def opened(
    request: Request[Any, Any, Any], call: Call
) -> tuple[Begun, AsyncGenerator[Begun | Piece | Outcome, None]]:
    """Run the call until its first piece exists, so that a failure before it still has a status code.

    Raises:
        RouterError: nobody could begin an answer.
    """
    pieces = services(request).dispatcher.stream(call)
    with _Watched(request), _Dispatched():
        first = await anext(pieces)
    if isinstance(first, Begun):
        return first, pieces
    if isinstance(first, Delta | Progress):
        raise TypeError("a stream begins by saying who serves it, or with its outcome")
    return _silent(first), _only(first)


def answer_of(outcome: Outcome) -> Answer:
    """The outcome's answer.

    Raises:
        RouterError: it has none; the error carries its decision's id.
    """
    if outcome.result is not None and outcome.winner is not None:
        return Answer(outcome, outcome.result, outcome.winner)
    error = outcome.error or RouterError("The request was cancelled.")
    error.decision_id = outcome.decision_id
    raise error


class Logged(RouterError):
    """The request failed after it reached the dispatcher, which wrote its rows: they must not be written again."""


class _Watched:
    """Stops the task that it is entered in when the sender goes away, and then raises `Logged`.

    Watching takes a task of its own, so it begins when an answer is not there at once: who left before is noticed then.
    """

    def __init__(self, request: Request[Any, Any, Any]) -> None:
        running = asyncio.current_task()
        assert running is not None  # noqa: S101 -- a handler runs in a task
        self._request = request
        self._running = running
        self._leaving: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(UNWATCHED_S, self._watch)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._timer.cancel()
        leaving, self._leaving = self._leaving, None
        if leaving is None:
            return
        left = leaving.done()
        leaving.cancel()
        if left and isinstance(error, asyncio.CancelledError) and not self._running.uncancel():
            # Nobody else wants it stopped.
            raise Logged("The sender went away before the answer.") from None

    def _watch(self) -> None:
        self._leaving = asyncio.create_task(_left(self._request))
        self._leaving.add_done_callback(self._stop)

    def _stop(self, leaving: asyncio.Task[None]) -> None:
        if leaving is self._leaving:  # it may be called late: who is done is not to be stopped at what comes after
            self._running.cancel()


class _Dispatched:
    """Marks a bug that comes out of the dispatcher as logged; errors of ours carry their decision's id themselves."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, RouterError):
            raise Logged("Internal error.") from error


class _Names(dict[str, bytes]):
    """The names of headers as they are sent, each made once: there are as many as this program knows."""

    def __missing__(self, name: str) -> bytes:
        self[name] = name.encode()
        return self[name]


_NAMES = _Names()


class Whole(Response[Any]):
    """A complete JSON answer, made as ASGI sends it: any other `Response` is copied into an object of its own first."""

    def __init__(self, content: object, headers: Mapping[str, str]) -> None:
        super().__init__(content)
        body = msgspec.json.encode(content)
        fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        self._messages: tuple[HTTPResponseStartEvent, HTTPResponseBodyEvent] = (
            {
                "type": "http.response.start",
                "status": 200,
                "headers": fixed + [(_NAMES[name], value.encode()) for name, value in headers.items()],
            },
            {"type": "http.response.body", "body": body, "more_body": False},
        )

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Itself: nothing of the application is added to it."""
        return self

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        for message in self._messages:
            await send(message)


async def _left(request: Request[Any, Any, Any]) -> None:
    """Return when the connection is closed by the other side. The body has been read already."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _only(outcome: Outcome) -> AsyncGenerator[Begun | Piece | Outcome, None]:
    yield outcome


def _silent(outcome: Outcome) -> Begun:
    """An answer without any piece: the stream begins and ends with it."""
    answer = answer_of(outcome)
    return Begun(
        plan=outcome.plan,
        backend=answer.winner.backend,
        provider=answer.winner.provider,
        model=answer.winner.model,
        attempts=len(outcome.attempts),
    )
