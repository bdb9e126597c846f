"""Work that runs only while nobody needs this machine, and when that is.

A shadow runs one piece at a time and gives way at once. A line of a batch is somebody's own request, paid for and begun
once: it begins when nobody who sits and waits is served near, and goes on to its end.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Standby:
    """Holds the piece of such work that runs, if any. Everything happens on the event loop.

    Attributes:
        preempted: How many pieces had to give way.
    """

    def __init__(self) -> None:
        self.preempted = 0
        self._task: asyncio.Task[Any] | None = None
        self._served = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def busy(self) -> bool:
        """Whether somebody who sits and waits is served near now."""
        return self._served > 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Somebody who sits and waits is served near inside."""
        self._served += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._served -= 1
            if not self._served:
                self._quiet.set()

    async def quiet(self) -> None:
        """Return when nobody who sits and waits is served near."""
        await self._quiet.wait()

    def take(self, task: asyncio.Task[Any]) -> None:
        """This runs now, until it gives way or has `left`."""
        self._task = task

    def left(self) -> None:
        """Nothing runs any more that would have to give way."""
        self._task = None

    @property
    def runs(self) -> bool:
        """Whether a piece runs that has not been told to give way."""
        return self._task is not None

    def disturb(self) -> bool:
        """Somebody needs the machine: what runs is cancelled. Returns whether anything did; costs nothing if not."""
        if self._task is None:
            return False
        self._task.cancel()
        self._task = None
        self.preempted += 1
        return True
