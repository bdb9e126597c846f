"""The near side as a `Backend`: joins prepared targets, loaded models and tasks. Knows no model by name."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from backends import hardware
from backends.errors import OutOfMemory, Unavailable
from backends.local import preparation
from backends.local.errors import translated
from backends.local.model_cache import ModelCache, Slot
from backends.local.tasks import TASKS
from backends.local.types import Answer, Control, LocalOptions
from backends.types import Delta, InferenceResult, LoadReport, Status, Timings

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncGenerator, Callable

    from backends.hardware import Probe
    from backends.local.preparation import Prepared
    from backends.types import InferenceRequest, Payload, Target

__all__ = ["LocalBackend", "LocalOptions"]

_UNKNOWN = Status(unavailable="this target has not been prepared", device="cpu")
_CLOSED = Status(unavailable="the local backend is shutting down", device="cpu")


class LocalBackend:
    """Runs models in this process. Every model has a worker thread; the event loop never waits for one."""

    def __init__(self, options: LocalOptions, probe: Probe | None = None) -> None:
        self._options = options
        self._probe = probe
        self._machine: _Machine | None = None
        self._looked_at: dict[Target, Prepared | Status] = {}  # as many as the catalogue has local targets
        self._closed = False

    @property
    def name(self) -> str:
        """What users and the log call it."""
        return "local"

    @property
    def near(self) -> bool:
        """A request never leaves this machine."""
        return True

    async def prepare(self, target: Target) -> None:
        """Find the target's files and where it would run. Reads headers only, and never the network."""
        await self._look(target, downloads=False)

    def status(self, target: Target) -> Status:
        """The target's state; reads memory only. `queued` counts all tasks that share the model."""
        known = _CLOSED if self._closed else self._looked_at.get(target, _UNKNOWN)
        if isinstance(known, Status):
            return known
        placement = known.placement
        slot = self._machine.cache.peek(known.key) if self._machine is not None else None
        model = slot.model if slot is not None else None
        return Status(
            does_not_fit=placement.reason,
            loaded=model is not None,
            device=placement.device if model is None else model.device,
            dtype=placement.dtype if model is None else model.dtype,
            queued=0 if slot is None else slot.users,
            memory_bytes=placement.memory_bytes,
        )

    async def load(self, target: Target) -> LoadReport:
        """Load the model and measure one short request; the weights may be downloaded when the options allow it."""
        if self._options.downloads:
            await self._look(target, downloads=True)
        slot = (await self._open(target)).slot
        already = slot.loaded
        if already and target.task in slot.measured:
            return LoadReport(load_s=0.0)
        warm_up = TASKS[target.task].warm_up

        def twice(model: Any, cancelled: threading.Event) -> tuple[Answer, float]:
            run = _Run(target, warm_up, lambda _piece: None)
            run(model, cancelled)  # the first request also pays what torch puts off until it is used
            return run(model, cancelled), time.perf_counter() - run.started

        answer, service_s = (await slot.run(twice)).value
        slot.measured.add(target.task)
        return LoadReport(
            load_s=0.0 if already else slot.load_s,
            service_s=service_s,
            input_tokens=answer.usage.prompt_tokens or 0,
            output_tokens=answer.usage.completion_tokens or 0,
        )

    async def infer(self, request: InferenceRequest, target: Target) -> InferenceResult:
        """Answer the request whole; loads the model first when it must."""
        return await self._answer(request, target, lambda _text: None)

    async def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Delta | InferenceResult, None]:
        """Yield text as it is generated, then the result. Closing early stops the model within a token."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Delta | None] = asyncio.Queue()  # holds at most as many pieces as tokens were asked for

        def emit(piece: Delta) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        answering = asyncio.create_task(self._answer(request, target, emit))
        answering.add_done_callback(lambda _task: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            yield await answering
        finally:
            answering.cancel()
            await asyncio.wait([answering])
            if not answering.cancelled():
                answering.exception()  # raised above, or of no interest to who closed the stream

    async def aclose(self) -> None:
        """Stop the workers and drop the models."""
        self._closed = True
        if self._machine is not None:
            await self._machine.cache.aclose()

    # --- one request ----------------------------------------------------------------------------

    async def _answer(
        self, request: InferenceRequest, target: Target, emit: Callable[[Delta], None]
    ) -> InferenceResult:
        opened = await self._open(target)
        run = _Run(target, request.payload, emit)
        done = await opened.slot.run(run)
        load_s = opened.slot.load_s if opened.pays_load else None
        return InferenceResult(
            output=done.value.output,
            usage=done.value.usage,
            timings=Timings(
                queue_s=max(0.0, done.queue_s - (load_s or 0.0)),
                load_s=load_s,
                service_s=done.service_s,
                first_token_s=run.first_token_s,
            ),
            provider=target.provider,
            model=target.model,
            device=run.device,
        )

    async def _open(self, target: Target) -> _Opened:
        """The slot of the target's model, which the caller must use before anything else may run on the loop."""
        if not self._closed and isinstance(self._looked_at.get(target, _UNKNOWN), Status):
            await self._look(target, downloads=False)
        known = _CLOSED if self._closed else self._looked_at[target]
        if isinstance(known, Status) or self._machine is None:
            raise Unavailable(str(known.unavailable if isinstance(known, Status) else _UNKNOWN.unavailable))
        placement, machine = known.placement, self._machine
        if not placement.fits:
            raise OutOfMemory(f"'{target.model}' {placement.reason}")
        slot, pays_load = machine.cache.open(
            known.key, placement.device, placement.memory_bytes, lambda: preparation.load(known, machine.threads)
        )
        return _Opened(slot, pays_load)

    async def _look(self, target: Target, *, downloads: bool) -> None:
        if self._machine is None:
            probe = await asyncio.to_thread(preparation.machine, self._probe)
            self._machine = self._machine or self._settled(probe)  # another task may have been faster
        machine = self._machine
        self._looked_at[target] = await asyncio.to_thread(
            preparation.look, target, self._options, machine.probe, downloads=downloads
        )

    def _settled(self, probe: Probe) -> _Machine:
        options = self._options
        cache = ModelCache(hardware.budgets(probe, options.memory_fraction), options.max_queue)
        return _Machine(probe, options.threads or hardware.threads(probe), cache)


class _Machine(NamedTuple):
    """What follows from the hardware, once it has been looked at."""

    probe: Probe
    threads: int
    cache: ModelCache


class _Opened(NamedTuple):
    """A model to run on, and whether this request started its loading."""

    slot: Slot
    pays_load: bool


class _Run:
    """One payload on its way through a model; notes where it ran and when the first text came out of it."""

    def __init__(self, target: Target, payload: Payload, emit: Callable[[Delta], None]) -> None:
        self._target = target
        self._payload = payload
        self._emit = emit
        self.started = 0.0
        self.first_token_s: float | None = None
        self.device = ""

    def __call__(self, model: Any, cancelled: threading.Event) -> Answer:
        """Run on the worker's thread."""
        self.started = time.perf_counter()
        self.device = model.device
        with translated(self._target.model):
            return TASKS[self._target.task].run(model, self._payload, Control(cancelled, self._pass_on))

    def _pass_on(self, text: str) -> None:
        service_s = time.perf_counter() - self.started
        if self.first_token_s is None:
            self.first_token_s = service_s
        self._emit(Delta(text, service_s))
