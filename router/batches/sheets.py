"""What became of a batch's lines, on disk: two files that are only ever appended to, each entry there once.

An entry is a line of JSON, and it counts when its line is whole: what a kill left half written is cut off when the
files are opened again, and the request it was about is asked again. Entries that are ready together share one fsync.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from pathlib import Path


class Account(Struct, frozen=True):
    """What only we add to an entry.

    Attributes:
        line: The number of the line it is about.
        cost_usd: What its answer cost; None when that is not known, or it has none.
    """

    line: int
    decision_id: str | None = None
    backend: str | None = None
    cost_usd: float | None = None
    batch_error: str | None = None


class Entry(Struct, frozen=True):
    """An entry as it is read again: only what resuming needs of it."""

    nearfar: Account


class Tally(NamedTuple):
    """What is on the sheets: lines by number, and of the answered ones the cost."""

    done: set[int]
    completed: int = 0
    failed: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    expired: bool = False


class Sheets:
    """The two files of one batch, open for appending."""

    def __init__(self, answers: Path, errors: Path) -> None:
        """Open them. Blocks.

        Raises:
            OSError: they cannot be opened.
        """
        self._files = [_appending(answers), _appending(errors)]
        self._waiting: list[tuple[bool, bytes]] = []
        self._writing = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()
        self._broken: OSError | None = None

    async def add(self, entry: bytes, *, failed: bool) -> None:
        """Return when the entry is on disk. Cancelling the wait does not take it back.

        Raises:
            OSError: it cannot be written; nothing can be from then on.
        """
        self._waiting.append((failed, entry + b"\n"))
        task = asyncio.create_task(self._write())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.shield(task)
        if self._broken is not None:
            raise self._broken

    async def close(self) -> None:
        """Close the files, once what was added is written."""
        while self._running:
            await asyncio.wait(self._running)
        for descriptor in self._files:
            os.close(descriptor)

    async def _write(self) -> None:
        async with self._writing:
            waiting, self._waiting = self._waiting, []
            if not waiting or self._broken is not None:
                return
            try:
                await asyncio.to_thread(self._append, waiting)
            except OSError as error:
                self._broken = error

    def _append(self, entries: list[tuple[bool, bytes]]) -> None:
        for failed, descriptor in enumerate(self._files):
            content = b"".join(entry for which, entry in entries if which == bool(failed))
            if content:
                _written(descriptor, content)
                os.fsync(descriptor)


def tallied(answers: Path, errors: Path) -> Tally:
    """What is on the sheets, their half-written ends cut off. Blocks.

    Raises:
        OSError: they cannot be read or cut.
    """
    answered, refused = _accounts(answers), _accounts(errors)
    costs = [account.cost_usd for account in answered]
    return Tally(
        done={account.line for account in (*answered, *refused)},
        completed=len(answered),
        failed=len(refused),
        cost_usd=sum(cost for cost in costs if cost is not None),
        unpriced=sum(cost is None for cost in costs),
        expired=any(account.batch_error == "batch_expired" for account in refused),
    )


def _accounts(path: Path) -> list[Account]:
    """The whole entries of a file; from the first that is none, it is cut off."""
    found: list[Account] = []
    if not path.exists():
        return found
    with path.open("r+b") as sheet:
        good = 0
        for content in sheet:
            account = _account(content)
            if account is None:
                sheet.truncate(good)
                os.fsync(sheet.fileno())
                break
            good += len(content)
            found.append(account)
    return found


def _account(content: bytes) -> Account | None:
    if not content.endswith(b"\n"):
        return None
    try:
        return msgspec.json.decode(content, type=Entry).nearfar
    except msgspec.DecodeError:
        return None


def _appending(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _written(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
