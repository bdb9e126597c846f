"""Work that runs only while nobody needs this machine, and when that is.

A shadow runs one piece at a time and gives way to whatever comes. A line of a batch begins when nobody who sits and
waits is served near. One that holds the device for long gives way to them later as well, and is asked again; not so
the quick ones, whose end is sooner than their stop, nor those that were stopped often enough.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from backends.types import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = frozenset({Task.TEXT_GENERATION, Task.TEXT_TO_IMAGE, Task.AUTOMATIC_SPEECH_RECOGNITION})
"""Tasks of which one request may hold a device for seconds."""


class Standby:
    """Holds the piece of such work that runs, if any. Everything happens on the event loop.

    Attributes:
        preempted: How many pieces had to give way.
    """

    def __init__(self) -> None:
        self.preempted = 0
        self._task: asyncio.Task[Any] | None = None
        self._served = 0
        self._giving_way: set[asyncio.Task[Any]] = set()
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

    @contextmanager
    def giving_way(self) -> Iterator[None]:
        """Cancel this task when somebody who sits and waits needs this machine, while it is inside."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- an attempt runs in a task
        self._giving_way.add(task)
        try:
            yield
        finally:
            self._giving_way.discard(task)

    def claim(self) -> None:
        """Somebody who sits and waits needs this machine: what gives way is cancelled, if anything does."""
        while self._giving_way:
            self._giving_way.pop().cancel()

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
