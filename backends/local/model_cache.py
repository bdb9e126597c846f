"""The models in memory: loaded once, each on a worker of its own, and the idle ones dropped to make room.

Knows nothing of tasks, files or torch: what a model is and how it is loaded comes in as a function. Belongs to one
event loop; only the loading and the releasing happen on worker threads.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from backends.errors import OutOfMemory, Unavailable
from backends.local.worker import Worker

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from backends.local.types import Family
    from backends.local.worker import Done

T = TypeVar("T")
GIB = 1 << 30
_uses = itertools.count()


class Key(NamedTuple):
    """What makes two loaded models one and the same."""

    directory: Path
    family: Family


class Slot:
    """One model, loading or loaded, and the worker that serves it."""

    def __init__(self, key: Key, device: str, memory_bytes: int, worker: Worker) -> None:
        self.key = key
        self.device = device
        self.memory_bytes = memory_bytes
        self.worker = worker
        self.model: Any = None
        self.load_s = 0.0
        self.measured: set[str] = set()  # what has been tried out on it since it was loaded
        self.users = 0
        self.last_use = next(_uses)
        self._failure: Exception | None = None

    @property
    def loaded(self) -> bool:
        """True once requests pay no load time."""
        return self.model is not None

    async def run(self, work: Callable[[Any, threading.Event], T]) -> Done[T]:
        """Run `work` on the model, after its loading and the requests before this one.

        Raises whatever the loading raised, when that failed.
        """
        self.users += 1
        try:
            return await self.worker.submit(lambda cancelled: work(self._usable(), cancelled))
        finally:
            self.users -= 1
            self.last_use = next(_uses)

    def load(self, load: Callable[[], Any], evicted: list[Slot]) -> None:
        """Make room, then load. Runs on the worker's thread, before any request."""
        for slot in evicted:
            slot.release()
        started = time.perf_counter()
        try:
            model = load()
        except Exception as error:
            self._failure = error
            raise
        self.load_s = time.perf_counter() - started
        self.model = model

    def release(self) -> None:
        """End the worker and drop the model. Blocks."""
        self.worker.close()
        self.model = None
        _give_memory_back()

    def _usable(self) -> Any:
        if self._failure is not None:
            raise self._failure
        return self.model


def _give_memory_back() -> None:
    """Modules hold reference cycles, and glibc keeps what they free: 400 MB after a model of 135M weights."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


class ModelCache:
    """At most `budgets[device]` bytes of models on each device; the idle one unused for longest goes first."""

    def __init__(self, budgets: Mapping[str, int], max_queue: int) -> None:
        self._budgets = budgets
        self._max_queue = max_queue
        self._slots: dict[Key, Slot] = {}
        self._closed = False

    def peek(self, key: Key) -> Slot | None:
        """The slot of a model, if there is one; neither loads nor counts as a use."""
        return self._slots.get(key)

    def open(self, key: Key, device: str, memory_bytes: int, load: Callable[[], Any]) -> tuple[Slot, bool]:
        """The slot of a model, and True when this call started its loading. Returns at once.

        Raises:
            OutOfMemory: Models in use leave too little room.
            Unavailable: The cache is closed.
        """
        if self._closed:
            raise Unavailable("the local backend is shutting down")
        slot = self._slots.get(key)
        if slot is not None:
            return slot, False
        evicted = self._evicted_for(device, memory_bytes)
        for victim in evicted:
            del self._slots[victim.key]
            victim.worker.finish()
        slot = Slot(key, device, memory_bytes, Worker(f"nearfar-{key.directory.name}", self._max_queue))
        self._slots[key] = slot
        loading = slot.worker.start(lambda _cancelled: slot.load(load, evicted))
        loading.add_done_callback(lambda future: self._forget_failed(slot, future))
        return slot, True

    async def aclose(self) -> None:
        """Stop every worker and drop every model."""
        self._closed = True
        slots, self._slots = list(self._slots.values()), {}
        await asyncio.gather(*(asyncio.to_thread(slot.release) for slot in slots))

    def _evicted_for(self, device: str, memory_bytes: int) -> list[Slot]:
        here = [slot for slot in self._slots.values() if slot.device == device]
        free = self._budgets.get(device, 0) - sum(slot.memory_bytes for slot in here)
        evicted: list[Slot] = []
        for slot in sorted(here, key=lambda slot: slot.last_use):
            if free >= memory_bytes:
                break
            if slot.loaded and not slot.users:
                evicted.append(slot)
                free += slot.memory_bytes
        if free < memory_bytes:
            raise OutOfMemory(
                f"the model needs {memory_bytes / GIB:.1f} GiB on {device}; models in use leave "
                f"{max(0, free) / GIB:.1f} GiB"
            )
        return evicted

    def _forget_failed(self, slot: Slot, loading: asyncio.Future[Any]) -> None:
        if loading.cancelled() or loading.exception() is None:
            return
        slot.worker.finish()  # the requests behind the load are told the same, then the thread ends
        if self._slots.get(slot.key) is slot:
            del self._slots[slot.key]
