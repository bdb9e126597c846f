"""A cluster that is this process: real replicas on the test's own loop, without Ray, which die when they are told.

What asks it does so over a socket, as of a driver in a process of its own.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

from backends.ray import driver
from backends.ray.cluster import Handles
from backends.ray.driving import Driving
from backends.ray.replica import Replica
from backends.ray.seen import Seen

if TYPE_CHECKING:
    from backends.ray.options import RayOptions


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
    """Stands where `backends.ray.cluster.Cluster` does, in a driver of this process.

    Attributes:
        away: Why nobody can connect, where nobody can.
        dies: What whoever asks a replica is told instead of an answer.
        said: What was asked of the cluster, in order.
        may_look: Cleared while whoever looks how it stands hears nothing.
        drivers: Those that were begun; cancelling one is its process' end.
    """

    def __init__(self) -> None:
        self._openings: dict[str, bytes] = {}
        self._replicas: dict[str, asyncio.Task[Replica]] = {}
        self.away: Exception | None = None
        self.dies: BaseException | None = None
        self.dies_after_a_piece: Exception | None = None
        self.replicas = 1
        self.may_look = threading.Event()
        self.may_look.set()
        self.said: list[str] = []
        self.drivers: list[asyncio.Task[None]] = []

    async def driver(self, options: RayOptions) -> InThisProcess:
        """Begin one, as `backends.ray.child.spawned` does."""
        ours, theirs = socket.socketpair()
        self.drivers.append(asyncio.get_running_loop().create_task(driver.serve(theirs, self)))
        return InThisProcess(ours, self.drivers[-1])

    def connect(self, address: str, namespace: str) -> None:
        self.said.append("connect")
        if self.away is not None:
            raise self.away

    def deploy(self, name: str, opening: bytes, shape: Any) -> None:
        self.said.append("deploy")
        self._openings.setdefault(name, opening)

    def delete(self, name: str) -> None:
        self.said.append("delete")
        del self._openings[name]

    def seen(self) -> dict[str, Seen]:
        self.may_look.wait()
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


class InThisProcess:
    """A driver that was begun, as a `backends.ray.child.Child`."""

    def __init__(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self.sock, self._task = sock, task

    async def ended(self) -> None:
        await asyncio.wait([self._task])


class Installed(Driving):
    """As where the extra is installed."""

    @staticmethod
    def installed() -> bool:
        return True


async def _started(opening: bytes) -> Replica:
    replica = Replica.__new__(Replica)
    await replica.__init__(opening)
    return replica
