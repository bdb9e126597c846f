"""The near side as a `Backend`: joins prepared targets, loaded models and tasks. Knows no model by name."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from backends import hardware
from backends.errors import OutOfMemory, Unavailable
from backends.extras import NEAR_FEATURES
from backends.local import measurement, preparation
from backends.local.calibration import Calibrations, fingerprint
from backends.local.job import CLOSED, Ask
from backends.local.model_cache import ModelCache, Wanted
from backends.local.tasks import FAMILIES
from backends.local.types import DERIVED, LocalOptions, Opening
from backends.local.work import work_of
from backends.reports import LoadReport
from backends.types import InferenceResult, Status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from backends.hardware import Probe
    from backends.local.model_cache import Slot
    from backends.local.preparation import Prepared
    from backends.types import InferenceRequest, Piece, Target

__all__ = ["LocalBackend", "LocalOptions"]

_UNKNOWN = Status(unavailable="this target has not been prepared", device="cpu")
_CLOSED = Status(unavailable=CLOSED, device="cpu")


class LocalBackend:
    """Runs models in this process. Every model has a worker thread; the event loop never waits for one."""

    def __init__(self, options: LocalOptions, probe: Probe | None = None) -> None:
        self._options = options
        self._probe = probe
        self._machine: _Machine | None = None
        self._looked_at: dict[Target, Prepared | Status] = {}  # as many as the catalogue has local targets
        self._calibrating = asyncio.Lock()
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
        if isinstance(known, Status) or self._machine is None:
            return known if isinstance(known, Status) else _UNKNOWN
        placement, cache = known.placement, self._machine.cache
        slot = cache.peek(known.key)
        model = None if slot is None else slot.model
        ahead = cache.waiting(known.key, placement.device)
        if slot is None or model is None:
            return Status(
                does_not_fit=placement.reason,
                device=placement.device,
                dtype=placement.dtype,
                queued=ahead if slot is None else ahead + slot.users,
                queue_s=cache.wait_s(known.key, placement.device, placement.memory_bytes) or None,
                memory_bytes=placement.memory_bytes,
                loads=cache.loads[known.key],
                features=NEAR_FEATURES,
            )
        return Status(
            loaded=True,
            device=model.device,
            dtype=model.dtype,
            queued=ahead + slot.users,
            queue_s=cache.wait_s(known.key, placement.device, placement.memory_bytes) or slot.worker.expected_wait_s,
            memory_bytes=placement.memory_bytes,
            runtime=model.runtime,
            loads=cache.loads[known.key],
            features=NEAR_FEATURES,
        )

    def calibration(self, target: Target) -> LoadReport | None:
        """What `load` measured of the target on this hardware before, with `thorough`."""
        known = self._looked_at.get(target)
        if known is None or isinstance(known, Status) or self._machine is None:
            return None
        return self._machine.calibrations.of(known.key).reports.get(target.task)

    async def load(self, target: Target, *, thorough: bool = False) -> LoadReport:
        """Load the model and measure a short request; the weights may be downloaded when the options allow it.

        `thorough` loads it anew, in the runtime that is fastest here, measures every size, and keeps the figures for
        this hardware.
        """
        if self._options.downloads:
            await self._look(target, downloads=True)
        known, machine = await self._known(target)
        if thorough:
            async with self._calibrating:  # one at a time: they would measure each other, and drop each other's model
                return await self._calibrated(known, machine)
        there = machine.cache.peek(known.key)
        loaded = there is not None and there.model is not None
        async with machine.cache.using(self._wanted(known, machine)) as slot:
            already = loaded and slot is there  # it may have had to wait for its place, and be loaded anew
            if already and target.task in slot.measured:
                return LoadReport(load_s=0.0)
            report = await measurement.measured(slot.worker, known, thorough=False)
            slot.measured.add(target.task)
        return LoadReport(load_s=0.0, measured=report.measured) if already else report

    async def unload(self, target: Target) -> bool:
        """Drop the model once the requests that hold it have ended; whoever comes then loads it anew."""
        known = self._looked_at.get(target)
        if known is None or isinstance(known, Status) or self._machine is None:
            return False
        slot = self._machine.cache.leave(known.key)
        if slot is None:
            return False
        await slot.gone.wait()
        return True

    async def infer(self, request: InferenceRequest, target: Target) -> InferenceResult:
        """Answer the request whole; loads the model first when it must."""
        return await self._answer(request, target, None)

    async def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Piece | InferenceResult, None]:
        """Yield pieces as they come to be, then the result. Closing early stops the model within a token or step."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | None] = asyncio.Queue()  # holds at most as many pieces as tokens were asked for

        def emit(piece: Piece) -> None:
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

    def forget(self, target: Target) -> None:
        """Nobody will ask for the target again: its model leaves memory once the last request that holds it has ended.

        Not while another target needs the same weights.
        """
        known = self._looked_at.pop(target, None)
        if known is None or isinstance(known, Status) or self._machine is None:
            return
        if not any(not isinstance(other, Status) and other.key == known.key for other in self._looked_at.values()):
            self._machine.cache.leave(known.key)

    async def aclose(self) -> None:
        """Stop the workers and drop the models."""
        self._closed = True
        if self._machine is not None:
            await self._machine.cache.aclose()

    async def _calibrated(self, known: Prepared, machine: _Machine) -> LoadReport:
        await machine.cache.drop(known.key)
        await asyncio.to_thread(measurement.choose_runtimes, known, self._opening(known, machine), machine.calibrations)
        await machine.cache.drop(known.key)  # whoever asked for it meanwhile loaded it in the old runtime
        async with machine.cache.using(self._wanted(known, machine)) as slot:
            report = await measurement.measured(slot.worker, known, thorough=True)
            slot.measured.add(known.task.task)
        return await asyncio.to_thread(measurement.keep, machine.calibrations, known, report)

    # --- one request ----------------------------------------------------------------------------

    async def _answer(
        self, request: InferenceRequest, target: Target, emit: Callable[[Piece], None] | None
    ) -> InferenceResult:
        known, machine = await self._known(target)
        ask = Ask(
            model=target.model,
            task=known.task,
            payload=request.payload,
            emit=emit,
            weight=work_of(request.payload),
            tenant=request.tenant,
            background=request.background,
            deadline=request.deadline,
        )
        async with machine.cache.using(self._wanted(known, machine)) as slot:
            done = await slot.worker.submit(ask)
            device = _device(slot)
        return InferenceResult(
            output=done.answer.output,
            usage=done.answer.usage,
            timings=done.timings,
            provider=target.provider,
            model=target.model,
            device=device,
            batch_size=done.batch_size,
        )

    async def _known(self, target: Target) -> tuple[Prepared, _Machine]:
        """The target as it was found, looking again where it was not.

        Raises:
            Unavailable: It is not here, or the backend is closed.
            OutOfMemory: It does not fit this machine.
        """
        if not self._closed and isinstance(self._looked_at.get(target, _UNKNOWN), Status):
            await self._look(target, downloads=False)
        known = _CLOSED if self._closed else self._looked_at[target]
        if isinstance(known, Status) or self._machine is None:
            raise Unavailable(str(known.unavailable if isinstance(known, Status) else _UNKNOWN.unavailable))
        if not known.placement.fits:
            raise OutOfMemory(f"'{target.model}' {known.placement.reason}")
        return known, self._machine

    def _wanted(self, known: Prepared, machine: _Machine) -> Wanted:
        return Wanted(
            key=known.key,
            family=FAMILIES[known.key.family],
            device=known.placement.device,
            memory_bytes=known.placement.memory_bytes,
            load=lambda: preparation.load(known, self._opening(known, machine)),
        )

    def _opening(self, known: Prepared, machine: _Machine) -> Opening:
        return Opening(
            directory=known.key.directory,
            device=known.placement.device,
            dtype=known.placement.dtype,
            threads=machine.threads,
            most_threads=self._options.threads or hardware.most_threads(machine.probe),
            cache_dir=self._options.models_dir / DERIVED,
            intents_dir=self._options.intents_dir,
            runtimes=machine.calibrations.of(known.key).runtimes,
            runtime=known.key.runtime,
            pickles=self._options.pickles,
        )

    async def _look(self, target: Target, *, downloads: bool) -> None:
        if self._machine is None:
            probe = await asyncio.to_thread(preparation.machine, self._probe)
            self._machine = self._machine or self._settled(probe)  # another task may have been faster
        machine = self._machine
        found = await asyncio.to_thread(preparation.look, target, self._options, machine.probe, downloads=downloads)
        if not isinstance(found, Status):
            await asyncio.to_thread(machine.calibrations.of, found.key)  # `calibration` reads memory only
        self._looked_at[target] = found

    def _settled(self, probe: Probe) -> _Machine:
        options = self._options
        threads = options.threads or hardware.threads(probe)
        cache = ModelCache(hardware.budgets(probe, options.memory_fraction), options.max_queue)
        return _Machine(probe, threads, cache, Calibrations(options.models_dir, fingerprint(probe, threads)))


class _Machine(NamedTuple):
    """What follows from the hardware, once it has been looked at."""

    probe: Probe
    threads: int
    cache: ModelCache
    calibrations: Calibrations


def _device(slot: Slot) -> str:
    """Where the slot's model runs; it may have been placed elsewhere than planned when it was loaded."""
    model = slot.model  # read once: its thread may be ending
    device: str = slot.wanted.device if model is None else model.device
    return device
