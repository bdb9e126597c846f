"""A cluster as a router asks it, through a driver in a process of its own, begun when it is needed and after it died.

Nothing here waits for ever on what should be soon: a driver that does not answer is ended, like one that died.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from typing import TYPE_CHECKING, TypeVar

from backends import outward
from backends.backoff import pause_s
from backends.errors import BackendError, Unavailable
from backends.ray import wire
from backends.ray.child import spawned
from backends.ray.errors import MISSING
from backends.ray.link import Link
from backends.ray.messages import Call, Connect, Delete, Deploy, Look
from backends.ray.options import Opening

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backends.ray.child import Child
    from backends.ray.link import Reply
    from backends.ray.options import RayOptions, Shape
    from backends.ray.seen import Seen
    from backends.types import Target

_T = TypeVar("_T")

BEGIN_S, JOIN_S, DEPLOY_S, DELETE_S, LOOK_S = 180.0, 90.0, 120.0, 180.0, 30.0
"""How long each may take of a driver that is well, on a machine that is busy. Ray itself tries to join for minutes."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
STEADY_S = 60.0
"""A cluster that was there for so long and is lost is asked for again as if it never had been lost before."""


class Pause:
    """When a cluster may be asked for again that could not be reached, or was lost: at once, then ever later."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._due = 0.0
        self._why = ""

    def failed(self, why: str, stood_s: float = 0.0) -> None:
        """It failed again, after it stood for so long."""
        self._failures = 1 if stood_s > STEADY_S else self._failures + 1
        self._due, self._why = self._clock() + pause_s(self._failures - 1, FIRST_PAUSE_S, LONGEST_PAUSE_S), why

    def check(self) -> None:
        """Return when it may be asked for.

        Raises:
            Unavailable: not yet; it says again what it failed with.
        """
        if self._clock() < self._due:
            raise Unavailable(self._why)


class Driving:
    """One cluster, joined or not. Belongs to one event loop, and blocks it nowhere."""

    def __init__(self, options: RayOptions, start: Callable[[RayOptions], Awaitable[Child]] = spawned) -> None:
        self._options = options
        self._start = start
        self._pause = Pause()
        self._child: Child | None = None
        self._link: Link | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @staticmethod
    def installed() -> bool:
        """Whether Ray could be imported; imports nothing."""
        return importlib.util.find_spec("ray") is not None

    async def connect(self, lost: Callable[[str], None]) -> None:
        """Have a driver join the cluster, or start one of our own. `lost` is told why, should it be lost.

        Raises:
            BackendError: Ray is not installed, nothing may leave this machine, or there is no such cluster.
        """
        if not self.installed():
            raise Unavailable(MISSING)
        self._pause.check()
        if not self._options.own:
            outward.announce("a Ray cluster")  # which may have nodes anywhere
        try:
            await self._begin(lost)
        except BackendError as error:
            self._pause.failed(str(error))
            raise

    async def deploy(self, name: str, target: Target, shape: Shape) -> None:
        """Let the application run, unless it does. Waits for no replica."""
        opening = wire.opening(Opening(target=target, shape=shape, local=self._options.local))
        await _within(DEPLOY_S, self._open, self._open.send(Deploy, name, opening).done())

    async def delete(self, name: str) -> None:
        """End an application, once its requests have; returns when it is gone."""
        await _within(DELETE_S, self._open, self._open.send(Delete, name).done())

    async def seen(self) -> dict[str, Seen]:
        """Every application of the cluster that is not on its way out, by name."""
        body = await _within(LOOK_S, self._open, anext(self._open.send(Look)))
        standing: wire.Standing = wire.value_of(body)
        return standing.applications

    def call(self, name: str, method: str, ask: bytes | None = None) -> Reply:
        """Have a replica of an application do something.

        Raises:
            Unavailable: no driver is there.
        """
        return self._open.send(Call, name, method, ask)

    async def disconnect(self) -> None:
        """Leave the cluster; one of our own ends. May be repeated."""
        if self._link is not None:
            await self._link.aclose()
            self._let_go()

    async def aclose(self) -> None:
        """Leave it, and return when every driver has ended."""
        await self.disconnect()
        if self._ending:
            await asyncio.wait(self._ending)

    async def _begin(self, lost: Callable[[str], None]) -> None:
        try:
            child = await self._start(self._options)
        except OSError as error:
            raise Unavailable(f"no process can be started for Ray: {type(error).__name__}") from error
        began = time.monotonic()

        def ended(why: str) -> None:
            if self._link is link:
                self._pause.failed(why, time.monotonic() - began)
                self._let_go()
                lost(why)

        self._child = child
        link = await Link.over(child.sock, ended)
        within_s = BEGIN_S if self._options.own else JOIN_S
        try:
            await _within(within_s, link, link.send(Connect, self._options.address, self._options.namespace).done())
        except BaseException:
            await link.aclose()
            self._let_go()
            raise
        self._link = link

    @property
    def _open(self) -> Link:
        if self._link is None:
            raise Unavailable("no Ray cluster is joined")
        return self._link

    def _let_go(self) -> None:
        """Nobody asks the driver any more: see to its end."""
        child, self._child, self._link = self._child, None, None
        if child is not None:
            ending = asyncio.get_running_loop().create_task(child.ended())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)


async def _within(limit_s: float, link: Link, answer: Awaitable[_T]) -> _T:
    try:
        async with asyncio.timeout(limit_s):
            return await answer
    except TimeoutError as error:
        why = f"the process that speaks with the Ray cluster did not answer within {limit_s:g} s"
        link.drop(why)
        raise Unavailable(why) from error
