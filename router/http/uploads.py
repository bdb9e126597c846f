"""Reads a form with one large file: the file goes to disk as it arrives, the other fields are short text in memory.

A form that is refused is read to its end all the same, within bounds: most clients look for an answer only then.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

from litestar import Request
from msgspec import Struct, field
from multipart import MultipartError, MultipartSegment, PushMultipartParser  # type: ignore[import-untyped]

from router.errors import InvalidRequest, RouterError, TooLarge, UnsupportedMediaType
from router.http.forms import MULTIPART

MOST_PARTS = 16
MOST_FIELD_BYTES = 1024
MOST_DRAINED_BYTES = 64 * 1024 * 1024
BLOCK = 256 * 1024  # bytes that wait to be written together


class Upload(Struct):
    """What came: the file's own name and size, and the other fields as text."""

    filename: str = ""
    size_bytes: int = 0
    fields: dict[str, str] = field(default_factory=dict)


async def uploaded(request: Request[Any, Any, Any], file_field: str, path: Path, most: int) -> Upload:
    """Write the file of a form to `path`, which is made new; where the form is refused it is not left there.

    Raises:
        UnsupportedMediaType: the body does not say that it is a form.
        InvalidRequest: it is no well-formed form, or it has no file.
        TooLarge: the file has more than `most` bytes.
        OSError: it cannot be written.
    """
    kind, options = request.content_type
    if kind != MULTIPART:
        raise UnsupportedMediaType(f"The body must be a form, with content-type: {MULTIPART}.")
    async with _fresh(path) as file:
        form = _Form(file, file_field, most)
        form.begin(options.get("boundary", ""))
        drained = 0
        async for chunk in request.stream():
            if form.refusal is None:
                form.feed(chunk)
                await form.flush(BLOCK)
            elif (drained := drained + len(chunk)) > MOST_DRAINED_BYTES:
                break
        form.end()
        await form.flush()
    return form.upload


@asynccontextmanager
async def _fresh(path: Path) -> AsyncGenerator[BinaryIO, None]:
    file = await asyncio.to_thread(_created, path)
    try:
        yield file
    except BaseException:
        _dropped(file, path)  # at once: whoever is cancelled may not wait
        raise
    await asyncio.to_thread(_kept, file)


def _created(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _dropped(file: BinaryIO, path: Path) -> None:
    file.close()
    path.unlink(missing_ok=True)


def _kept(file: BinaryIO) -> None:
    with file:
        file.flush()
        os.fsync(file.fileno())


class _Form:
    """What of a form has come so far.

    Attributes:
        refusal: What is wrong with it, once something is.
    """

    def __init__(self, file: BinaryIO, file_field: str, most: int) -> None:
        self.upload = Upload()
        self.refusal: RouterError | None = None
        self._parser: Any = None
        self._file = file
        self._file_field = file_field
        self._most = most
        self._name = ""
        self._has_file = False
        self._text = bytearray()
        self._block = bytearray()

    def begin(self, boundary: str) -> None:
        """What comes is parted by this."""
        try:
            self._parser = PushMultipartParser(boundary, max_segment_count=MOST_PARTS)
        except MultipartError as error:
            self.refusal = InvalidRequest(f"The form cannot be read: {error}.")

    def feed(self, chunk: bytes) -> None:
        """Take in what came next; afterwards there may be a refusal."""
        try:
            for event in self._parser.parse(chunk) if chunk and not self._parser.closed else ():
                self._take(event)
        except MultipartError as error:
            self.refusal = InvalidRequest(f"The form cannot be read: {error}.")
        except RouterError as error:
            self.refusal = error

    def end(self) -> None:
        """Nothing more comes.

        Raises:
            InvalidRequest, TooLarge: the form is refused.
        """
        if self.refusal is not None:
            raise self.refusal
        try:
            self._parser.close()
        except MultipartError as error:
            raise InvalidRequest(f"The form cannot be read: {error}.") from error

    def _take(self, event: Any) -> None:
        """The parser's next word: a part begins, a part goes on, a part ends."""
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event and self._name == self._file_field:
            self.upload.size_bytes += len(event)
            if self.upload.size_bytes > self._most:
                said = f"file: larger than batches.max_file_bytes allows: {self._most} bytes."
                raise TooLarge(said, param="file")
            self._block += event
        elif event:
            self._text += event
            if len(self._text) > MOST_FIELD_BYTES:
                raise TooLarge(f"{self._name[:100]}: longer than {MOST_FIELD_BYTES} bytes.", param=self._name[:100])
        elif self._name != self._file_field:
            self._end()

    def _begin(self, part: Any) -> None:
        self._name = part.name
        self._text.clear()
        if part.name in self.upload.fields or (part.name == self._file_field and self._has_file):
            raise InvalidRequest(f"{part.name[:100]}: is given twice.", param=part.name[:100])
        if part.name == self._file_field:
            self._has_file = True
            self.upload.filename = part.filename or ""

    def _end(self) -> None:
        try:
            self.upload.fields[self._name] = self._text.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"{self._name[:100]}: is not UTF-8 text.", param=self._name[:100]) from error

    async def flush(self, least: int = 1) -> None:
        """Write what waits, if there is so much of it."""
        if len(self._block) >= least:
            block, self._block = self._block, bytearray()
            await asyncio.to_thread(self._file.write, block)
