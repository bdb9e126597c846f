"""Loads one model on a thread, serves it in batches and lets it go. Knows no task, file or device.

A batch is what is queued when the thread is free: nobody waits for company, and company costs nobody a turn. A model
that computes several batches side by side has as many threads, each of which takes the next one when it is free: while
one computes, the answers of another's batch go out and the next requests come in.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from backends.errors import OutOfMemory, Overloaded, Unavailable
from backends.local.device_clock import DeviceClock
from backends.local.errors import translated
from backends.local.job import CLOSED, Job, as_exception, forget_locals, settle_all
from backends.local.turns import Turns
from backends.local.types import Cancelled, Control, Flag, lanes_of
from backends.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from backends.local.job import Ask, Done
    from backends.local.turns import Share
    from backends.local.types import LocalFamily

_NOBODY = Control(Flag(), lambda _piece: None)  # a batch has no single sender to stop it or to listen
logger = logging.getLogger("nearfar")


class _Batch(NamedTuple):
    """What is computed together: since when, and the mark of the device's clock then."""

    shares: list[Share[Job]]
    began: float
    mark: float


class Worker:
    """Loads on a daemon thread of its own, from `start` on, then serves on that and its like until `close`."""

    def __init__(self, name: str, family: LocalFamily, max_queue: int) -> None:
        self._name = name
        self._family = family
        self._max_queue = max_queue
        self._inbox: list[Job] = []
        self._accepted: set[Job] = set()  # not yet answered; changed by the loop only
        self._weight = 0.0  # of those that are not in the background
        self._open = True
        self._load_paid = False
        self._pace = Pace()
        self._changed = threading.Condition()
        self._at_jobs = threading.Lock()  # held by the thread that takes a batch or hands answers out
        self._device = DeviceClock()
        self._thread: threading.Thread | None = None
        self._make_room: Callable[[], bool] = lambda: False
        self.model: Any = None
        self.load_s = 0.0

    # --- on the event loop ----------------------------------------------------------------------

    def start(
        self,
        load: Callable[[], Any],
        turn: AbstractContextManager[Any],
        make_room: Callable[[], bool],
    ) -> asyncio.Future[None]:
        """Load on the thread once `turn` is given, then serve. The future fails as the loading fails.

        `make_room` is called on the thread when memory runs out; True says that trying again may help.
        """
        loop = asyncio.get_running_loop()
        loaded: asyncio.Future[None] = loop.create_future()
        self._make_room = make_room
        self._thread = threading.Thread(
            target=self._live, args=(load, turn, loop, loaded), name=self._name, daemon=True
        )
        self._thread.start()
        return loaded

    @property
    def queued(self) -> int:
        """Requests accepted and not yet answered."""
        return len(self._accepted)

    @property
    def expected_wait_s(self) -> float | None:
        """How long a new request would wait, by what requests of their weight took; None while none was measured.

        What is in the background keeps nobody waiting: it goes last, and what of it takes long gives way.
        Who was answered an instant ago, and is not awake yet, is counted still: often that one asks again at once.
        """
        pace = self._pace.s_per_weight
        return None if pace is None else pace * max(0.0, self._weight)

    async def submit(self, ask: Ask) -> Done:
        """Queue a request and wait for its answer. Cancelling the wait takes it out of the queue, or stops it.

        Raises:
            Overloaded: The queue is full; `retry_after_s` says when it should have room.
            Unavailable: The worker is closed.
        """
        if len(self._accepted) >= self._max_queue and (waiting := self._waiting()) >= self._max_queue:
            message = f"{waiting} requests are waiting for this model, which is its limit"
            raise Overloaded(message, retry_after_s=self.expected_wait_s)
        job = Job(ask)
        with self._changed:
            if not self._open:
                raise Unavailable(CLOSED)
            self._accept(job)
            self._inbox.append(job)
            self._changed.notify()
        try:
            return await job.future
        except asyncio.CancelledError:
            self._withdraw(job)
            raise
        finally:
            self._let_go(job)

    def _waiting(self) -> int:
        return sum(not job.begun for job in self._accepted)

    def _accept(self, job: Job) -> None:
        self._accepted.add(job)
        if not job.background:
            self._weight += job.ask.weight

    def _let_go(self, job: Job) -> None:
        """It has been answered. Of sums whose rounding would add up, the one of nobody is 0."""
        self._accepted.discard(job)
        if not job.background:
            self._weight -= job.ask.weight
        if not self._accepted:
            self._weight = 0.0

    def _withdraw(self, job: Job) -> None:
        job.cancelled.set()
        with self._changed, suppress(ValueError):  # the thread has taken it in
            self._inbox.remove(job)

    # --- from any thread ------------------------------------------------------------------------

    def close(self) -> None:
        """Fail what is queued, stop what runs, and wait for the threads. Blocks: keep it off the event loop."""
        with self._changed:
            self._open = False
            for job in self._accepted.copy():
                job.cancelled.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    # --- on its threads -------------------------------------------------------------------------

    def _live(
        self, load: Callable[[], Any], turn: AbstractContextManager[Any], loop: asyncio.AbstractEventLoop,
        loaded: asyncio.Future[None],
    ) -> None:  # fmt: skip
        with turn:
            started = time.perf_counter()
            failure = self._load(load) if self._open else Unavailable(CLOSED)
            ended = time.perf_counter()
            self.load_s = ended - started
        _tell(loop, loaded, failure)
        turns: Turns[Job] = Turns(lambda job: job.ready(self._the_model))
        lanes: list[threading.Thread] = []
        try:
            lanes += self._started(lanes_of(self.model) - 1, (turns, failure, ended))
            self._serve(turns, failure, ended)
        finally:
            self._wind_up(lanes)

    def _started(self, lanes: int, args: tuple[Turns[Job], Exception | None, float]) -> Iterator[threading.Thread]:
        """So many threads more, or as many of them as the machine gives."""
        for number in range(lanes):
            thread = threading.Thread(target=self._serve, args=args, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                logger.warning("%s is served by %d threads of %d: %s", self._name, number + 1, lanes + 1, error)
                return
            yield thread

    def _wind_up(self, lanes: list[threading.Thread]) -> None:
        """Wait for the other threads, let the model go, and leave nobody waiting, whatever ended them."""
        for thread in lanes:
            thread.join()
        self.model = None
        for job in self._accepted.copy():
            job.settle(Unavailable(CLOSED))

    def _serve(self, turns: Turns[Job], failure: Exception | None, load_ended: float) -> None:
        """Batch after batch, until the end has come: for all threads, also where a fault of ours is the end of one.

        Nothing of a batch is kept while the next is waited for.
        """
        try:
            while self._served(turns, failure, load_ended):
                pass
        finally:
            with self._changed:
                self._open = False
                self._changed.notify_all()

    def _served(self, turns: Turns[Job], failure: Exception | None, load_ended: float) -> bool:
        with self._changed:
            while self._open and not turns and not self._inbox:
                self._changed.wait()
        with self._at_jobs:
            over = self._take_in(turns, failure, load_ended)
            batch = self._next(turns)
        if turns:
            with self._changed:
                self._changed.notify()  # another thread, if one waits
        if batch is not None:
            self._run(batch)
        return not over

    def _the_model(self) -> Any:
        return self.model

    def _load(self, load: Callable[[], Any]) -> Exception | None:
        """Load the model, a second time where memory ran out and room could be made; what failed, if anything."""
        failure = self._failure_of(load)
        if isinstance(failure, OutOfMemory) and self._make_room():
            failure = self._failure_of(load)
        return failure

    def _failure_of(self, load: Callable[[], Any]) -> Exception | None:
        try:
            self.model = load()
        except BaseException as error:  # noqa: BLE001 -- told to everybody who waits for the model
            forget_locals(error)
            return as_exception(error, self._name)
        return None

    def _take_in(self, turns: Turns[Job], failure: Exception | None, load_ended: float) -> bool:
        """Queue the jobs that came, or fail them as the loading did. True when there is nothing left to come or do."""
        with self._changed:
            arrived, self._inbox = self._inbox, []
            over = not self._open and not arrived and not turns
        for job in arrived:
            if failure is not None:
                job.fail(failure)
                continue
            self._load_paid = self._load_paid or job.waited_for(self.load_s, load_ended)
            turns.add(job)
        return over

    def _next(self, turns: Turns[Job]) -> _Batch | None:
        """The next batch, which is computed from now on; None where there is nothing to do."""
        if not turns:
            return None
        queued = turns.next()
        budget = self._family.budget_of(self.model, queued, alone=queued == 1 and not self._device.batches)
        return self._begun(turns.take(budget, lanes_of(self.model)))

    def _begun(self, shares: list[Share[Job]]) -> _Batch | None:
        if not shares:
            return None
        now = time.perf_counter()
        for share in shares:
            share.job.begin(now)
        return _Batch(shares, now, self._device.begin(now))

    def _run(self, batch: _Batch) -> None:
        """Compute a batch; where it fails, its halves, as one request is to blame and the others must not pay."""
        failure = self._failure_in(batch)
        if failure is None:
            return
        forget_locals(failure)
        shares = batch.shares
        if len(shares) == 1:
            shares[0].job.fail(failure)
            return
        half = len(shares) // 2
        for part in (shares[:half], shares[half:]):
            with self._at_jobs:
                again = self._begun([share for share in part if share.job.ready(self._the_model)])
            if again is not None:
                self._run(again)

    def _failure_in(self, batch: _Batch) -> BaseException | None:
        """What failed of a batch, if anything; else its answers have gone out."""
        failure: BaseException | None = None
        results: list[Any] = []
        lead = batch.shares[0].job
        control = _NOBODY if self._family.budget else lead.control(batch.began)
        try:
            contents = [content for job, first, units in batch.shares for content in job.contents(first, units)]
            results = self._core(lead, contents, control)
        except Cancelled:
            failure = Unavailable(CLOSED)  # whoever still waits was cut off by `close`
        except BaseException as error:  # noqa: BLE001 -- whatever the core raises belongs to whoever waits for it
            failure = error
        ended = time.perf_counter()
        device_s = self._device.end(ended, batch.mark)
        with self._at_jobs:
            for share in batch.shares:
                share.job.end(ended)
            settled = [] if failure is not None else self._delivered(batch.shares, results, device_s)
        settle_all(settled)
        return failure

    def _delivered(
        self, shares: list[Share[Job]], results: list[Any], device_s: float
    ) -> list[tuple[Job, Done | Exception]]:
        """The jobs that a batch, which held the device for so long, has finished, with their answers."""
        settled: list[tuple[Job, Done | Exception]] = []
        weights = [job.weigh(first, units) for job, first, units in shares]
        total = sum(weights) or 1
        for (job, first, units), weight in zip(shares, weights, strict=True):
            own, results = results[:units], results[units:]
            if not job.advance(first, own, device_s * weight / total, len(shares)):
                continue
            done = job.finish(self._the_model)
            if done is not None:
                self._learn(job)  # first: whoever has an answer may ask at once what the next one takes
                settled.append((job, done))
        return settled

    def _core(self, lead: Job, contents: list[Any], control: Control) -> list[Any]:
        """Run the core; when memory runs out, make room and try again in halves, unless pieces have been told."""
        try:
            return self._once(lead, contents, control)
        except OutOfMemory as error:
            forget_locals(error)
            if lead.told or (not self._make_room() and len(contents) == 1):
                raise
        if len(contents) == 1:
            return self._once(lead, contents, control)
        half = len(contents) // 2
        return self._core(lead, contents[:half], control) + self._core(lead, contents[half:], control)

    def _once(self, lead: Job, contents: list[Any], control: Control) -> list[Any]:
        with translated(lead.ask.model):
            results = self._family.core(self.model, contents, control)
        if len(results) != len(contents):  # whoever misses one would wait for ever
            raise Unavailable(f"'{lead.ask.model}' gave {len(results)} results for {len(contents)} inputs")
        return results

    def _learn(self, job: Job) -> None:
        self._pace.learn(job.spent_s, max(job.ask.weight, 1e-9))


def _tell(loop: asyncio.AbstractEventLoop, loaded: asyncio.Future[None], failure: Exception | None) -> None:
    def settle() -> None:
        if loaded.done():
            return
        if failure is None:
            loaded.set_result(None)
        else:
            loaded.set_exception(failure)

    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(settle)
