"""Reads a file of requests line by line: never more of it in memory than one line, however it is made."""

from __future__ import annotations

import hashlib
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from router.batches.types import Fault, Line

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

MARK = b"\xef\xbb\xbf"  # some editors begin UTF-8 with it


class Written(Struct, forbid_unknown_fields=True):
    """A line as it is written, in OpenAI's shape."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=512)]
    method: Literal["POST"]
    url: str
    body: dict[str, Raw]


class _Named(Struct):
    custom_id: str


class Raws(NamedTuple):
    """A line that says something: its number from 1, and its bytes; None where there are too many of them."""

    number: int
    content: bytes | None


def raws(path: Path, longest: int) -> Generator[Raws]:
    """Every line that says something; of one longer than `longest` bytes nothing but its number. Blocks."""
    with path.open("rb") as source:
        number = 0
        while content := source.readline(longest + 1):
            number += 1
            if len(content) > longest and not content.endswith(b"\n"):
                _skip(source, longest)
                yield Raws(number, None)
                continue
            content = content.removeprefix(MARK if number == 1 else b"").strip()
            if content:
                yield Raws(number, content)


def _skip(source: BinaryIO, longest: int) -> None:
    while (rest := source.readline(longest)) and not rest.endswith(b"\n"):
        pass


class Source:
    """The lines of a file, one at a time, from any thread. Reading and closing block, and wait for each other."""

    def __init__(self, path: Path, longest: int) -> None:
        self._lines = raws(path, longest)
        self._reading = threading.Lock()

    def next(self) -> Raws | None:
        """The next line that says something; None at the end."""
        with self._reading:
            return next(self._lines, None)

    def close(self) -> None:
        """Let the file go."""
        with self._reading:
            self._lines.close()


def surveyed(path: Path, longest: int, most: int) -> int | Fault:
    """How many lines the file has that say something; what is wrong with the whole of it, if anything is. Blocks."""
    total = 0
    with closing(raws(path, longest)) as lines:
        for number, content in lines:
            total += 1
            if total > most:
                why = f"The file has more than {most} lines, which is batches.max_lines."
                return Fault("too_many_lines", why, number)
            if content is not None and not _is_utf8(content):
                return Fault("invalid_encoding", f"Line {number} is not UTF-8 text.", number)
    return total or Fault("empty_file", "The file has no requests in it.")


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


class Reading:
    """Reads one file's lines for one endpoint, and remembers which ids it has seen: a hash of each."""

    def __init__(self, endpoint: str, longest: int) -> None:
        self._endpoint = endpoint
        self._longest = longest
        self._seen: set[bytes] = set()

    def line(self, raw: Raws) -> Line | Fault:
        """The request that a line is, or what is wrong with it."""
        number, content = raw
        if content is None:
            said = f"Line {number} is longer than server.max_body_bytes allows: {self._longest} bytes."
            return Fault("too_large", said, number)
        try:
            written = msgspec.json.decode(content, type=Written)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Fault("invalid_line", f"Line {number}: {_said(error)}.", number, custom_id=_custom_id(content))
        custom_id = written.custom_id
        if (fault := self._fault(written, number)) is not None:
            return Fault(*fault, line=number, custom_id=custom_id)
        return Line(number=number, custom_id=custom_id, body=written.body)

    def _fault(self, written: Written, number: int) -> tuple[str, str] | None:
        key = hashlib.blake2b(written.custom_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if key in self._seen:
            return (
                "duplicate_custom_id",
                f"Line {number}: the custom_id {written.custom_id!r} is taken by a line before.",
            )
        self._seen.add(key)
        if written.url != self._endpoint:
            said = f"the url {written.url[:100]!r} is not the batch's endpoint, {self._endpoint!r}"
            return "mismatched_url", f"Line {number}: {said}."
        if bytes(written.body.get("stream", b"false")).strip() not in {b"false", b"null"}:
            return "stream_not_allowed", f"Line {number}: stream must be false: a batch's answers are written whole."
        return None


def _said(error: Exception) -> str:
    """What the decoder says; of text that is no JSON, where it stops being some."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error).rstrip(".")


def _custom_id(content: bytes) -> str | None:
    """What a line calls itself though the rest of it is wrong."""
    try:
        return msgspec.json.decode(content, type=_Named).custom_id[:512]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
