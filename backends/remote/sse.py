"""Server-sent events out of byte chunks cut anywhere. Knows nothing of what the events say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from backends.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE_BYTES = 1024 * 1024
"""Bound of one line, and of one event's data."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class Event(Struct, frozen=True):
    """One event; several `data` lines are joined by newlines."""

    data: str
    name: str = "message"


class SseParser:
    """Feed it chunks as they come; it gives back the events they complete."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._data: list[str] = []
        self._data_bytes = 0
        self._name = ""
        self._after_cr = False
        self._first_line = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completes.

        Raises:
            RemoteError: A line or an event exceeds 1 MiB.
        """
        if not chunk:
            return []
        if self._after_cr and chunk.startswith(b"\n"):  # the second half of a CRLF cut in two
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        head, *rest = _LINE_END.split(chunk)
        self._keep(head)
        if not rest:
            return []
        lines = [b"".join(self._parts), *rest]
        self._parts, self._parts_bytes = [], 0
        self._keep(lines.pop())
        return list(self._events(lines))

    def finish(self) -> list[Event]:
        """What was left when the far side closed without a last blank line."""
        return [*self.feed(b"\n"), *self.feed(b"\n")]

    def _keep(self, part: bytes) -> None:
        self._parts_bytes += len(part)
        _check_size(self._parts_bytes)
        self._parts.append(part)

    def _events(self, lines: list[bytes]) -> Iterator[Event]:
        for line in lines:
            if line:
                self._take(line)
            elif self._data:
                yield Event("\n".join(self._data), self._name or "message")
                self._data, self._data_bytes, self._name = [], 0, ""
            else:
                self._name = ""

    def _take(self, line: bytes) -> None:
        _check_size(len(line))
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        field, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"data":
            self._data_bytes += len(value)
            _check_size(self._data_bytes)
            self._data.append(text)
        elif field == b"event":
            self._name = text


def _check_size(size: int) -> None:
    if size > MAX_LINE_BYTES:
        msg = f"the far stream sent an event of more than {MAX_LINE_BYTES} bytes"
        raise RemoteError(msg)
