"""Writes files that only their owner may read, and that are on disk afterwards: whole, or a line more. Blocks."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_whole(path: Path, body: bytes) -> None:
    """Write the file, readable by its owner alone, and put it in place of an older one. On disk when this returns.

    Raises:
        OSError: it cannot be written; the older one is as it was.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)  # made 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    with suppress(PermissionError):  # Windows cannot open folders, and keeps their entries itself
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # a rename is on disk when its folder is
        finally:
            os.close(folder)


def add_line(path: Path, line: bytes) -> None:
    """Append one line to a file, which is made where there is none. On disk when this returns.

    Raises:
        OSError: the disk refused.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        write_all(handle, line + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    """Write all of it: the system may take less at a time.

    Raises:
        OSError: the disk refused; a part of it may be written.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
