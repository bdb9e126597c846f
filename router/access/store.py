"""The file of keys: read whole, replaced whole. A server and commands beside it may change it at the same time.

Whoever changes it holds a lock on a file beside it, reads, and puts a new file in its place (written, synced, renamed):
a reader sees the old list or the new one, and a crash leaves one of both. Every function blocks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
from msgspec import Struct

from backends.writing import replace_whole
from router.access.keys import Key
from router.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Stamp = tuple[int, int, int] | None
T = TypeVar("T")


class _Kept(Struct, frozen=True, kw_only=True):
    """What the file holds."""

    version: Literal[1] = 1
    keys: tuple[Key, ...] = ()


def body_of(keys: tuple[Key, ...]) -> bytes:
    """What a file of these keys holds."""
    return msgspec.json.format(msgspec.json.encode(_Kept(keys=keys)), indent=1)


def keys_in(body: bytes) -> tuple[Key, ...]:
    """The keys of a file that holds this.

    Raises:
        msgspec.DecodeError: it is no such file.
    """
    return msgspec.json.decode(body, type=_Kept).keys


class KeyFile:
    """The file of keys at a path. None there is a list without keys."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stamp(self) -> Stamp:
        """Changes whenever the file does; None where there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error) from error
        return found.st_mtime_ns, found.st_ino, found.st_size

    def read(self) -> tuple[Key, ...]:
        """Every key, revoked ones too, in the order in which they were made.

        Raises:
            SettingsError: the file cannot be read, or holds something else.
        """
        try:
            return keys_in(self.path.read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.DecodeError) as error:
            raise self._unreadable(error) from error

    def change(self, work: Callable[[tuple[Key, ...]], tuple[tuple[Key, ...], T]]) -> T:
        """Put what `work` makes of the list in its place, and return what else it gives. If it raises, nothing changes.

        Raises:
            SettingsError: the file cannot be read or written.
        """
        with self._locked():
            keys, result = work(self.read())
            self.replace(body_of(keys))
        return result

    def replace(self, body: bytes) -> None:
        """Put these keys, as `body_of` wrote them, in the place of all there are.

        Raises:
            SettingsError: the file cannot be written.
        """
        try:
            replace_whole(self.path, body)
        except OSError as error:
            raise self._unwritable(error) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile. The lock is the system's: whoever dies lets go of it."""
        try:
            lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _unreadable(self, error: Exception) -> SettingsError:
        return SettingsError(f"{self.path.name}: the keys cannot be read ({type(error).__name__}).")

    def _unwritable(self, error: Exception) -> SettingsError:
        return SettingsError(f"{self.path.name}: the keys cannot be written ({type(error).__name__}).")
