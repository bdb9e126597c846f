"""The models in memory: each loaded once on a worker of its own, and dropped when others need its place.

Knows nothing of tasks, files or torch: what a model is and how it is loaded comes in as a function. Belongs to one
event loop; only loading, serving and releasing happen on the workers' threads.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from backends.errors import OutOfMemory, Overloaded, Unavailable
from backends.local import residency
from backends.local.job import CLOSED
from backends.local.residency import Resident
from backends.local.types import LocalFamily
from backends.local.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from backends.local.types import Family

GIB = 1 << 30
_COLLECTING = threading.Lock()  # a collection that meets another one on its way would return at once, with nothing done
ROOM_TIMEOUT_S = 30.0  # how long a worker without memory waits for idle models to go


class Key(NamedTuple):
    """What makes two loaded models one and the same; `runtime` where one is asked for by name."""

    directory: Path
    family: Family
    runtime: str | None = None


class Wanted(Struct, frozen=True, kw_only=True):
    """A model somebody wants to use: which, where, how large, and how it is loaded."""

    key: Key
    family: LocalFamily
    device: str
    memory_bytes: int
    load: Callable[[], Any]


class Slot:
    """One model, loading or loaded, and the worker that serves it."""

    def __init__(self, wanted: Wanted, worker: Worker) -> None:
        self.wanted = wanted
        self.worker = worker
        self.measured: set[str] = set()  # what has been tried out on it since it was loaded
        self.users = 0
        self.loading = True
        self.draining = False
        self.leaving = False
        self.since = self.last_use = time.monotonic()
        self.gone = asyncio.Event()

    @property
    def model(self) -> Any:
        """The loaded model, or None."""
        return self.worker.model

    def resident(self) -> Resident[Slot]:
        """How the slot looks to the decision who stays."""
        return Resident(
            name=self,
            memory_bytes=self.wanted.memory_bytes,
            users=self.users + self.loading + self.leaving,
            load_s=self.worker.load_s,
            since=time.monotonic() if self.loading else self.since,
            last_use=self.last_use,
        )

    def release(self) -> None:
        """End the worker and drop the model. Blocks; may be repeated."""
        self.worker.close()
        _give_memory_back()


class ModelCache:
    """At most `budgets[device]` bytes of models on each device; see `residency` for who goes first."""

    def __init__(self, budgets: Mapping[str, int], max_queue: int) -> None:
        self._budgets = budgets
        self._max_queue = max_queue
        self._slots: dict[Key, Slot] = {}
        self._leaving: set[Slot] = set()  # nobody finds them any more, but they hold their memory
        self._evicted: dict[str, deque[Slot]] = defaultdict(deque)  # the next load on the device releases them first
        self._waiting: dict[str, deque[tuple[Wanted, asyncio.Future[Slot]]]] = defaultdict(deque)
        self._load_turns: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._farewells: set[asyncio.Task[None]] = set()
        self._closed = False
        self.loads: Counter[Key] = Counter()

    def peek(self, key: Key) -> Slot | None:
        """The slot of a model, if there is one; neither loads nor counts as a use."""
        return self._slots.get(key)

    def waiting(self, key: Key, device: str) -> int:
        """Requests that wait for the model's place."""
        return sum(wanted.key == key and not future.done() for wanted, future in self._waiting[device])

    def wait_s(self, key: Key, device: str, memory_bytes: int) -> float:
        """How long a new request would wait for the model's place, as far as can be foreseen; 0 when it has one.

        The turns of those that stand in line before it count as short ones.
        """
        slot = self._slots.get(key)
        if slot is not None and not slot.draining:
            return 0.0
        turns_s = residency.LEAST_TURN_S * len({wanted.key for wanted, _ in self._waiting[device]} - {key})
        if slot is not None:
            return turns_s + (slot.worker.expected_wait_s or 0.0) + slot.worker.load_s
        budget, residents = self._budgets.get(device, 0), self._residents(device)
        return turns_s + residency.expected_wait_s(memory_bytes, budget, residents, time.monotonic())

    @asynccontextmanager
    async def using(self, wanted: Wanted) -> AsyncIterator[Slot]:
        """The slot of a model, loading or loaded, which stays for as long as the block.

        Waits for a place where models in use leave none.

        Raises:
            OutOfMemory: The model is larger than all models together may be.
            Overloaded: Too many wait for a place already.
            Unavailable: The cache is closed.
        """
        slot = await self._place(wanted)
        slot.users += 1
        try:
            yield slot
        finally:
            slot.last_use = time.monotonic()
            self._let_go(slot)

    def leave(self, key: Key) -> Slot | None:
        """Let a model go once nobody holds it; what comes after loads it anew. Returns the slot that goes, if any."""
        slot = self._slots.get(key)
        if slot is not None:
            self._leave(slot)
        return slot

    async def drop(self, key: Key) -> None:
        """The same, returning when it is gone."""
        slot = self.leave(key)
        if slot is not None:
            await slot.gone.wait()

    async def aclose(self) -> None:
        """Stop every worker and drop every model."""
        self._closed = True
        for alarm in self._alarms.values():
            alarm.cancel()
        for line in self._waiting.values():
            for _, future in line:
                if not future.done():
                    future.set_exception(Unavailable(CLOSED))
        slots, self._slots = {*self._slots.values(), *self._leaving}, {}
        await asyncio.gather(*(asyncio.to_thread(slot.release) for slot in slots))
        evicted = [slot for line in self._evicted.values() for slot in line]  # no load is left to release them
        await asyncio.gather(*(asyncio.to_thread(slot.release) for slot in evicted), *self._farewells)
        for slot in slots:
            slot.gone.set()

    # --- who gets a place -----------------------------------------------------------------------

    async def _place(self, wanted: Wanted) -> Slot:
        if self._closed:
            raise Unavailable(CLOSED)
        slot = self._slots.get(wanted.key)
        if slot is not None and not slot.draining:
            return slot
        budget = self._budgets.get(wanted.device, 0)
        if wanted.memory_bytes > budget:
            raise OutOfMemory(
                f"the model needs {wanted.memory_bytes / GIB:.1f} GiB on {wanted.device}; "
                f"models may occupy {budget / GIB:.1f} GiB"
            )
        line = self._waiting[wanted.device]
        if len(line) >= self._max_queue:
            raise Overloaded(f"{len(line)} requests wait for a model's place in memory, which is the limit")
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        line.append((wanted, future))
        self._admit(wanted.device)
        try:
            return await future
        except asyncio.CancelledError:
            self._admit(wanted.device)  # those behind need not wait for this one any more
            raise

    def _admit(self, device: str) -> None:
        """Give places to those who wait, in order: whoever must wait on lets pass those only whose model is there."""
        if alarm := self._alarms.pop(device, None):
            alarm.cancel()
        line = self._waiting[device]
        waiting = [] if self._closed else [entry for entry in line if not entry[1].done()]
        line.clear()
        for wanted, future in waiting:
            slot = self._slots.get(wanted.key)
            if slot is None and not line:
                slot = self._opened(wanted)
            if slot is None or (line and slot.draining):
                line.append((wanted, future))
                continue
            slot.draining = False  # nobody who came before wants its place
            slot.users += 1  # until the waiter wakes up and counts for itself, or turns out to have given up
            future.set_result(slot)
            asyncio.get_running_loop().call_soon(self._let_go, slot)

    def _let_go(self, slot: Slot) -> None:
        slot.users -= 1
        if slot.leaving and not slot.users:
            self._say_farewell(slot)
        self._admit(slot.wanted.device)

    def _opened(self, wanted: Wanted) -> Slot | None:
        """A new slot for the model if there is room or some can be made now; else None, and an alarm."""
        now, budget = time.monotonic(), self._budgets.get(wanted.device, 0)
        room = residency.make_room(wanted.memory_bytes, budget, self._residents(wanted.device), now)
        if room.evict is None:
            for slot in room.drain:
                slot.draining = True
            if room.look_again is not None:
                loop = asyncio.get_running_loop()
                self._alarms[wanted.device] = loop.call_later(room.look_again - now, self._admit, wanted.device)
            return None
        for slot in room.evict:
            del self._slots[slot.wanted.key]
            self._evicted[wanted.device].append(slot)
        return self._loading(wanted)

    def _residents(self, device: str) -> list[Resident[Slot]]:
        there = (*self._slots.values(), *self._leaving)
        return [slot.resident() for slot in there if slot.wanted.device == device]

    # --- coming and going -----------------------------------------------------------------------

    def _loading(self, wanted: Wanted) -> Slot:
        evicted = self._evicted[wanted.device]

        def load() -> Any:
            while evicted:  # whoever they went for: loads have their turn one by one, so nobody else is here
                evicted.popleft().release()
            return wanted.load()

        slot = Slot(wanted, Worker(f"nearfar-{wanted.key.directory.name}", wanted.family, self._max_queue))
        self._slots[wanted.key] = slot
        self.loads[wanted.key] += 1
        loop = asyncio.get_running_loop()
        loaded = slot.worker.start(load, self._load_turns[wanted.device], lambda: self._more_room(loop, slot))
        loaded.add_done_callback(lambda future: self._loaded(slot, future))
        return slot

    def _loaded(self, slot: Slot, loading: asyncio.Future[None]) -> None:
        slot.loading = False
        slot.since = slot.last_use = time.monotonic()
        if not loading.cancelled() and loading.exception() is not None and not self._closed:
            self._leave(slot)  # once the requests behind the load have been told the same
        self._admit(slot.wanted.device)

    def _leave(self, slot: Slot) -> None:
        """Nobody finds the slot any more; it goes when those who hold it have let go."""
        if slot.leaving:
            return
        self._hide(slot)
        if not slot.users:
            self._say_farewell(slot)

    def _hide(self, slot: Slot) -> None:
        del self._slots[slot.wanted.key]
        self._leaving.add(slot)
        slot.leaving = True

    def _say_farewell(self, slot: Slot) -> None:
        if not self._closed:
            farewell = asyncio.get_running_loop().create_task(self._farewell(slot))
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)

    async def _farewell(self, slot: Slot) -> None:
        await asyncio.to_thread(slot.release)
        self._leaving.discard(slot)
        slot.gone.set()
        self._admit(slot.wanted.device)

    # --- memory ran out -------------------------------------------------------------------------

    def _more_room(self, loop: asyncio.AbstractEventLoop, asker: Slot) -> bool:
        """Drop the device's idle models; called on the thread of a worker that ran out of memory."""
        asked: Future[list[Slot]] = Future()
        try:
            loop.call_soon_threadsafe(self._give_up_idle, asker, asked)
            victims = asked.result(ROOM_TIMEOUT_S)
        except RuntimeError:  # the loop is closed
            return False
        except TimeoutError:
            if asked.cancel():
                return False
            victims = asked.result()
        for victim in victims:
            victim.release()
        _give_memory_back()
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._made_room, asker, victims)
        return bool(victims)

    def _give_up_idle(self, asker: Slot, asked: Future[list[Slot]]) -> None:
        if not asked.set_running_or_notify_cancel():
            return
        asker.users += 1  # its thread waits for the idle ones' threads, so none of those may wait for it
        there = [slot for slot in self._slots.values() if slot.wanted.device == asker.wanted.device]
        idle = [slot for slot in there if slot is not asker and not slot.users + slot.loading]
        for slot in idle:
            self._hide(slot)
        asked.set_result(idle)

    def _made_room(self, asker: Slot, victims: list[Slot]) -> None:
        self._leaving.difference_update(victims)
        for victim in victims:
            victim.gone.set()
        self._let_go(asker)


def _give_memory_back() -> None:
    """Modules hold reference cycles, and glibc keeps what they free: 400 MB after a model of 135M weights."""
    with _COLLECTING:
        gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        sys.modules["torch"].cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
