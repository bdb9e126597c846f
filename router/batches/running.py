"""Runs one batch: counts its lines, asks them a few at a time, writes each answer down once, and closes the books.

It can be stopped anywhere and begun again: which lines are done is read from what was written, by
`router.batches.sheets`. A line that was under way then is asked again; it has a decision row for each time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from router.batches.lines import Reading, Source, surveyed
from router.batches.sheets import Account, Sheets, Tally, tallied
from router.batches.types import Answer, Batch, Fault, Line, Question, entry_id
from router.batches.wishes import with_wishes

if TYPE_CHECKING:
    from router.batches.store import Store
    from router.batches.types import Ask, State

TRIES = 5
STOPS = 3  # so often a line gives way to others; then it is run to its end
PATIENT = frozenset({429, 503, 504})  # statuses that pass: too much to do, or too late because of it
LONGEST_PAUSE_S = 60.0
SHORTEST_PAUSE_S = 0.05

encode = msgspec.json.encode


class Run:
    """One batch under way.

    Args:
        ask: What answers a line.
        longest: Bytes of the longest line that is read.
    """

    def __init__(self, store: Store, batch_id: str, ask: Ask, longest: int) -> None:
        self._store = store
        self._id = batch_id
        self._ask = ask
        self._longest = longest
        self._places = asyncio.Semaphore(store.settings.at_once)
        self._stopping = False
        self._asking: asyncio.Task[None] | None = None
        self._expired = False

    @property
    def batch(self) -> Batch:
        """The batch as it is now."""
        return self._store.batches[self._id]

    def stop(self) -> None:
        """Begin no further line. What is under way may end; `abort` ends that, too."""
        self._stopping = True

    def abort(self) -> None:
        """Stop at once: what is under way is cancelled, and nothing is written of it."""
        self._stopping = True
        if self._asking is not None:
            self._asking.cancel()

    async def run(self) -> None:
        """Take the batch as far as it goes, from whatever state it is in.

        Raises:
            OSError: the folder cannot be read or written.
        """
        if self.batch.state == "validating":
            await self._validate()
        if self.batch.state == "in_progress" and not self._stopping:
            await self._answer()
        if self.batch.state == "finalizing":
            await self.end("completed")
        elif self.batch.state == "cancelling":
            await self.end("cancelled")

    async def end(self, state: State, *faults: Fault) -> None:
        """Make files of what was written, and let the batch end so.

        Raises:
            OSError: the folder cannot be read or written.
        """
        await self._take(await self._tally())
        batch = self.batch
        for file_id, what in ((batch.output_file_id, "output"), (batch.error_file_id, "error")):
            await self._filed(file_id, f"{batch.id}_{what}.jsonl")
        if state == "expired" and self.batch.state == "cancelling":  # somebody was faster
            state = "cancelled"
        await self._moved(state, errors=(*batch.errors, *faults))

    async def _validate(self) -> None:
        batch, settings = self.batch, self._store.settings
        path = self._store.data(batch.input_file_id)
        found = await asyncio.to_thread(surveyed, path, self._longest, settings.max_lines)
        if self.batch.state != "validating":  # it was cancelled meanwhile
            return
        if isinstance(found, Fault):
            await self._moved("failed", errors=(found,))
        else:
            await self._moved("in_progress", total=found)

    async def _answer(self) -> None:
        """Ask every line that has no answer yet."""
        tally = await self._tally()
        await self._take(tally)
        self._expired = tally.expired
        batch, data = self.batch, self._store.data
        sheets = await asyncio.to_thread(Sheets, data(batch.output_file_id), data(batch.error_file_id))
        self._asking = asyncio.create_task(self._lines(tally.done, sheets), name=f"lines of {self._id}")
        if self._stopping:
            self._asking.cancel()
        await asyncio.wait([self._asking])
        await sheets.close()
        if not self._asking.cancelled():
            self._asking.result()
        if self.batch.state != "in_progress":
            return
        if self._stopping:  # how far it is, for whoever looks before it goes on
            await self._take(await self._tally())
            await self._store.keep(self.batch)
        else:
            await (self.end("expired") if self._expired else self._moved("finalizing"))

    async def _lines(self, done: set[int], sheets: Sheets) -> None:
        batch, clock = self.batch, self._store.clock
        reading = Reading(batch.endpoint, self._longest)
        source = Source(self._store.data(batch.input_file_id), self._longest)
        try:
            async with asyncio.TaskGroup() as group:
                while (raw := await asyncio.to_thread(source.next)) is not None:
                    line = reading.line(raw)
                    if raw.number in done:
                        continue
                    await self._places.acquire()
                    if self._stopping:
                        break
                    task = group.create_task(self._one(line, raw.number, sheets, batch.expires_at - clock()))
                    task.add_done_callback(lambda _: self._places.release())
        finally:
            await asyncio.to_thread(source.close)

    async def _one(self, line: Line | Fault, number: int, sheets: Sheets, left_s: float) -> None:
        """Answer one line, and write it down."""
        answer = line if isinstance(line, Fault) else await self._within(line, left_s)
        failed = isinstance(answer, Fault) or answer.status >= 400
        await sheets.add(_entry(self._id, number, line.custom_id, answer), failed=failed)
        self._count(answer, failed=failed)

    async def _within(self, line: Line, left_s: float) -> Answer | Fault:
        """The line's answer, within what the batch may still take and spend."""
        most = self.batch.max_cost_usd
        if most is not None and self.batch.cost_usd >= most:
            return Fault("max_cost_reached", f"The batch had spent its max_cost_usd of {most} before.", line.number)
        late = asyncio.timeout(left_s)
        try:
            async with late:
                if left_s > 0:
                    return await self._answered(line, left_s)
        except TimeoutError:
            if not late.expired():
                raise
        self._expired = True
        return Fault("batch_expired", "The completion window ended before the line was answered.", line.number)

    async def _answered(self, line: Line, left_s: float) -> Answer:
        """Ask, and again where that may help after a while: nobody sits and waits for this answer."""
        batch, tries, stops = self.batch, 0, 0
        while True:
            left_usd = None if batch.max_cost_usd is None else max(0.0, batch.max_cost_usd - self.batch.cost_usd)
            question = Question(
                endpoint=batch.endpoint,
                body=with_wishes(line.body, batch.routing, left_usd, left_s),
                tenant=batch.tenant,
                request_id=entry_id(batch.id, line.number),
                firm=stops >= STOPS,
            )
            answer = await self._asked(question)
            if answer is None:
                stops += 1
                continue
            tries += 1
            if answer.status not in PATIENT or tries == TRIES:
                return answer
            await asyncio.sleep(min(LONGEST_PAUSE_S, max(SHORTEST_PAUSE_S, answer.retry_after_s or 0.0)))

    async def _asked(self, question: Question) -> Answer | None:
        """The answer; None where it gave way to somebody. It has ended in any case when this returns."""
        task = asyncio.create_task(self._ask(question), name=question.request_id)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        return None if task.cancelled() else task.result()

    def _count(self, answer: Answer | Fault, *, failed: bool) -> None:
        """Progress is told from memory; on disk it follows from the sheets."""
        batch = self.batch
        changes: dict[str, Any] = {"failed": batch.failed + 1} if failed else {"completed": batch.completed + 1}
        if not failed and isinstance(answer, Answer):
            changes["cost_usd"] = batch.cost_usd + (answer.cost_usd or 0.0)
            changes["unpriced"] = batch.unpriced + (answer.cost_usd is None)
        self._store.batches[self._id] = replace(batch, **changes)

    async def _filed(self, file_id: str, name: str) -> None:
        path, batch = self._store.data(file_id), self.batch
        size = await asyncio.to_thread(lambda: path.stat().st_size if path.exists() else 0)
        if not size:
            await self._store.delete_file(file_id)
            return
        await self._store.take_in(file_id, batch.tenant, name, "batch_output", batch.output_expires_s)

    async def _tally(self) -> Tally:
        data = self._store.data
        return await asyncio.to_thread(tallied, data(self.batch.output_file_id), data(self.batch.error_file_id))

    async def _take(self, tally: Tally) -> None:
        self._store.batches[self._id] = replace(
            self.batch,
            completed=tally.completed,
            failed=tally.failed,
            cost_usd=tally.cost_usd,
            unpriced=tally.unpriced,
        )

    async def _moved(self, state: State, **changes: Any) -> None:
        await self._store.keep(self.batch.moved(state, self._store.clock(), **changes))


def _entry(batch_id: str, number: int, custom_id: str | None, answer: Answer | Fault) -> bytes:
    """What is written of a line, in OpenAI's shape, with what only we know beside it. One line of JSON."""
    told: dict[str, Any] = {"id": entry_id(batch_id, number), "custom_id": custom_id}
    if isinstance(answer, Fault):
        account = Account(number, batch_error=answer.code)
        fault = {"code": answer.code, "message": answer.message, "line": answer.line}
        return encode(told | {"response": None, "error": fault, "nearfar": account})
    body = Raw(answer.body) if b"\n" not in answer.body else msgspec.json.decode(answer.body)
    response = {"status_code": answer.status, "request_id": told["id"], "body": body}
    account = Account(number, answer.decision_id, answer.backend, answer.cost_usd)
    return encode(told | {"response": response, "error": None, "nearfar": account})
