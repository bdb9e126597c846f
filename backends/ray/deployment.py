"""What is known of one deployment: its replicas as they were last seen, what is under way, and what follows of both."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backends.extras import NEAR_FEATURES
from backends.local.work import work_of
from backends.pace import Pace
from backends.types import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backends.ray.options import Shape
    from backends.ray.seen import Seen
    from backends.ray.wire import Described
    from backends.types import InferenceRequest, InferenceResult, Target


class Deployment:
    """One application of the cluster, as this router sees it. Belongs to one event loop.

    Attributes:
        deployed: Whether it is there to be called.
        wanted: False once it was unloaded, until somebody asks for it again.
        running: Replicas that serve, as last seen.
        described: What one of them said of itself.
        waking: The call that waits for one, while somebody does.
        failing: Set while it is known that none will come.
        doubted: Whether the last replica that was known died under a request: what the cluster still counts is then
            believed when one answers, or when the cluster has noticed.
    """

    def __init__(self, name: str, target: Target, shape: Shape) -> None:
        self.name = name
        self.target = target
        self.shape = shape
        self.deployed = False
        self.wanted = True
        self.running = 0
        self.described: Described | None = None
        self.waking: asyncio.Task[Described] | None = None
        self.failing = asyncio.Event()
        self.doubted = False
        self._failure: str | None = None
        self._loads = 0
        self._queued = 0
        self._weight = 0.0
        self._pace = Pace()

    def see(self, seen: Seen | None) -> None:
        """Take in how it stands; None where the cluster does not have it any more."""
        if seen is None:
            self.gone()
            return
        self.doubted = self.doubted and seen.running > 0
        running = 0 if self.doubted else seen.running
        self._loads += max(0, running - self.running)
        self.running = running
        self.refused(seen.failure)

    def serves(self) -> None:
        """A replica answered: at least one runs, whatever was seen last."""
        if not self.running:
            self._loads += 1
        self.running = max(1, self.running)
        self.doubted = False
        self.refused(None)

    def lost(self) -> bool:
        """A replica died under a request. Returns whether another one should be running."""
        self.running = max(0, self.running - 1)
        self.doubted = not self.running
        return self.running > 0

    def refused(self, why: str | None) -> None:
        """Why no replica of it will come; None where one may."""
        self._failure = why
        if why is None:
            self.failing.clear()
        else:
            self.failing.set()

    def gone(self) -> None:
        """Nothing of it is left; it is deployed anew when it is wanted."""
        if self.waking is not None:
            self.waking.cancel()
        self.deployed, self.described, self.waking, self.running = False, None, None, 0
        self.doubted = False
        self.refused(None)

    @contextmanager
    def carrying(self, request: InferenceRequest) -> Iterator[None]:
        """A request is under way. What is in the background keeps nobody waiting: a replica serves it last."""
        weight = 0.0 if request.background else work_of(request.payload)
        self._queued += 1
        self._weight += weight
        try:
            yield
        finally:
            self._queued -= 1
            self._weight = self._weight - weight if self._queued else 0.0

    def learn(self, request: InferenceRequest, result: InferenceResult) -> None:
        """What an answered request held the device for."""
        weight, held_s = work_of(request.payload), result.timings.device_s
        if held_s is None or weight <= 0:
            return
        self._pace.learn(held_s, weight)

    @property
    def queue_s(self) -> float | None:
        """How long a new request would wait, by what requests of their weight took; None while none was measured.

        Only this router's own are known: what others send to the same deployment is not seen.
        """
        pace = self._pace.s_per_weight
        return None if pace is None else pace * self._weight / max(1, self.running)

    def status(self) -> Status:
        """Its state, of memory alone."""
        model = None if self.described is None else self.described.status
        return Status(
            unavailable=self._failure,
            loaded=self.running > 0,
            device=self.shape.device if model is None else model.device,
            dtype=None if model is None else model.dtype,
            runtime=None if model is None else model.runtime,
            memory_bytes=None if model is None else model.memory_bytes,
            queued=self._queued,
            queue_s=self.queue_s,
            loads=self._loads,
            features=NEAR_FEATURES,
        )
