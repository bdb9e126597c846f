"""A cluster that is this process: real replicas on the test's own loop, without Ray, which die when they are told."""

from __future__ import annotations

import asyncio
from typing import Any

from backends.ray import wire
from backends.ray.cluster import Handles, Seen
from backends.ray.options import Opening, RayOptions
from backends.ray.replica import Replica


class Response:
    """What a handle's call gives: to be awaited or walked through, and cancelled."""

    def __init__(self, cluster: InProcess, name: str, method: str, *given: bytes) -> None:
        self._cluster = cluster
        self._ends: asyncio.Queue[Any] = asyncio.Queue()
        self._task = asyncio.get_running_loop().create_task(self._run(name, method, given))

    async def _run(self, name: str, method: str, given: tuple[bytes, ...]) -> Any:
        replica = await self._cluster.replica(name)
        if self._cluster.dies is not None:
            raise self._cluster.dies
        if method != "stream":
            return await getattr(replica, method)(*given)
        async for body in replica.stream(*given):
            self._ends.put_nowait(body)
            if self._cluster.dies_after_a_piece is not None:
                raise self._cluster.dies_after_a_piece
        return None

    def __await__(self) -> Any:
        return self._task.__await__()

    async def __anext__(self) -> bytes:
        waiting = asyncio.ensure_future(self._ends.get())
        await asyncio.wait([waiting, self._task], return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        if not self._ends.empty():
            return self._ends.get_nowait()
        self._task.result()
        raise StopAsyncIteration

    def cancel(self) -> None:
        self._task.cancel()


class Method:
    """One method of a deployment's replicas, as a handle gives it."""

    def __init__(self, cluster: InProcess, name: str, method: str) -> None:
        self._of = cluster, name, method

    def remote(self, *given: bytes) -> Response:
        return Response(*self._of, *given)


class InProcess:
    """Stands where `backends.ray.cluster.Cluster` does.

    Attributes:
        away: Why nobody can connect, where nobody can.
        dies: What whoever asks a replica is told instead of an answer.
        said: What was asked of the cluster, in order.
    """

    def __init__(self, options: RayOptions) -> None:
        self._options = options
        self._openings: dict[str, bytes] = {}
        self._replicas: dict[str, asyncio.Task[Replica]] = {}
        self.away: Exception | None = None
        self.dies: BaseException | None = None
        self.dies_after_a_piece: Exception | None = None
        self.replicas = 1
        self.said: list[str] = []

    @staticmethod
    def installed() -> bool:
        return True

    def connect(self) -> None:
        self.said.append("connect")
        if self.away is not None:
            raise self.away

    def deploy(self, name: str, target: Any, shape: Any) -> None:
        self.said.append("deploy")
        self._openings.setdefault(name, wire.opening(Opening(target=target, shape=shape, local=self._options.local)))

    def delete(self, name: str) -> None:
        self.said.append("delete")
        del self._openings[name]

    def seen(self) -> dict[str, Seen]:
        return {name: Seen(running=self.replicas if name in self._replicas else 0) for name in self._openings}

    def handles(self, name: str) -> Handles:
        return Handles(*(Method(self, name, method) for method in Handles._fields))

    def disconnect(self) -> None:
        self.said.append("disconnect")

    async def replica(self, name: str) -> Replica:
        if name not in self._replicas:
            self._replicas[name] = asyncio.get_running_loop().create_task(_started(self._openings[name]))
        return await asyncio.shield(self._replicas[name])

    async def aclose(self) -> None:
        """End the replicas, as the end of their processes does."""
        for task in self._replicas.values():
            await (await task)._local.aclose()


async def _started(opening: bytes) -> Replica:
    replica = Replica.__new__(Replica)
    await replica.__init__(opening)
    return replica
