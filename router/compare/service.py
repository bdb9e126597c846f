"""The comparison that a server runs in the background: one at a time, as two would measure each other."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from router.compare.job import prepared
from router.compare.running import Running
from router.errors import TooManyRequests

if TYPE_CHECKING:
    from router.compare.job import Parts
    from router.compare.run import Run
    from router.compare.suite import Suite

CANCELLED = "cancelled"
CLOSING = "the server ended"
AGAIN_S = 10.0

logger = logging.getLogger("nearfar.compare")


class _Here(NamedTuple):
    running: Running
    task: asyncio.Task[Run]
    tenant: str


class Comparisons:
    """Starts runs, and knows the one under way. Everything happens on the event loop; what has ended is in the log."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._here: _Here | None = None
        self._preparing = False

    async def start(self, suite: Suite, tenant: str) -> Run:
        """Prepare a suite, which may load models, and begin its run.

        Raises:
            TooManyRequests: another one is under way.
            InvalidRequest: it cannot be run here.
        """
        if self._preparing or self._here is not None:
            why = "Another comparison is under way here, and they would measure each other: begin when it has ended."
            raise TooManyRequests(why, "comparisons", AGAIN_S)
        self._preparing = True
        try:
            job = await prepared(self._parts, suite, None, tenant)
        finally:
            self._preparing = False
        running = Running(self._parts, job)
        task = asyncio.create_task(running.go(), name=f"comparison {running.run.run_id}")
        self._here = _Here(running, task, tenant)
        task.add_done_callback(self._ended)
        return running.run

    def under_way(self, run_id: str, sees: str | None) -> Running | None:
        """The run of this id, if it is under way and may be seen."""
        here = self._here
        if here is None or here.running.run.run_id != run_id or sees not in {None, here.tenant}:
            return None
        return here.running

    async def cancel(self, run_id: str, sees: str | None) -> bool:
        """Stop a run: nothing begins, and what is under way is given up. False where it is not under way."""
        running = self.under_way(run_id, sees)
        if running is None or self._here is None:
            return False
        await self._stopped(self._here, CANCELLED)
        return True

    async def aclose(self) -> None:
        """Stop what is under way; its trials are kept."""
        if self._here is not None:
            await self._stopped(self._here, CLOSING)

    async def _stopped(self, here: _Here, why: str) -> None:
        here.running.stop(why)
        here.task.cancel()
        await asyncio.wait([here.task])

    def _ended(self, task: asyncio.Task[Run]) -> None:
        self._here = None
        if not task.cancelled() and task.exception() is not None:
            logger.error("%s was ended by a bug (%s)", task.get_name(), type(task.exception()).__name__)
