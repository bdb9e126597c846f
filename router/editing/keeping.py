"""Where run-time changes are kept: one file beside the log, written whole. Its owner is whoever owns the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from backends.writing import replace_whole
from router.editing.overlay import Overlay
from router.errors import CatalogError, RouterError

if TYPE_CHECKING:
    from router.sections import Settings

VERSION = 1
SUFFIX, COPY = ".catalog.json", ".catalog.copy.json"


class Kept(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What lies on disk: the changes, and who made the last of them, when (us since 1970, UTC) and what it was.

    `snapshot` is the catalogue that came of it.
    """

    version: int = VERSION
    overlay: Overlay = Overlay()
    snapshot: str = ""
    author: str | None = None
    at_us: int = 0
    change: str = ""


def path_of(settings: Settings) -> Path | None:
    """The file of these settings: beside the log and named after it. None where the log is in memory.

    Where a cluster's owner keeps the changes, this router's copy of them.
    """
    if settings.log.path == ":memory:":
        return None
    log = Path(settings.log.path).expanduser()
    return log.with_name(f"{log.stem}{SUFFIX if settings.cluster.state is None else COPY}")


def stamp(path: Path | None) -> tuple[int, int] | None:
    """What is another whenever something else is kept; None where nothing is. Blocks."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return found and (found.st_mtime_ns, found.st_ino)


def read(path: Path | None) -> Kept:
    """What is kept; nothing where there is no file. Blocks.

    Raises:
        CatalogError: the file is damaged, or a newer Nearfar's; it names no more than the file.
    """
    if path is None:
        return Kept()
    hint = "put it right, or delete it to go back to the configuration alone"
    try:
        return kept_in(path.read_bytes(), path.name, hint)
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        raise CatalogError(f"{path.name}: cannot be read ({type(error).__name__}).") from error


def kept_in(body: bytes, where: str, hint: str) -> Kept:
    """The changes that are written down here.

    Raises:
        CatalogError: it is damaged, or a newer Nearfar's.
    """
    try:
        kept = msgspec.json.decode(body, type=Kept)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise CatalogError(f"{where}: not what Nearfar wrote there ({error}): {hint}.") from error
    if kept.version != VERSION:
        raise CatalogError(f"{where}: its version is {kept.version}, and this Nearfar knows {VERSION}: {hint}.")
    return kept


def body_of(kept: Kept) -> bytes:
    """How these changes are written down."""
    return msgspec.json.format(msgspec.json.encode(kept), indent=1)


def write(path: Path | None, kept: Kept) -> None:
    """Keep these changes in place of all before. Blocks until they are on disk.

    Raises:
        RouterError: they cannot be kept; what was kept before still is.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_whole(path, body_of(kept))
    except OSError as error:
        raise RouterError(
            f"{path.name}: the change cannot be kept ({type(error).__name__}); nothing changed."
        ) from error
