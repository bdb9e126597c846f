"""What runs in a replica: our own near side with one model, so that the same request has the same answer as near.

There is no `@serve.batch`: a model's worker batches already. It takes what is queued when its thread is free, in fair
turns of tenants and up to so many tokens, and anybody may leave the batch; Serve's waits for company, counts requests,
and cancels all or nobody. Nor is there `@serve.multiplexed`: a deployment has one model, so that Serve starts and stops
replicas by that model's own load, and one that dies takes no other model with it.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec.structs import replace

from backends import hardware
from backends.errors import BackendError
from backends.local.backend import LocalBackend
from backends.ray import wire
from backends.types import InferenceResult

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backends.hardware import Probe
    from backends.local.types import LocalOptions
    from backends.ray.options import Shape


class Replica:
    """One process of the cluster with one model in memory. Bytes in, bytes out (`backends.ray.wire`)."""

    async def __init__(self, opening: bytes) -> None:  # type: ignore[misc]  # Serve awaits it
        """Load the model: a replica that runs has it in memory.

        Raises:
            BackendError: it cannot be loaded here; Serve tries again elsewhere, and then gives up.
        """
        told = wire.opened(opening)
        self._target = told.target
        self._local = LocalBackend(options_for(told.local, told.shape), machine(hardware.probe(), told.shape))
        await self._local.prepare(self._target)
        self._report = await self._local.load(self._target)

    async def infer(self, ask: bytes) -> bytes:
        """Answer a request whole."""
        began = time.perf_counter()
        request, target = wire.asked(ask)
        try:
            result = await self._local.infer(request, target)
        except BackendError as error:
            return wire.failure(error)
        return wire.result(result, time.perf_counter() - began)

    async def stream(self, ask: bytes) -> AsyncGenerator[bytes, None]:
        """Answer a request in pieces, then whole. Whoever stops listening stops the work."""
        began = time.perf_counter()
        request, target = wire.asked(ask)
        try:
            async with aclosing(self._local.stream(request, target)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, InferenceResult):
                        yield wire.result(piece, time.perf_counter() - began)
                    else:
                        yield wire.piece(piece)
        except BackendError as error:
            yield wire.failure(error)

    async def describe(self) -> bytes:
        """How the model stands."""
        return wire.described(self._local.status(self._target), self._report)

    async def measure(self) -> bytes:
        """Measure it anew, completely; what is found is kept on this machine."""
        try:
            self._report = await self._local.load(self._target, thorough=True)
        except BackendError as error:
            return wire.failure(error)
        return wire.report(self._report)


def options_for(local: LocalOptions, shape: Shape) -> LocalOptions:
    """The near side of a replica: as many threads as it has cores, as much of a GPU's memory as it has of the GPU."""
    part = shape.num_gpus if 0 < shape.num_gpus < 1 else 1.0
    return replace(
        local,
        threads=max(1, int(shape.num_cpus)),
        memory_fraction=local.memory_fraction * part,
        max_queue=max(local.max_queue, shape.max_ongoing_requests),
    )


def machine(probe: Probe, shape: Shape) -> Probe:
    """The machine as a replica may use it: without its GPUs where it was given none."""
    return probe if shape.num_gpus else replace(probe, gpus=(), gpu_note="the replica was given no GPU")
