"""Asks engines how they are, again and again: their health, their load, and where their names lead by now.

Asking spends nothing and waits for nobody longer than `ANSWER_S`. Whoever is not asked is neither ready nor unready.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from backends.errors import BackendError, Timeout
from backends.remote.engines.dialects import DIALECTS, METRICS, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

    from backends.remote.engines.dialects import Dialect
    from backends.remote.engines.pool import Pool
    from backends.remote.engines.replica import Replica

    Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
    """From a host and a port to its addresses. Raises OSError where it has none."""

ANSWER_S = 2.0
RESOLVE_S = 5.0
ROUNDS = 3  # whose figures nobody heard for so long are unknown
MAX_HEALTH_BYTES = 64 * 1024
MAX_METRICS_BYTES = 8 * 1024 * 1024


async def addresses(host: str, port: int) -> list[str]:
    """All that the system's resolver has for the name (A and AAAA), in order. Another thread waits for it."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({str(address[0]) for *_, address in found})


class Watch:
    """Looks after the servers of the pools that are watched."""

    def __init__(self, pools: Sequence[Pool], resolver: Resolver = addresses) -> None:
        self._resolver = resolver
        self._others = asyncio.Event()
        self.become(pools)

    def become(self, pools: Sequence[Pool]) -> None:
        """Look after these from now on."""
        self._pools = [pool for pool in pools if pool.provider.watched]
        self._others.set()

    def __bool__(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self._pools)

    async def run(self) -> None:
        """Look after all of them until cancelled, and after others where there are others."""
        while True:
            self._others.clear()
            async with asyncio.TaskGroup() as following:
                tasks = [following.create_task(work) for pool in self._pools for work in self._works(pool)]
                await self._others.wait()
                for task in tasks:
                    task.cancel()

    def _works(self, pool: Pool) -> Iterator[Coroutine[None, None, None]]:
        if pool.provider.dns:
            yield self._follow_name(pool)
        if pool.provider.engine is not None:
            yield self._follow_servers(pool)

    async def look(self) -> None:
        """Look at each of them once."""
        await asyncio.gather(*(self._look(pool) for pool in self._pools))

    async def resolve(self, pool: Pool) -> None:
        """Find the servers of a pool by its name. Where nobody can, those known stay."""
        url = urlsplit(pool.provider.base_url)
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await self._resolver(url.hostname or "", port)
        except TimeoutError:
            pool.why_unresolved = f"its name was not resolved within {RESOLVE_S:g} s"
        except OSError as error:
            pool.why_unresolved = f"its name cannot be resolved ({type(error).__name__})"
        else:
            for gone in pool.found(found):
                await gone.connections.aclose()

    async def _look(self, pool: Pool) -> None:
        if pool.provider.dns:
            await self.resolve(pool)
        await self._ask(pool)

    async def _follow_name(self, pool: Pool) -> None:
        while True:
            async with pool.resolving:
                await self.resolve(pool)
            await asyncio.sleep(pool.provider.dns_every_s)

    async def _follow_servers(self, pool: Pool) -> None:
        while True:
            await self._ask(pool)
            await asyncio.sleep(pool.provider.watch_every_s)

    async def _ask(self, pool: Pool) -> None:
        engine = pool.provider.engine
        if engine is not None:
            for_s = ROUNDS * pool.provider.watch_every_s + ANSWER_S
            asked = (_ask(replica, DIALECTS[engine], for_s) for replica in pool.replicas if not replica.draining)
            await asyncio.gather(*asked)


async def _ask(replica: Replica, dialect: Dialect, for_s: float) -> None:
    """Ask one server whether it can serve, and what it has to do: figures that are true for so long."""
    try:
        status, _ = await replica.connections.page(dialect.health, MAX_HEALTH_BYTES, ANSWER_S)
    except Timeout:
        replica.silent(f"it does not answer within {ANSWER_S:g} s")
        return
    except BackendError as error:
        replica.says(_said(replica, error))
        return
    if status >= 500:
        replica.says(f"its health page answers {status}")
        return
    replica.says(None, sure=200 <= status < 300)
    if dialect.tells:
        await _ask_load(replica, dialect, for_s)
    elif status >= 300:
        replica.unread(f"its health page answers {status}")


async def _ask_load(replica: Replica, dialect: Dialect, for_s: float) -> None:
    try:
        status, page = await replica.connections.page(METRICS, MAX_METRICS_BYTES, ANSWER_S)
        if status != 200:
            replica.unread(f"its metrics page answers {status}")
            return
        load = await asyncio.to_thread(read, dialect, page.decode("utf-8", "replace"))
    except BackendError as error:
        replica.unread(_said(replica, error))
    else:
        replica.tells(load, time.monotonic() + for_s)


def _said(replica: Replica, error: BackendError) -> str:
    """An error without whose it is: that is said beside it."""
    return str(error).removeprefix(f"provider {replica.connections.name}: ")
