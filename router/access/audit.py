"""What admins did: who, what, to what, when, from where, and how it ended. One JSON line each, and never a secret.

Lines are only ever added, by a server and by commands alike: a line is one write at the end of the file.
"""

from __future__ import annotations

import os
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from backends.writing import add_line
from router.errors import LogError

if TYPE_CHECKING:
    from pathlib import Path

TAIL_BYTES = 4_000_000  # as much of the end of the file is looked at for the newest lines
MAX_TEXT_CHARS = 300


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One action. `at` is ISO 8601, UTC; `who` a tenant or whoever ran a command; `result` is `ok` or an error."""

    at: str
    who: str
    action: str
    subject: str
    surface: str
    result: str = "ok"


class AuditLog:
    """The file of actions. Every method blocks."""

    def __init__(self, path: Path | None) -> None:
        """None keeps the last thousand in memory, like a decision log in memory."""
        self._path = path
        self._kept: deque[bytes] = deque(maxlen=1000)

    def add(self, entry: AuditEntry) -> None:
        """Write one action down, and wait until it is on disk.

        Raises:
            LogError: the file cannot be written.
        """
        line = msgspec.json.encode(entry)
        if self._path is None:
            self._kept.append(line)
            return
        try:
            add_line(self._path, line)
        except OSError as error:
            raise LogError(f"{self._path.name}: cannot be written ({type(error).__name__}).") from error

    def newest(self, limit: int) -> list[AuditEntry]:
        """The latest actions, newest first; a damaged line is passed over.

        Raises:
            LogError: the file cannot be read.
        """
        found: list[AuditEntry] = []
        for line in reversed(self._lines()):
            try:
                found.append(msgspec.json.decode(line, type=AuditEntry))
            except msgspec.DecodeError:
                continue
            if len(found) == limit:
                break
        return found

    def _lines(self) -> list[bytes]:
        if self._path is None:
            return list(self._kept)
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL_BYTES))
                return file.read().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LogError(f"{self._path.name}: cannot be read ({type(error).__name__}).") from error


def entry(who: str, action: str, subject: str, surface: str, result: str = "ok") -> AuditEntry:
    """An action that happens now. Names that came from outside are cut to a sensible length."""
    at = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    texts = (text[:MAX_TEXT_CHARS] for text in (who, action, subject, surface, result))
    who, action, subject, surface, result = texts
    return AuditEntry(at=at, who=who, action=action, subject=subject, surface=surface, result=result)
