"""The batches of this process: made, begun, cancelled, and gone on with after a start; a few of them run at a time."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from router.batches.running import Run
from router.batches.types import Batch, Fault, new_batch_id, new_file_id
from router.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from router.batches.store import Store
    from router.batches.types import Ask, Given

MOST_UNENDED = 100  # batches of one tenant that have not ended
MOST_KEPT = 10_000  # batches of one tenant, with those that have ended
MOST_WINDOW_S = 30 * 86400
SWEEP_S = 3600.0
_SECONDS = {"m": 60, "h": 3600, "d": 86400}

logger = logging.getLogger("nearfar.batches")


class Batches:
    """All batches of one store. Everything happens on the event loop.

    Args:
        ask: What answers a line.
        endpoints: Those that lines may be for.
        longest: Bytes of the longest line that is read.
    """

    def __init__(self, store: Store, ask: Ask, endpoints: Collection[str], longest: int) -> None:
        self.store = store
        self._ask = ask
        self._endpoints = endpoints
        self._longest = longest
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._given_up: set[str] = set()  # until the next start: their state cannot be kept
        self._open = False

    @asynccontextmanager
    async def running(self, grace_s: float) -> AsyncIterator[None]:
        """Go on with what had not ended, and run what is made, inside. Lines under way at the end have `grace_s`."""
        await asyncio.to_thread(self.store.clean)
        self._open = True
        sweeping = asyncio.create_task(self._sweeping(), name="sweeping batches")
        self._begin()
        try:
            yield
        finally:
            self._open = False
            sweeping.cancel()
            await self._stopped(grace_s)
            await asyncio.wait([sweeping])

    async def make(self, given: Given, tenant: str) -> Batch:
        """A new batch, which begins as soon as there is room.

        Raises:
            InvalidRequest: naming the field that is wrong.
            NoSuchResource: there is no such file of this tenant.
        """
        if given.endpoint not in self._endpoints:
            known = ", ".join(sorted(self._endpoints))
            raise InvalidRequest(f"endpoint: {given.endpoint!r} takes no batches; one of: {known}.", param="endpoint")
        window_s, now = _window_s(given.completion_window), self.store.clock()
        file = self.store.file(given.input_file_id, tenant)
        if file.purpose != "batch":
            said = f"input_file_id: {file.id} has the purpose {file.purpose!r}; it must be 'batch'."
            raise InvalidRequest(said, param="input_file_id")
        self._check_room(tenant)
        batch = Batch(
            id=new_batch_id(),
            tenant=tenant,
            endpoint=given.endpoint,
            input_file_id=file.id,
            completion_window=given.completion_window,
            expires_at=int(now) + window_s,
            output_file_id=new_file_id(),
            error_file_id=new_file_id(),
            at={"validating": int(now)},
            metadata=given.metadata,
            routing=given.routing,
            max_cost_usd=given.max_cost_usd,
            output_expires_s=given.output_expires_s,
        )
        await self.store.keep(batch)
        self._begin()
        return batch

    def _check_room(self, tenant: str) -> None:
        own = [batch for batch in self.store.batches.values() if batch.tenant == tenant]
        if sum(not batch.ended for batch in own) >= MOST_UNENDED:
            raise InvalidRequest(f"{MOST_UNENDED} of your batches have not ended yet: wait, or cancel some.")
        if len(own) >= MOST_KEPT:
            raise InvalidRequest(f"{MOST_KEPT} of your batches are kept; they are deleted after a time.")

    async def cancel(self, batch_id: str, tenant: str | None) -> Batch:
        """Begin no further line and stop those under way; what is answered stays.

        Raises:
            NoSuchResource: this tenant has none of this id.
            InvalidRequest: it has ended, or all its lines have.
        """
        batch = self.store.batch(batch_id, tenant)
        if batch.state == "cancelling":
            return batch
        if batch.ended or batch.state == "finalizing":
            raise InvalidRequest(f"The batch {batch.id} is {batch.state}: there is nothing to cancel.")
        await self.store.keep(batch.moved("cancelling", self.store.clock()))
        if batch_id in self._runs:
            self._runs[batch_id][0].abort()
        else:
            self._start(batch_id)
        return self.store.batches[batch_id]

    async def delete_file(self, file_id: str, tenant: str | None) -> None:
        """Delete a file.

        Raises:
            NoSuchResource: this tenant has none of this id.
            InvalidRequest: a batch that has not ended reads it.
        """
        file = self.store.file(file_id, tenant)
        reads = next((b for b in self.store.batches.values() if b.input_file_id == file.id and not b.ended), None)
        if reads is not None:
            raise InvalidRequest(f"The file {file.id} is read by {reads.id}, which is {reads.state}: cancel it first.")
        await self.store.delete_file(file.id)

    def _begin(self) -> None:
        """Start batches while there is room: those of tenants who have the fewest running, the oldest first."""
        taken = {*self._runs, *self._given_up}
        waiting = [b for b in self.store.batches.values() if not b.ended and b.id not in taken]
        while waiting and self._open and len(self._runs) < self.store.settings.running:
            busy = Counter(self.store.batches[batch_id].tenant for batch_id in self._runs)
            first = min(waiting, key=lambda batch: (busy[batch.tenant], batch.created_at, batch.id))
            waiting.remove(first)
            self._start(first.id)

    def _start(self, batch_id: str) -> None:
        run = Run(self.store, batch_id, self._ask, self._longest)
        task = asyncio.create_task(self._run(run), name=f"batch {batch_id}")
        self._runs[batch_id] = run, task
        task.add_done_callback(lambda _: self._ended(batch_id))

    def _ended(self, batch_id: str) -> None:
        del self._runs[batch_id]
        self._begin()

    async def _run(self, run: Run) -> None:
        """Run one; whatever ends it is told in the batch, and ends nothing else."""
        try:
            await run.run()
        except Exception as error:  # noqa: BLE001 -- a bug, or a disk that is full, belongs to this batch
            kind = type(_cause(error)).__name__
            logger.warning("%s was ended by an error (%s)", run.batch.id, kind)
            await self._failed(run, kind)

    async def _failed(self, run: Run, kind: str) -> None:
        try:
            await run.end("failed", Fault("internal_error", f"The batch could not go on ({kind})."))
        except OSError as error:
            self._given_up.add(run.batch.id)
            logger.warning(
                "%s cannot be kept (%s); it goes on after the next start", run.batch.id, type(error).__name__
            )

    async def _stopped(self, grace_s: float) -> None:
        for run, _ in self._runs.values():
            run.stop()
        tasks = {task for _, task in self._runs.values()}
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for run, _ in list(self._runs.values()):
            run.abort()
        if tasks:
            await asyncio.wait(tasks)

    async def _sweeping(self) -> None:
        while True:
            try:
                await self.store.swept()
            except OSError as error:
                logger.warning("old files of batches cannot be deleted (%s)", type(error).__name__)
            await asyncio.sleep(SWEEP_S)


def _window_s(window: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", window)
    seconds = 0 if found is None else int(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= MOST_WINDOW_S:
        said = f"completion_window: {window[:20]!r} is not a time such as 24h (m, h or d, at most 30d)."
        raise InvalidRequest(said, param="completion_window")
    return seconds


def _cause(error: BaseException) -> BaseException:
    """What went wrong first in a group of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
