"""Work that runs only while nobody needs this machine: one piece at a time, which gives way at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


class Standby:
    """Holds the piece of such work that runs, if any. Everything happens on the event loop.

    Attributes:
        preempted: How many pieces had to give way.
    """

    def __init__(self) -> None:
        self.preempted = 0
        self._task: asyncio.Task[Any] | None = None

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
