"""Puts a file in the place of another: whole or not at all, whatever ends the process meanwhile. Blocks."""

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
