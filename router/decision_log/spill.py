"""What waits to be committed: a bounded queue in memory, and the file beside the database that takes the rest.

Knows lines, files and who waits for them; not what a row means, nor how it is committed.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from glob import escape
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from backends.writing import write_all
from router.decision_log.files import size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PRIVATE = 0o600


class Sent(NamedTuple):
    """Which row of another process a line is: its place, its boot, and the row's number among those it sent."""

    place: str
    boot: str
    number: int


class Line(NamedTuple):
    """One row on its way: the tag of its type, its JSON, and (monotonic seconds) since when it waits in memory.

    `sent` is None where this process made it. `again`: it may be in the log already.
    """

    kind: str
    json: bytes
    since: float = 0.0
    sent: Sent | None = None
    again: bool = False


class _Tag(msgspec.Struct, frozen=True):
    type: str


class Backlog:
    """Every row not yet committed: the queue, the spill file, and those who wait for either. For any thread."""

    def __init__(self, limit: int, spill: SpillFile) -> None:
        self.spill = spill
        self._limit = limit
        self._lock = threading.Lock()
        self._queue: deque[Line] = deque()
        self._appended = 0
        self._done = 0
        self._ended: Exception | None = None
        self._waiting: list[tuple[int, int, Future[None]]] = []

    def put(self, line: Line) -> int:
        """Take a row, in the spill file when the queue is full; return how many are queued in memory.

        When the spill file refuses as well (the disk is full), the queue grows past its bound: no row is shed.
        """
        with self._lock:
            if len(self._queue) < self._limit:
                self._queue.append(line)
                self._appended += 1
                return len(self._queue)
        try:
            self.spill.append([line.json])
        except OSError:
            with self._lock:
                self._queue.append(line)
                self._appended += 1
                return len(self._queue)
        return self._limit

    def put_sent(self, lines: Sequence[Line]) -> None:
        """Take rows that another process sent, and keeps until they are committed: none goes to the spill file."""
        with self._lock:
            self._queue.extend(lines)
            self._appended += len(lines)

    @property
    def queued(self) -> int:
        """How many rows wait in memory."""
        return len(self._queue)

    @property
    def pending(self) -> int:
        """How many rows wait, in memory and on disk."""
        return len(self._queue) + self.spill.pending

    def lag_s(self) -> float:
        """Age of the oldest waiting row in seconds, 0 when none waits."""
        with self._lock:
            since = [self._queue[0].since] if self._queue else []
        if self.spill.since is not None:
            since.append(self.spill.since)
        return time.monotonic() - min(since) if since else 0.0

    def peek(self, limit: int) -> list[Line]:
        """Return up to `limit` rows of the queue, oldest first. They stay until `settle`."""
        with self._lock:
            return list(islice(self._queue, limit))

    def peek_spilled(self, limit: int) -> list[Line]:
        """Return up to `limit` rows of the spill file. The kind of one that a crash cut short is "".

        Raises:
            OSError: the file cannot be read.
        """
        return [Line(_tag(line), line) for line in self.spill.peek(limit)]

    def settle(self, lines: Sequence[Line]) -> None:
        """Forget these, the oldest rows of the queue, now that they are committed or refused."""
        with self._lock:
            for _ in lines:
                self._queue.popleft()
            self._done += len(lines)
        self.notify()

    def settle_spilled(self, lines: Sequence[Line]) -> None:
        """Forget these, the oldest rows of the spill file.

        Raises:
            OSError: see `SpillFile.advance`.
        """
        self.spill.advance(len(lines), sum(len(line.json) + 1 for line in lines))
        self.notify()

    def wait(self) -> Future[None]:
        """Return a future that is done when every row put in so far is settled, wherever it waits."""
        future: Future[None] = Future()
        with self._lock:
            self._waiting.append((self._appended, self.spill.appended, future))
        self.notify()
        if self._ended is not None:
            self.fail(self._ended)
        return future

    def notify(self) -> None:
        """Tell those whose rows are all settled."""
        with self._lock:
            done, spilled = self._done, self.spill.done
            ready = [w for w in self._waiting if w[0] <= done and w[1] <= spilled]
            if ready:
                self._waiting = [w for w in self._waiting if w[0] > done or w[1] > spilled]
        for *_, future in ready:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def fail(self, error: Exception) -> None:
        """Tell all who wait, now or later, that their rows will not be settled by this process."""
        with self._lock:
            self._ended = error
            waiting, self._waiting = self._waiting, []
        for *_, future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)

    def save(self) -> None:
        """Move the queue into the spill file, for the next process to commit. Later rows go there at once.

        Rows that another process sent are left to it.

        Raises:
            OSError: the disk refused; the queue is as it was.
        """
        with self._lock:
            self._limit = 0
            if self._queue:
                self.spill.append([line.json for line in self._queue if line.sent is None])
                self._queue.clear()


class SpillFile:
    """Lines waiting on disk, first in first out. `append` from any thread; everything else from the writer alone.

    What a crashed process left behind is there again at the next start: the file itself is the state.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read_at = 0
        self._since: float | None = None
        self._fd: int | None = None
        self._closed = False
        self.appended = 0  # lines ever put in, those found at the start included
        self.done = 0  # of these, the ones taken out again
        if path.exists():
            self._adopt()

    def _open(self) -> int:
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _PRIVATE)
        return self._fd

    def _adopt(self) -> None:
        """Count what an earlier process left. A line cut short by its death gets an end, and is refused later."""
        fd = self._open()
        last = b"\n"
        with self.path.open("rb") as file:
            while block := file.read(1 << 20):
                self.appended += block.count(b"\n")
                last = block[-1:]
        if last != b"\n":
            os.write(fd, b"\n")
            self.appended += 1
        if self.appended:
            self._since = time.monotonic()

    @property
    def pending(self) -> int:
        """How many lines wait."""
        return self.appended - self.done

    @property
    def since(self) -> float | None:
        """`time.monotonic()` when the oldest waiting line may have come, None when nothing waits."""
        return self._since

    def append(self, lines: list[bytes]) -> None:
        """Put lines in, all or none.

        Raises:
            OSError: the disk refused; the file is as it was before.
        """
        with self._lock:
            fd = self._open()
            size = os.fstat(fd).st_size
            try:
                write_all(fd, b"".join(line + b"\n" for line in lines))
            except OSError:
                os.ftruncate(fd, size)
                raise
            self.appended += len(lines)
            self._since = self._since or time.monotonic()
            if self._closed:
                self._release()

    def peek(self, limit: int) -> list[bytes]:
        """Return up to `limit` waiting lines. They stay until `advance`.

        Raises:
            OSError: the file cannot be read.
        """
        lines: list[bytes] = []
        with self.path.open("rb") as file:
            file.seek(self._read_at)
            while len(lines) < limit and (line := file.readline()).endswith(b"\n"):
                lines.append(line[:-1])
        return lines

    def advance(self, count: int, size: int) -> None:
        """Forget the `count` oldest lines (`size` bytes), now that they are settled. An emptied file is cut to nothing.

        Raises:
            OSError: the file cannot be cut. The lines are forgotten all the same; after a restart they come again.
        """
        with self._lock:
            self.done += count
            self._read_at += size
            if self.done == self.appended:
                self._since = None
                os.ftruncate(self._open(), 0)
                self._read_at = 0

    def close(self) -> None:
        """Close the file; an empty one is removed. A late `append` opens it once more, for that line alone."""
        with self._lock:
            self._closed = True
            self._release()
            if self.done == self.appended:
                self.path.unlink(missing_ok=True)

    def _release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def spill_of(log: Path, place: str) -> Path:
    """Where a process keeps rows for whoever owns the log, while it cannot send them."""
    return log.with_name(f"{log.name}.{place}.spill")


def spills_beside(log: Path) -> list[Path]:
    """The spill files of processes that send their rows to whoever owns the log, those that hold something."""
    return [path for path in log.parent.glob(f"{escape(log.name)}.*.spill") if size(path)]


def make_private(wal: Path) -> None:
    """Take the write-ahead log from others. DuckDB makes a new one after each checkpoint, by the process's umask."""
    try:
        if wal.stat().st_mode & 0o077:
            wal.chmod(_PRIVATE)
    except FileNotFoundError:
        return  # checkpointed in this very commit


def _tag(line: bytes) -> str:
    try:
        line.decode()
        return msgspec.json.decode(line, type=_Tag).type
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
