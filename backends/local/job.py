"""One request on its way through a model: what is to be done, how far it is, and whoever waits for it."""

from __future__ import annotations

import asyncio
import inspect
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from backends.errors import InvalidInput, Timeout, Unavailable
from backends.local.errors import translated
from backends.local.types import Answer, Control, Flag, LocalTask
from backends.types import Delta, Payload, Piece, Timings

if TYPE_CHECKING:
    from backends.local.types import Unit


_SUSPENDABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
CLOSED = "the local backend is shutting down"


class Ask(Struct, frozen=True, kw_only=True):
    """What one request wants of a model.

    Attributes:
        model: What users call the model.
        emit: Where pieces go, from the worker's thread; None when nobody listens.
        weight: How much work it is, in a unit that only compares requests of one task.
        background: Everybody else goes first.
        deadline: Monotonic seconds after which nobody waits.
        since: When it was asked (`time.perf_counter`); what it waited for its model's place counts as queueing.
    """

    model: str
    task: LocalTask
    payload: Payload
    emit: Callable[[Piece], None] | None = None
    weight: float = 1.0
    tenant: str = ""
    background: bool = False
    deadline: float | None = None
    since: float = msgspec.field(default_factory=time.perf_counter)


class Done(Struct, frozen=True):
    """The answer, and where its seconds went. `batch_size` counts the requests of its largest batch."""

    answer: Answer
    timings: Timings
    batch_size: int


class Job:
    """Made on the event loop, worked on by a worker's threads, one at a time but for who reads its units or fails it.

    Both sides touch `future` and `cancelled`; the loop reads `begun`.
    """

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.tenant = ask.tenant
        self.background = ask.background
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Done] = self.loop.create_future()
        self.cancelled = Flag()
        self.begun = False  # the thread has turned to it: it waits no more
        self.told = False  # a piece of its answer reached whoever listens, and cannot be taken back
        self._units: list[Unit] | None = None
        self._answer: Answer
        self._given = 0  # units that a batch took
        self._results: dict[int, Any] = {}  # by the place of their units
        self._under_way = 0  # batches that hold units of it, and since when there is one at least
        self._since = self._until = 0.0
        self._first_token_s: float | None = None
        self._core_started = 0.0
        self._busy = {"load_s": 0.0, "pre_s": 0.0, "service_s": 0.0, "device_s": 0.0, "post_s": 0.0}
        self._batch_size = 1

    # --- on the worker's threads ----------------------------------------------------------------

    @property
    def spent_s(self) -> float:
        """What it took of the worker's time so far: its own work and its share of the batches."""
        return self._busy["pre_s"] + self._busy["device_s"] + self._busy["post_s"]

    def sizes(self) -> list[int]:
        """Sizes of the units that no batch has taken yet."""
        return [unit.size for unit in self._units_of(self._given)]

    def give(self, units: int) -> int:
        """Hand out the next `units` units; the place of the first of them."""
        first, self._given = self._given, self._given + units
        return first

    def contents(self, first: int, units: int) -> list[Any]:
        """What so many units hold, from that place on."""
        return [unit.content for unit in self._units_of(first, units)]

    def weigh(self, first: int, units: int) -> int:
        """Their sizes together."""
        return sum(unit.size for unit in self._units_of(first, units))

    def ready(self, model: Callable[[], Any]) -> bool:
        """Tokenise or decode the input when its turn comes; False when the job is over already, and says so.

        No frame below holds the model itself: an error keeps all of them for as long as it is kept.
        """
        self.begun = True
        if self.cancelled.is_set():
            self.settle(Unavailable(CLOSED))  # only `close` leaves somebody waiting
            return False
        if self.ask.deadline is not None and time.monotonic() >= self.ask.deadline:
            self.fail(Timeout("the deadline ran out before its turn came"))
            return False
        if self._units is None:
            failure = self._failure_in("pre_s", lambda: self._prepare(model))
            if failure is not None:
                self.fail(failure)
                return False
            if not self._units:
                self.fail(InvalidInput("there is nothing to do"))
                return False
        return True

    def waited_for(self, load_s: float, ended: float) -> bool:
        """True, and remembered, when the loading ended (`time.perf_counter`) after the job came, and it is wanted."""
        if self.ask.since >= ended or self.cancelled.is_set():
            return False
        self._busy["load_s"] = load_s
        return True

    def control(self, started: float) -> Control:
        """The line of a core that runs this job alone, since `started` (`time.perf_counter`)."""
        self._core_started = started
        return Control(self.cancelled, self._emit)

    def begin(self, now: float) -> None:
        """A batch that holds units of it is computed from now on (`time.perf_counter`)."""
        if not self._under_way:
            self._since = now
        self._under_way += 1

    def end(self, now: float) -> None:
        """It is done. Seconds in which several batches were computed count once: it waited for all of them at once."""
        self._under_way -= 1
        self._until = max(self._until, now)
        if not self._under_way:
            self._busy["service_s"] += self._until - self._since

    def advance(self, first: int, results: list[Any], device_s: float, batch_size: int) -> bool:
        """Take the results of the units from that place on; True when that was all there are."""
        self._results.update(enumerate(results, first))
        self._busy["device_s"] += device_s
        self._batch_size = max(self._batch_size, batch_size)
        return len(self._results) == len(self._units or ())

    def finish(self, model: Callable[[], Any]) -> Done | None:
        """Make the answer of the results; None when that failed, which whoever waits is told."""
        failure = self._failure_in("post_s", lambda: self._conclude(model))
        if failure is not None:
            self.fail(failure)
            return None
        busy = self._busy
        total_s = time.perf_counter() - self.ask.since
        queue_s = total_s - sum(busy[part] for part in ("load_s", "pre_s", "service_s", "post_s"))
        timings = Timings(
            queue_s=max(0.0, queue_s),
            load_s=busy["load_s"] or None,
            pre_s=busy["pre_s"],
            service_s=busy["service_s"],
            device_s=busy["device_s"],
            post_s=busy["post_s"],
            first_token_s=self._first_token_s,
        )
        return Done(self._answer, timings, self._batch_size)

    def fail(self, error: BaseException) -> None:
        """Hand the error over; what is left of the job is not done any more."""
        self.cancelled.set()
        forget_locals(error)
        self.settle(as_exception(error, self.ask.model))

    def settle(self, result: Done | Exception) -> None:
        """Hand the result over, from any thread."""
        settle_all([(self, result)])

    def _prepare(self, model: Callable[[], Any]) -> None:
        self._units = self.ask.task.pre(model(), self.ask.payload)

    def _conclude(self, model: Callable[[], Any]) -> None:
        units = self._units or []
        results = [self._results[place] for place in range(len(units))]
        self._answer = self.ask.task.post(model(), self.ask.payload, units, results)

    def _failure_in(self, part: str, work: Callable[[], None]) -> BaseException | None:
        """Do and time a part of the work; what it raised, whose frames have all ended when it is handed over."""
        try:
            with translated(self.ask.model), self._measured(part):
                work()
        except BaseException as error:  # noqa: BLE001 -- a panic in Rust, too, belongs to whoever waits for the job
            return error
        return None

    def _units_of(self, first: int, units: int | None = None) -> list[Unit]:
        return (self._units or [])[first : None if units is None else first + units]

    def _emit(self, piece: Piece) -> None:
        service_s = time.perf_counter() - self._core_started
        if self._first_token_s is None:
            self._first_token_s = service_s
        if self.ask.emit is not None:
            self.told = self.told or isinstance(piece, Delta)
            self.ask.emit(msgspec.structs.replace(piece, service_s=service_s))

    def _measured(self, part: str) -> _Stopwatch:
        return _Stopwatch(self._busy, part)


def as_exception(error: BaseException, model: str) -> Exception:
    """The error as one that may cross the event loop: panics of Rust libraries and their kin would stop it."""
    if isinstance(error, Exception):
        return error
    ours = Unavailable(f"'{model}' failed on this machine: {type(error).__name__}")
    ours.__cause__ = error
    return ours


def forget_locals(error: BaseException) -> None:
    """Let go of what the frames that failed still hold: the model, half its weights, a batch's activations.

    Whoever keeps the error would keep them, too. Frames that still run are left alone, and so are those that can be
    suspended: an error told before has callers' coroutines in its traceback, and clearing those would end them.
    """
    link: BaseException | None = error
    seen: set[int] = set()  # errors that are raised again may have each other as their cause
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if not frame.f_code.co_flags & _SUSPENDABLE:
                with suppress(RuntimeError):  # it runs
                    frame.clear()
        link = link.__cause__ or link.__context__


def settle_all(results: list[tuple[Job, Done | Exception]]) -> None:
    """Hand the results of one loop's jobs over, from any thread, waking the loop once for all of them.

    Nobody is told when the loop is gone or the wait was given up.
    """
    if not results:
        return
    with suppress(RuntimeError):  # the loop is closed
        results[0][0].loop.call_soon_threadsafe(_settle, results)


def _settle(results: list[tuple[Job, Done | Exception]]) -> None:
    for job, result in results:
        if job.future.done():
            continue
        if isinstance(result, Exception):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)


class _Stopwatch:
    """Adds the seconds of a `with` block to one entry."""

    def __init__(self, seconds: dict[str, float], part: str) -> None:
        self._seconds = seconds
        self._part = part

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._part] += time.perf_counter() - self._started
