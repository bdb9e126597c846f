"""One call of a replica, watched: its end, its limits, and whoever stops waiting for it. Knows no deployment."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from backends.errors import Timeout
from backends.ray import wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from backends.ray.link import Reply
    from backends.types import Limits


async def whole(reply: Reply, limits: Limits) -> Any:
    """What a replica answers. Cancelling the wait stops the work.

    Raises:
        BackendError: what the replica failed with, or a limit.
    """
    try:
        async with _bounded(_least(limits.first_token_s, limits.total_s), "the answer"):
            return wire.value_of(await anext(reply))
    except BaseException:
        reply.cancel()
        raise


async def pieces(reply: Reply, limits: Limits) -> AsyncGenerator[Any, None]:
    """What a replica says, piece by piece. Closing it early stops the work.

    Raises:
        BackendError: what the replica failed with, or a limit.
    """
    loop, silent_s, what = asyncio.get_running_loop(), limits.first_token_s, "the first piece"
    ends = None if limits.total_s is None else loop.time() + limits.total_s
    try:
        while True:
            left_s = None if ends is None else max(0.0, ends - loop.time())
            try:
                async with _bounded(_least(silent_s, left_s), what):
                    body = await anext(reply)
            except StopAsyncIteration:
                return
            yield wire.value_of(body)
            silent_s, what = limits.idle_s, "the next piece"
    finally:
        reply.cancel()  # of one that has ended it changes nothing


@asynccontextmanager
async def _bounded(limit_s: float | None, what: str) -> AsyncIterator[None]:
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise Timeout(f"{what} did not come within {limit_s:g} s") from error


def _least(*seconds: float | None) -> float | None:
    return min((value for value in seconds if value is not None), default=None)
