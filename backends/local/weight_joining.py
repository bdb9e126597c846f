"""Takes files of one directory of weights into another, so that a part that two models share is on the disk once."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Progress = Callable[[str, int, int], None]


class Join(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which files of `package` go into the folder `into`, and the fields of JSON files that are set anew there."""

    package: str
    into: str
    files: tuple[str, ...]
    set: dict[str, dict[str, bool | int | float | str]] = {}


def join(wanted: Join, source: Path, directory: Path, report: Progress) -> None:
    """Bring the wanted files of `source` into `directory`: as hard links where the disk has them, changed ones anew."""
    folder = directory / wanted.into
    folder.mkdir(parents=True, exist_ok=True)
    for done, name in enumerate(wanted.files, 1):
        if name in wanted.set:
            _write_changed(source / name, folder / name, wanted.set[name])
        else:
            _link(source / name, folder / name)
        report("join", done, len(wanted.files))


def copy(source: Path, directory: Path) -> None:
    """Copy the files below `source`, and nothing of their modes: an installed package may be read-only."""
    for file in source.rglob("*"):
        if file.is_file():
            target = directory / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _write_changed(source: Path, target: Path, changes: dict[str, Any]) -> None:
    fields = json.loads(source.read_text(encoding="utf-8")) | changes
    target.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
