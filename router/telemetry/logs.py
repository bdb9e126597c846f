"""Log lines as text or JSON, written by a thread of their own: whoever logs never waits for whoever reads.

A line holds what its caller put there as fields, and of a bug its class and where it was: what a bug says may hold
anything, and the paths in a traceback are this machine's own business.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TextIO

FIELDS = "nearfar_fields"  # of a record: what `fields` made
QUEUE_LINES = 10_000
MOST_FRAMES = 30
PATIENCE_S = 5.0  # for a reader, at the end

Form = Literal["text", "json"]


def fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """What to give a logger as `extra`, so that these fields stand in the line; None is left out."""
    return {FIELDS: {name: value for name, value in values.items() if value is not None}}


class Lines(logging.Formatter):
    """One line a record."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """The record in the chosen form; whatever would break the line is escaped."""
        told: dict[str, Any] = dict(getattr(record, FIELDS, {}))
        if record.exc_info and record.exc_info[0] is not None:
            told |= {"error": record.exc_info[0].__name__, "at": _places(record.exc_info[1])}
        if self._form == "json":
            line = {"ts": _iso(record.created), "level": record.levelname, "logger": record.name}
            return msgspec.json.encode({**line, "message": record.getMessage(), **told}).decode()
        rest = "".join(f" {name}={_word(value)}" for name, value in told.items())
        return f"{record.levelname} {record.name}: {_one_line(record.getMessage())}{rest}"


class _Queued(logging.Handler):
    """Hands records to a thread that writes them, and drops them, counted, where that cannot follow.

    Attributes:
        dropped: Lines that nobody will read.
    """

    def __init__(self, writer: logging.Handler) -> None:
        super().__init__()
        self.dropped = 0
        self._writer = writer
        self._records: queue.Queue[logging.LogRecord | None] = queue.Queue(QUEUE_LINES)
        self._thread = threading.Thread(target=self._write, name="log lines", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue it, or count it as dropped."""
        try:
            self._records.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def finish(self) -> bool:
        """Return when what is queued has been written. False where nobody reads it: it is left behind then."""
        try:
            self._records.put(None, timeout=PATIENCE_S)
        except queue.Full:
            return False
        self._thread.join(PATIENCE_S)
        return not self._thread.is_alive()

    def _write(self) -> None:
        while (record := self._records.get()) is not None:
            self._writer.handle(record)


@contextmanager
def logging_to(stream: TextIO, form: Form | None) -> Iterator[None]:
    """Write every logger's warnings, and the line of every request if a form is given, until the block ends.

    What is queued then is written before this returns, if anybody reads it.
    """
    writer = logging.StreamHandler(stream)
    writer.setFormatter(Lines(form or "text"))
    queued = _Queued(writer)
    root, own = logging.getLogger(), logging.getLogger("nearfar")
    before = root.level, own.level
    root.setLevel(logging.WARNING)
    own.setLevel(logging.INFO if form else logging.NOTSET)
    root.addHandler(queued)
    try:
        yield
    finally:
        root.removeHandler(queued)
        root.setLevel(before[0])
        own.setLevel(before[1])
        if queued.finish() and queued.dropped:
            stream.write(f"WARNING nearfar: {queued.dropped} log lines were dropped: nobody read them fast enough\n")


def _places(error: BaseException | None) -> list[str]:
    """Where a bug was, outermost first: modules, functions and lines, no path."""
    frames = traceback.walk_tb(None if error is None else error.__traceback__)
    return [f"{f.f_globals.get('__name__', '?')}.{f.f_code.co_name}:{line}" for f, line in frames][-MOST_FRAMES:]


def _word(value: object) -> str:
    """A field's value: bare where that is one word, else as JSON."""
    text = str(value)
    bare = isinstance(value, str | int | float) and text and text.isprintable() and not set(text) & set(' "=')
    return text if bare else msgspec.json.encode(value).decode()


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _iso(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
