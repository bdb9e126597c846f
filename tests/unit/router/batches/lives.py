"""A process with batches that can be killed at any write: what was not written by then is gone, as with kill -9."""

import asyncio
import json
import os
from pathlib import Path
from unittest.mock import patch

from router.batches import sheets, store
from router.batches.service import Batches
from router.batches.store import Store
from router.batches.types import Answer, Given, Question, StoredFile
from router.section import BatchSettings
from tests.unit.router.test_overload import until

ENDPOINT = "/v1/chat/completions"
HOUR_S = 3600.0


class Killed(BaseException):
    """The process is gone."""


class Disk:
    """Counts writes, and lets the `last`-th one through only to the given share of its bytes; nothing after it."""

    def __init__(self, last: int | None = None, share: float = 0.5) -> None:
        self.left = last
        self._share = share
        self.writes = 0

    def __enter__(self):
        replaced, written = store._replaced, sheets._written

        def replacing(path, value):
            if self._dead():
                if self.left == 0 and self._share > 0.5:
                    self.left = -1
                    replaced(path, value)  # in place, but nobody heard of it
                self.left = -1
                raise Killed
            replaced(path, value)

        def writing(descriptor, content):
            if self._dead():
                if self.left == 0:
                    os.write(descriptor, content[: int(len(content) * self._share)])
                self.left = -1
                raise Killed
            written(descriptor, content)

        self._patches = [patch.object(store, "_replaced", replacing), patch.object(sheets, "_written", writing)]
        for each in self._patches:
            each.start()
        return self

    def __exit__(self, *_):
        for each in self._patches:
            each.stop()

    def _dead(self) -> bool:
        self.writes += 1
        if self.left is None:
            return False
        if self.left > 0:
            self.left -= 1
        return self.left <= 0


async def echo(question: Question) -> Answer:
    """Answers at once, with what was asked."""
    return Answer(status=200, body=question.body, cost_usd=0.25)


def line(custom_id: str, **body) -> str:
    """A well-formed line."""
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": {"model": "m"} | body})


class Life:
    """One process over a folder of batches."""

    def __init__(self, folder: Path, ask=echo, *, clock=lambda: 1_000_000.0, longest: int = 10_000, **settings) -> None:
        self.store = Store.opened(folder, BatchSettings(**settings), clock)
        self.batches = Batches(self.store, ask, {ENDPOINT}, longest)

    async def file(self, text: str | bytes, tenant: str = "", file_id: str = "file-in") -> StoredFile:
        """A file that was uploaded."""
        content = text.encode() if isinstance(text, str) else text
        await self.store.made()
        self.store.data(file_id).write_bytes(content)
        return await self.store.take_in(file_id, tenant, "in.jsonl", "batch", 86400)

    async def begun(self, text: str | bytes, tenant: str = "", **given):
        """A batch of these lines, just made."""
        file = await self.file(text, tenant, f"file-in{len(self.store.files)}")
        return await self.batches.make(Given(**{"input_file_id": file.id, "endpoint": ENDPOINT} | given), tenant)

    async def ended(self, batch_id: str):
        """The batch, once nothing more becomes of it."""
        await until(lambda: self.store.batches[batch_id].ended)
        return self.store.batches[batch_id]

    def entries(self, batch_id: str) -> tuple[list[dict], list[dict]]:
        """What is written of its lines: answers, and errors."""
        batch = self.store.batches[batch_id]
        paths = [self.store.data(batch.output_file_id), self.store.data(batch.error_file_id)]
        answers, errors = ([*map(json.loads, p.read_text().splitlines())] if p.exists() else [] for p in paths)
        return answers, errors


def run(go):
    return asyncio.run(go())
