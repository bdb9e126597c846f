"""One thread that runs one model's jobs in order, behind a bounded queue. Knows nothing of models or requests."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct

from backends.errors import Overloaded, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_CLOSED = "the local backend is shutting down"
_FIRST_GUESS_S = 1.0  # how long a job takes while none has been measured
_MEMORY = 0.8  # weight of the past in the running mean of job times


class Cancelled(Exception):
    """The job saw that it was cancelled."""


class Done(Struct, Generic[T], frozen=True):
    """What a job returned, how long it waited for its turn and how long it ran."""

    value: T
    queue_s: float
    service_s: float


class _Job:
    """A piece of work, whoever waits for it, and the sign that nobody does any more."""

    def __init__(self, work: Callable[[threading.Event], Any], *, request: bool) -> None:
        self.work = work
        self.request = request
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Done[Any]] = self.loop.create_future()
        self.cancelled = threading.Event()
        self.submitted = time.perf_counter()

    def settle(self, result: Done[Any] | BaseException) -> None:
        """Hand the result over, from any thread; nobody is told when the loop is gone or the wait was given up."""
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._settle, result)

    def _settle(self, result: Done[Any] | BaseException) -> None:
        if self.future.done():
            return
        if isinstance(result, BaseException):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class Worker:
    """Runs jobs one after the other on a daemon thread of its own, from construction until `close` or `finish`."""

    def __init__(self, name: str, max_queue: int) -> None:
        self._max_queue = max_queue
        self._jobs: deque[_Job] = deque()
        self._running: _Job | None = None
        self._open = True
        self._mean_s: float | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """Jobs accepted and not yet done."""
        return len(self._jobs) + (self._running is not None)

    @property
    def expected_wait_s(self) -> float:
        """How long a new job would wait, by the running mean of past requests."""
        return self.queued * (_FIRST_GUESS_S if self._mean_s is None else self._mean_s)

    async def submit(self, work: Callable[[threading.Event], T]) -> Done[T]:
        """Queue a request and wait for it. `work` is given an event that is set once nobody waits for it any more.

        Cancelling the wait takes the job out of the queue, or sets the event of a running one.

        Raises:
            Overloaded: The queue is full; `retry_after_s` says when its jobs should be done.
            Unavailable: The worker is closed.
        """
        job = self._enqueue(_Job(work, request=True))
        try:
            return await job.future
        except asyncio.CancelledError:
            self._withdraw(job)
            raise

    def start(self, work: Callable[[threading.Event], Any]) -> asyncio.Future[Done[Any]]:
        """Queue work that is no request: it has room always, and its time says nothing about requests."""
        return self._enqueue(_Job(work, request=False)).future

    def finish(self) -> None:
        """Accept nothing more, do what is queued, then end. Does not wait."""
        with self._changed:
            self._open = False
            self._changed.notify()

    def close(self) -> None:
        """Fail what is queued, cancel what runs, and wait for the thread. Blocks: keep it off the event loop."""
        with self._changed:
            self._open = False
            dropped, self._jobs = list(self._jobs), deque()
            if self._running is not None:
                self._running.cancelled.set()
            self._changed.notify()
        for job in dropped:
            job.settle(Unavailable(_CLOSED))
        self._thread.join()

    def _enqueue(self, job: _Job) -> _Job:
        with self._changed:
            if not self._open:
                raise Unavailable(_CLOSED)
            waiting = sum(other.request for other in self._jobs)
            if job.request and waiting >= self._max_queue:
                message = f"{waiting} requests are waiting for this model, which is its limit"
                raise Overloaded(message, retry_after_s=self.expected_wait_s)
            self._jobs.append(job)
            self._changed.notify()
        return job

    def _withdraw(self, job: _Job) -> None:
        job.cancelled.set()
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            result = self._execute(job)
            with self._changed:
                self._running = None
            job.settle(result)
            del job, result  # an idle worker holds on to nothing

    def _next(self) -> _Job | None:
        with self._changed:
            while self._open and not self._jobs:
                self._changed.wait()
            self._running = self._jobs.popleft() if self._jobs else None
            return self._running

    def _execute(self, job: _Job) -> Done[Any] | BaseException:
        started = time.perf_counter()
        try:
            value = job.work(job.cancelled)
        except Cancelled:  # whoever still waits was cut off by `close`
            return Unavailable(_CLOSED)
        except BaseException as error:  # noqa: BLE001 -- whatever a job raises belongs to whoever waits for it
            return error
        service_s = time.perf_counter() - started
        if job.request:
            self._mean_s = service_s if self._mean_s is None else _MEMORY * self._mean_s + (1 - _MEMORY) * service_s
        return Done(value, started - job.submitted, service_s)
