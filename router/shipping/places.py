"""Where segments lie: a folder that all nodes share, or what fsspec reaches. A file is there whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from router.errors import LogError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

T = TypeVar("T")
UNFINISHED = ".part"
_WHOLE_AT_ONCE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "r2", "memory"})
"""Stores in which an object is there once all of it is: no name of its own for what is under way."""


class Away(LogError):
    """The place cannot be reached, read or written now."""


class Place(Protocol):
    """Where segments lie. Every method blocks, and raises `Away`."""

    kind: str
    """`folder`, or the protocol: what may be told of where it is."""

    def names(self, table: str | None = None) -> list[str]:
        """Every file there, from the root; of one table only where that is named."""

    def unfinished(self) -> list[str]:
        """What was left behind by copies that were cut short."""

    def put(self, file: Path, name: str) -> None:
        """Make a copy of a file there, whole and for good. A name that is there already stays as it is."""

    def remove(self, name: str) -> None:
        """Delete a file; one that is gone already is fine."""

    def age_s(self, name: str) -> float | None:
        """How long ago a file was put there; None where the place does not tell."""

    def url(self, name: str) -> str:
        """By what DuckDB reads it."""

    def allow(self, con: duckdb.DuckDBPyConnection) -> None:
        """Let a connection that may read no files read these."""


def place_of(to: str) -> Place:
    """The place of a setting: a path, or a URL that fsspec knows.

    Raises:
        SettingsError: fsspec, or what it needs for this URL, is not installed.
    """
    return Remote(to) if "://" in to else Folder(Path(to).expanduser().absolute())


class Folder:
    """A folder, also of another machine. It is as open to others as it was made: files in it are no more so."""

    kind = "folder"

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, table: str | None = None) -> list[str]:
        """Every file there, from the root."""
        return [name for name in self._all(f"table={table}" if table else "") if _last(name)[0] != "."]

    def unfinished(self) -> list[str]:
        """What was left behind."""
        return [name for name in self._all("") if _last(name)[0] == "." and name.endswith(UNFINISHED)]

    def _all(self, below: str) -> list[str]:
        with _told():
            if not self.root.is_dir():
                raise Away("The folder of shipped segments is not there.")
            return sorted(
                Path(folder, name).relative_to(self.root).as_posix()
                for folder, _, files in os.walk(self.root / below, onerror=_refuse)
                for name in files
            )

    def put(self, file: Path, name: str) -> None:
        """Copy a file there, whole or not at all."""
        target = self.root / name
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}{UNFINISHED}")
        with _told():
            if target.exists():
                return
            mode = self._folder(target.parent)
            try:
                with file.open("rb") as source, part.open("xb") as copy:
                    shutil.copyfileobj(source, copy)
                    copy.flush()
                    os.fsync(copy.fileno())
                part.chmod(mode & 0o666)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
            sync_folder(target.parent)

    def _folder(self, folder: Path) -> int:
        """Make a folder where it is missing, as open as the root is; returns how open that is.

        The root is made as well, but not what it lies in: what is missing there is a disk that is not mounted.
        """
        self.root.mkdir(exist_ok=True)
        mode = self.root.stat().st_mode & 0o777
        for each in reversed((folder, *folder.parents)):
            if self.root in each.parents and not each.exists():
                each.mkdir(exist_ok=True)
                each.chmod(mode)
                sync_folder(each.parent)
        return mode

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        file = self.root / name
        with _told():
            file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds more
                for folder in file.parents[:3]:
                    folder.rmdir()

    def age_s(self, name: str) -> float | None:
        """Seconds since it was put there."""
        with _told():
            return max(0.0, time.time() - (self.root / name).stat().st_mtime)

    def url(self, name: str) -> str:
        """How DuckDB names it."""
        return str(self.root / name)

    def allow(self, con: duckdb.DuckDBPyConnection) -> None:
        """Let a connection read what lies there."""
        con.execute("SET allowed_directories = ?", [[str(self.root)]])


class Remote:
    """What fsspec reaches. It is asked for when it is needed, so that a store that is away ends no start."""

    def __init__(self, url: str) -> None:
        self.kind = url.partition("://")[0]
        try:
            import fsspec  # noqa: PLC0415 -- an extra
            from fsspec.core import url_to_fs  # noqa: PLC0415

            fsspec.get_filesystem_class(self.kind)
        except (ImportError, ValueError) as error:
            raise SettingsError(
                f"log.ship.to: {self.kind}:// needs what is not installed: pip install 'nearfar[segments]', and the "
                "package that fsspec has for it."
            ) from error
        self._fs: Any
        self._fs, root = _outward(lambda: url_to_fs(url))
        self._root = str(root).rstrip("/")
        self._url = str(self._fs.unstrip_protocol(self._root))

    def names(self, table: str | None = None) -> list[str]:
        """Every file there, from the root."""
        return [name for name in self._all(f"/table={table}" if table else "") if _last(name)[0] != "."]

    def unfinished(self) -> list[str]:
        """What was left behind."""
        return [name for name in self._all("") if _last(name)[0] == "." and name.endswith(UNFINISHED)]

    def _all(self, below: str) -> list[str]:
        found = _outward(lambda: self._fs.find(self._root + below))
        return sorted(path[len(self._root) + 1 :] for path in found)

    def put(self, file: Path, name: str) -> None:
        """Copy a file there, whole or not at all."""
        target = f"{self._root}/{name}"

        def copy() -> None:
            if self._fs.exists(target):
                return
            folder, _, last = target.rpartition("/")
            self._fs.makedirs(folder, exist_ok=True)
            if self.kind in _WHOLE_AT_ONCE:
                self._fs.put_file(str(file), target)
                return
            part = f"{folder}/.{last}.{uuid.uuid4().hex}{UNFINISHED}"
            self._fs.put_file(str(file), part)
            self._fs.mv(part, target)

        _outward(copy)

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""

        def delete() -> None:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(f"{self._root}/{name}")

        _outward(delete)

    def age_s(self, name: str) -> float | None:
        """Seconds since it was put there."""

        def age() -> float | None:
            try:
                return max(0.0, time.time() - float(self._fs.modified(f"{self._root}/{name}").timestamp()))
            except NotImplementedError:
                return None

        return _outward(age)

    def url(self, name: str) -> str:
        """How DuckDB names it."""
        return f"{self._url}/{name}"

    def allow(self, con: duckdb.DuckDBPyConnection) -> None:
        """Let a connection read what lies there."""
        con.register_filesystem(self._fs)
        con.execute("SET allowed_directories = ?", [[f"{self._url}/"]])


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def sync_folder(folder: Path) -> None:
    """A rename is on disk when its folder is. Windows cannot open folders, and keeps their entries itself."""
    with contextlib.suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _refuse(error: OSError) -> None:
    """What `os.walk` would pass over in silence. A folder that is not there, or went meanwhile, holds nothing."""
    if not isinstance(error, FileNotFoundError):
        raise error


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """The system's refusals, without the path that they name."""
    try:
        yield
    except OSError as error:
        raise Away(f"The folder of shipped segments: {error.strerror or type(error).__name__}.") from error


def _outward(ask: Callable[[], T]) -> T:
    """Each store has errors of its own, and fsspec does not translate them."""
    try:
        return ask()
    except Exception as error:
        raise Away(f"The store of shipped segments does not answer ({type(error).__name__}).") from error
