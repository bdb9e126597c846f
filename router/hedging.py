"""A second attempt beside a slow first one: when it pays, where it goes, and how often; the first good answer wins.

Only the wait for the first byte is hedged: how long a generation takes in all is its length, and a second one would be
as long. So by default only tasks are hedged whose work is the same every time and whose answer comes at once. A hedge
starts when the candidate's own 95th percentile has passed (Dean and Barroso, "The Tail at Scale", CACM 2013), and a
bucket bounds how many there are: each request that could be hedged adds a share of one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from backends.types import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from router.patience import Patience
    from router.runs import Run
    from router.section_of_routing import HedgingSettings
    from router.slate import Candidate, Plan

CONSTANT_WORK = frozenset({
    Task.FEATURE_EXTRACTION, Task.TEXT_CLASSIFICATION, Task.ZERO_SHOT_CLASSIFICATION, Task.IMAGE_CLASSIFICATION,
})  # fmt: skip
MOST_SAVED = 10.0  # hedges that a quiet time may save up for a bad one


class Hedging:
    """Whether and when to hedge. One instance per process."""

    def __init__(self, settings: HedgingSettings, patience: Patience) -> None:
        self._settings = settings
        self._patience = patience
        self._saved = 0.0

    def become(self, settings: HedgingSettings) -> None:
        """Go by these settings from now on."""
        self._settings = settings

    def after_s(self, plan: Plan, candidate: Candidate) -> float | None:
        """How long to wait for the candidate's first byte before a second attempt; None where there is to be none."""
        request = plan.call.request
        constant = request.task in CONSTANT_WORK
        costly = self._settings.costly and (request.stream or not plan.generates)
        if self._settings.to == "off" or candidate.near or request.background or not (constant or costly):
            return None
        self._saved = min(MOST_SAVED, self._saved + self._settings.share)
        return self._patience.hedge_after_s(candidate, plan.size)

    def allows(self, candidate: Candidate) -> bool:
        """Whether a second attempt may go there."""
        return candidate.near or self._settings.to == "any"

    def take(self) -> bool:
        """Take one hedge out of the bucket, if there is one."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True


async def first_of(run: Run, after_s: float, second: Callable[[], Run | None]) -> Run:
    """The run that begins to answer first. The other one is stopped, and its end is written down.

    Args:
        run: The first attempt.
        after_s: How long it has for itself.
        second: Makes the second attempt; None where there can be none.
    """
    tasks = {asyncio.create_task(run.begin()): run}
    winner: Run | None = None
    try:
        done, _ = await asyncio.wait(tasks, timeout=after_s)
        other = None if done else second()
        if other is not None:
            tasks[asyncio.create_task(other.begin())] = other
        winner = await _first_good(tasks)
        return winner
    finally:
        try:
            await _to_its_end(_stopped(tasks, winner))
        except asyncio.CancelledError:
            if winner is not None:  # nobody will take it over
                await _to_its_end(winner.aclose())
            raise


async def _stopped(tasks: dict[asyncio.Task[None], Run], winner: Run | None) -> None:
    """End all runs but the winner."""
    losers = {task: run for task, run in tasks.items() if run is not winner}
    for task in losers:
        task.cancel()
    if losers:
        await asyncio.wait(losers)
    for run in losers.values():
        await run.aclose()
        if winner is not None and winner.answers:
            run.lost()


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Wait for work that must be done, also when whoever waits is cancelled meanwhile; that is raised afterwards."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


async def _first_good(tasks: dict[asyncio.Task[None], Run]) -> Run:
    """Whoever answers first; where nobody does, the one that was begun first."""
    waiting = dict(tasks)
    while waiting:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a bug is raised on
            if waiting.pop(task).answers:
                return tasks[task]
    return next(iter(tasks.values()))
