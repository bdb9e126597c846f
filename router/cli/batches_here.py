"""Batches in this machine's own folder: worked through by this process, which then owns the log, or only looked at."""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from router.batches.service import Batches
from router.batches.store import Store
from router.batches.types import Answer, Given, Question, new_file_id
from router.cli.console import configured, opened_log
from router.house import open_house
from router.http.batch_lines import ENDPOINTS, batching
from router.http.batches import shown
from router.settings import batches_dir

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOOK_S = 0.2


async def run(config: Path | None, file: Path, wanted: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Make a batch of the file and run it; its states, until it has ended."""
    async with _batches(config) as batches:
        store, file_id = batches.store, new_file_id()
        await store.made()
        await asyncio.to_thread(shutil.copyfile, file, store.data(file_id))
        await store.take_in(file_id, "", file.name, "batch")
        made = await batches.make(Given(input_file_id=file_id, **wanted), "")
        async for told in _states(batches, [made.id]):
            yield told


async def resumed(config: Path | None) -> AsyncIterator[dict[str, Any]]:
    """Go on with what has not ended; the states of all of it, until it has."""
    async with _batches(config) as batches:
        unended = [batch.id for batch in batches.store.batches.values() if not batch.ended]
        async for told in _states(batches, unended):
            yield told


@asynccontextmanager
async def _batches(config: Path | None) -> AsyncIterator[Batches]:
    settings, secrets = configured(config)
    log = await asyncio.to_thread(opened_log, settings)
    async with open_house(settings, secrets, log) as house, batching(house, settings.server.drain_timeout_s) as batches:
        yield batches


async def _states(batches: Batches, ids: list[str]) -> AsyncIterator[dict[str, Any]]:
    left = set(ids)
    while left:
        for batch_id in sorted(left):
            batch = batches.store.batches[batch_id]
            if batch.ended:
                left.discard(batch_id)
            yield shown(batch)
        await asyncio.sleep(LOOK_S if left else 0)


class Reader:
    """Looks at the folder. While a server runs there it shows what that one wrote last, not what it knows."""

    def __init__(self, config: Path | None) -> None:
        self._settings, _ = configured(config)
        folder = batches_dir(self._settings)
        self._store = Store.opened(folder, self._settings.batches, time.time)

    def every(self) -> list[dict[str, Any]]:
        """All batches, newest first."""
        return [shown(batch) for batch in self._store.batches.values()][::-1]

    def one(self, batch_id: str) -> dict[str, Any]:
        """One batch.

        Raises:
            NoSuchResource: there is none of this id.
        """
        return shown(self._store.batch(batch_id, None))

    def copy(self, file_id: str, target: BinaryIO) -> None:
        """Write a file's content.

        Raises:
            NoSuchResource: there is none of this id.
        """
        file = self._store.file(file_id, None)
        with self._store.data(file.id).open("rb") as source:
            shutil.copyfileobj(source, target)

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """End a batch that no server is working on.

        Raises:
            LogLocked: a server runs here; ask that one.
            NoSuchResource, InvalidRequest: as `Batches.cancel`.
        """
        log = opened_log(self._settings)
        try:
            return asyncio.run(self._cancelled(batch_id))
        finally:
            log.close()

    async def _cancelled(self, batch_id: str) -> dict[str, Any]:
        batches = Batches(self._store, _nobody, ENDPOINTS, self._settings.server.max_body_bytes)
        await batches.cancel(batch_id, None)
        async for _ in _states(batches, [batch_id]):
            pass
        return self.one(batch_id)


async def _nobody(question: Question) -> Answer:
    raise AssertionError(f"a batch that is cancelled asks nothing: {question.request_id}")
