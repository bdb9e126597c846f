"""How messages stand in a stream of bytes: each behind its length. Knows no socket, and not what is in them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTH = struct.Struct(">I")
MOST_BYTES = 1 << 30
"""No message is longer; whoever announces one speaks something else."""


class BadFrame(ConnectionError):
    """What came is none of our messages."""


def framed(message: bytes) -> bytes:
    """The message as it goes out."""
    return _LENGTH.pack(len(message)) + message


class Frames:
    """Messages out of a stream, wherever it was cut."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what came next, and give the messages that are whole by it.

        Raises:
            BadFrame: a message would be longer than there are.
        """
        self._held += data
        at = 0
        try:
            while (end := self._end(at)) is not None:
                message = bytes(memoryview(self._held)[at + _LENGTH.size : end])
                at = end
                yield message
        finally:
            del self._held[:at]

    def _end(self, at: int) -> int | None:
        """Where the message that begins there ends; None while it is incomplete."""
        if len(self._held) < at + _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._held, at)
        if length > MOST_BYTES:
            raise BadFrame(f"a message of {length} bytes is announced")
        end = at + _LENGTH.size + int(length)
        return end if len(self._held) >= end else None
