"""The owner of the log, towards the workers: it commits the rows they send, and answers what they ask.

A thread for each connection: each worker has two for its rows, and one for every question under way.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from router.decision_log.spill import Line, Sent
from router.errors import InvalidRequest, LogError, QueryRefused, RouterError
from router.workers import messages
from router.workers.messages import (
    Answer,
    Committed,
    Failed,
    Flush,
    Hello,
    InWindow,
    Lines,
    Listening,
    Question,
    Welcome,
    encode,
)
from router.workers.wire import Wire, listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from socket import socket

    from router.decision_log.log import DecisionLog
    from router.shipping.shipper import ShippingState
    from router.workers.messages import Rows

LONG_AT_ONCE = 2
"""Questions that may take long run so many at a time, whoever asks: they share DuckDB's memory with the rows."""
FLUSHED_IN_S = 2.0
"""How long a reader waits for what workers have not sent yet. One that hangs holds nobody up for longer."""
LINES_AT_ONCE = 200
ENDED_IN_S = 5.0
"""How long `close` waits for questions under way to notice; what they ask of DuckDB ends with the log."""

_GONE = (OSError, msgspec.DecodeError)
logger = logging.getLogger("nearfar.workers")


class Owner:
    """Serves a log over a Unix socket, from `start` to `close`; `shipping` says how the log is shipped."""

    def __init__(self, log: DecisionLog, path: Path, shipping: Callable[[], ShippingState | None]) -> None:
        self._log = log
        self._shipping = shipping
        self._path = path
        self._socket: socket | None = None
        self._closed = False
        self._lock = threading.Condition()
        self._wires: set[Wire] = set()
        self._listeners: dict[Wire, threading.Lock] = {}
        self._places: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._long = threading.Semaphore(LONG_AT_ONCE)

    def start(self) -> None:
        """Listen from now on.

        Raises:
            OSError: the socket cannot be made.
        """
        self._socket = listening(self._path)
        threading.Thread(target=self._accept, args=(self._socket,), name="workers", daemon=True).start()

    def alone(self, within_s: float) -> bool:
        """Wait until nobody sends rows or asks; False where somebody still does after so long."""
        with self._lock:
            return self._lock.wait_for(lambda: self._wires <= self._listeners.keys(), within_s)

    def close(self) -> None:
        """Stop listening, and let nobody wait any more. What was taken is the log's to commit."""
        self._path.unlink(missing_ok=True)
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(2)  # ends the thread that accepts
            self._socket.close()
        with self._lock:
            self._closed = True  # whoever connected just now is not kept either
            for wire in list(self._listeners):
                self._forget(wire)  # no thread is theirs
            for wire in self._wires:
                wire.end()
            self._lock.wait_for(lambda: not self._wires, ENDED_IN_S)

    def _accept(self, sock: socket) -> None:
        while True:
            try:
                accepted, _ = sock.accept()
            except OSError:
                return  # closed
            wire = Wire(accepted)
            with self._lock:
                if self._closed:
                    wire.close()
                    return
                self._wires.add(wire)
            threading.Thread(target=self._served, args=(wire,), name="worker", daemon=True).start()

    def _served(self, wire: Wire) -> None:
        try:
            message = wire.receive()
            if message is not None:
                self._serve(wire, messages.first(message))
        except _GONE as error:
            logger.debug("a worker's connection ended: %s", type(error).__name__)
        finally:
            with self._lock:
                if wire not in self._listeners:
                    self._forget(wire)

    def _forget(self, wire: Wire) -> None:
        """Needs the lock."""
        self._listeners.pop(wire, None)
        self._wires.discard(wire)
        wire.close()
        self._lock.notify_all()

    def _serve(self, wire: Wire, said: messages.First) -> None:
        match said:
            case Hello():
                with self._places[said.place]:  # whatever came before from there is committed, or will never be
                    self._take_from(wire, said)
            case Listening():
                with self._lock:
                    if not self._closed:
                        self._listeners[wire] = threading.Lock()
                        self._lock.notify_all()
            case _:
                self._flush()
                with self._long if said.LONG else contextlib.nullcontext():
                    self._answer(wire, said)

    # --- rows -----------------------------------------------------------------------------------

    def _take_from(self, wire: Wire, hello: Hello) -> None:
        """Take the rows of one sender, a message at a time: the next comes when these are committed."""
        try:
            wire.send(encode(Welcome(number=self._log.last_sent(hello.place, hello.boot))))
            while (message := wire.receive()) is not None:
                lines = _lines(hello, messages.rows(message))
                if lines:
                    self._log.take(lines).result()
                wire.send(encode(Committed(log=self._log.stats(), shipping=self._shipping())))
        except LogError as error:
            wire.send(encode(_failed(error)))

    def _flush(self) -> None:
        """Have every worker send what it has: whoever reads after an answer finds its rows, whoever gave it."""
        with self._lock:
            listeners = dict(self._listeners)
        asked = [(wire, lock) for wire, lock in listeners.items() if lock.acquire(timeout=FLUSHED_IN_S)]
        try:
            for wire, _ in asked:
                self._tell(wire)
            for wire, _ in asked:
                self._hear(wire)
        finally:
            for _, lock in asked:
                lock.release()

    def _tell(self, wire: Wire) -> None:
        with contextlib.suppress(OSError):  # heard of below
            wire.send(encode(Flush()))

    def _hear(self, wire: Wire) -> None:
        try:
            wire.patient(FLUSHED_IN_S)
            message = wire.receive()
            if message is not None:
                messages.flushed(message)
                return
        except _GONE as error:
            logger.debug("a worker did not say that its rows are there: %s", type(error).__name__)
        with self._lock:
            self._forget(wire)  # it connects again

    # --- questions ------------------------------------------------------------------------------

    def _answer(self, wire: Wire, question: Question) -> None:
        reader = self._log.reader(question.sees)
        try:
            if isinstance(question, InWindow):
                with reader.window(question.window) as (found, lines):
                    wire.send(_answer(found))
                    _stream(wire, lines)
            else:
                wire.send(_answer(question.of(reader)))
        except (InvalidRequest, LogError) as error:
            wire.send(encode(_failed(error)))


def _lines(hello: Hello, sent: Rows) -> list[Line]:
    rows = enumerate(sent.rows, start=sent.first)
    now = time.monotonic()
    return [Line(kind, json, now, Sent(hello.place, hello.boot, number), sent.again) for number, (kind, json) in rows]


def _answer(value: object) -> bytes:
    return encode(Answer(value=msgspec.Raw(encode(value))))


def _stream(wire: Wire, lines: Iterable[str]) -> None:
    some: list[str] = []
    for line in lines:
        some.append(line)
        if len(some) == LINES_AT_ONCE:
            wire.send(encode(Lines(lines=some)))
            some = []
    if some:
        wire.send(encode(Lines(lines=some)))
    wire.send(encode(Lines(lines=[])))


def _failed(error: RouterError) -> Failed:
    match error:
        case InvalidRequest():
            return Failed(kind="InvalidRequest", said=str(error), param=error.param)
        case QueryRefused():
            return Failed(kind="QueryRefused", said=str(error))
        case _:
            return Failed(kind="LogError", said=str(error))
