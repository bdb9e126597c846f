"""Which file a name stands for, and how large it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def file_id(file: Path | None) -> tuple[int, int] | None:
    """Return what tells a file from every other, also of the same name; None when there is none."""
    try:
        found = file.stat() if file else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found and (found.st_dev, found.st_ino)


def size(file: Path) -> int:
    """Return a file's size in bytes, 0 when there is none."""
    try:
        return file.stat().st_size
    except OSError:
        return 0
