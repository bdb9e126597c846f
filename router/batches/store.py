"""Files and batches on disk, in one folder that this process owns. What is where is known in memory, too.

    files/ID.jsonl     what was sent, and what came of it
    files/ID.json      whose it is, and for how long; a file without one is no file yet
    batches/ID.json    a batch and its state

A JSON file is replaced as a whole, so a kill leaves the one before it or the one after it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from backends.writing import replace_whole
from router.batches.types import Batch, StoredFile
from router.errors import NoSuchResource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.batches.types import Purpose
    from router.section import BatchSettings

logger = logging.getLogger("nearfar.batches")

Kept = TypeVar("Kept", Batch, StoredFile)


class Store:
    """The folder. Everything but `opened` belongs to the event loop; what blocks runs in threads.

    Attributes:
        files, batches: By id, oldest first, also those whose time is over and which `swept` has not met yet.
    """

    def __init__(self, folder: Path, settings: BatchSettings, clock: Callable[[], float]) -> None:
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, Batch] = {}
        self.settings = settings
        self.clock = clock
        self._files = folder / "files"
        self._batches = folder / "batches"
        self._folder = folder
        self._writing = asyncio.Lock()

    @classmethod
    def opened(cls, folder: Path, settings: BatchSettings, clock: Callable[[], float]) -> Store:
        """The store of this folder, which need not be there yet. Blocks.

        Raises:
            OSError: it cannot be read.
        """
        store = cls(folder, settings, clock)
        store.batches = _all(store._batches, Batch, lambda batch: batch.created_at)
        store.files = _all(store._files, StoredFile, lambda file: file.created_at)
        return store

    def data(self, file_id: str) -> Path:
        """Where the content of a file is, or will be. The id must be one of ours."""
        return self._files / f"{file_id}.jsonl"

    async def made(self) -> None:
        """Make the folder, for its owner only."""
        await asyncio.to_thread(self._make)

    def file(self, file_id: str, tenant: str | None) -> StoredFile:
        """A file of this tenant; None sees everybody's.

        Raises:
            NoSuchResource: there is none, or it is somebody else's.
        """
        found = self.files.get(file_id)
        if found is None or found.expires_at <= self.clock() or tenant not in {None, found.tenant}:
            raise NoSuchResource("file", file_id)
        return found

    def batch(self, batch_id: str, tenant: str | None) -> Batch:
        """A batch of this tenant; None sees everybody's.

        Raises:
            NoSuchResource: there is none, or it is somebody else's.
        """
        found = self.batches.get(batch_id)
        if found is None or tenant not in {None, found.tenant}:
            raise NoSuchResource("batch", batch_id)
        return found

    def stored_bytes(self, tenant: str) -> int:
        """How much a tenant keeps here."""
        return sum(file.size_bytes for file in self.files.values() if file.tenant == tenant)

    async def take_in(
        self, file_id: str, tenant: str, filename: str, purpose: Purpose, kept_s: float | None = None
    ) -> StoredFile:
        """Let the content that lies at `data` be a file from now on, kept so long, or as long as files are."""
        now, longest_s = self.clock(), self.settings.retention_days * 86400
        file = StoredFile(
            id=file_id,
            tenant=tenant,
            filename=filename,
            size_bytes=(await asyncio.to_thread(self.data(file_id).stat)).st_size,
            purpose=purpose,
            created_at=int(now),
            expires_at=int(now + min(longest_s, kept_s or longest_s)),
        )
        await asyncio.to_thread(_replaced, self._files / f"{file.id}.json", file)
        self.files[file.id] = file
        return file

    async def keep(self, batch: Batch) -> None:
        """Take the batch's new state, at once in memory; return when it is on disk."""
        self.batches[batch.id] = batch
        async with self._writing:  # in the order of the states, whoever waits here first
            await asyncio.to_thread(_replaced, self._batches / f"{batch.id}.json", self.batches[batch.id])

    async def delete_file(self, file_id: str) -> None:
        """Forget a file, and delete what is on disk of it."""
        self.files.pop(file_id, None)
        await asyncio.to_thread(self._unlink, file_id)

    async def swept(self) -> None:
        """Delete what has been kept for long enough: files, and batches that ended, with what is left of them."""
        now = self.clock()
        used = {batch.input_file_id for batch in self.batches.values() if not batch.ended}
        for file in [f for f in self.files.values() if f.expires_at <= now and f.id not in used]:
            await self.delete_file(file.id)
        kept_s = self.settings.retention_days * 86400
        for batch in [b for b in self.batches.values() if b.ended and max(b.at.values()) + kept_s <= now]:
            del self.batches[batch.id]
            await asyncio.to_thread((self._batches / f"{batch.id}.json").unlink, missing_ok=True)

    def _make(self) -> None:
        for folder in (self._folder, self._files, self._batches):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _unlink(self, file_id: str) -> None:
        (self._files / f"{file_id}.json").unlink(missing_ok=True)
        self.data(file_id).unlink(missing_ok=True)

    def clean(self) -> None:
        """Delete what a kill left behind: uploads that were not finished, and JSON that was not put in place.

        For whoever owns the folder, before anything else. Blocks.
        """
        under_way = [batch for batch in self.batches.values() if not batch.ended]
        known = {*self.files, *(b.output_file_id for b in under_way), *(b.error_file_id for b in under_way)}
        for path in (*self._files.glob("*.jsonl"), *self._folder.glob("*/*.new")):
            if path.suffix == ".new" or path.stem not in known:
                path.unlink(missing_ok=True)


def _all(folder: Path, kind: type[Kept], since: Callable[[Kept], int]) -> dict[str, Kept]:
    """Every value of this kind in the folder, oldest first. A damaged one is told and left where it is."""
    found: list[Kept] = []
    for path in folder.glob("*.json"):
        try:
            value = msgspec.json.decode(path.read_bytes(), type=kind)
        except msgspec.DecodeError:
            logger.warning("%s in the folder of batches is damaged and is passed over", path.name)
            continue
        if value.id == path.stem:
            found.append(value)
    return {value.id: value for value in sorted(found, key=lambda value: (since(value), value.id))}


def _replaced(path: Path, value: Any) -> None:
    """Put the value in the place of whatever is there, and on disk."""
    replace_whole(path, msgspec.json.encode(value))
