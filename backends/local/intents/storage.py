"""Sets of intents as files: one JSON document each, with definition, fitted head and report. Never a pickle.

A file is replaced whole or not at all, is readable by its owner only, and is refused when a byte of it changed.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from backends.errors import Unavailable
from backends.local.intents.classifier import Classifier
from backends.local.intents.definition import IntentSet
from backends.local.intents.fitting import Fitted
from backends.writing import replace_whole

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".json"
VERSION = 1


class Stored(Struct, frozen=True, kw_only=True):
    """A set as it lies on disk.

    Attributes:
        digest: Of the definition that `fitted` was made of.
        fitted: None while nobody has fitted it.
    """

    intents: IntentSet
    digest: str = ""
    fitted: Fitted | None = None

    @property
    def current(self) -> Fitted | None:
        """What was fitted, unless to another definition or by another method."""
        return self.fitted if self.digest == self.intents.digest else None


class _Document(Struct, frozen=True, kw_only=True):
    version: int
    checksum: str
    stored: msgspec.Raw


def path_of(directory: Path, name: str) -> Path:
    """Where the set of this name lies."""
    return directory / f"{name}{SUFFIX}"


def names_in(directory: Path) -> list[str]:
    """The names of the sets that lie in a directory, in order; none when there is no such directory."""
    return sorted(file.name.removesuffix(SUFFIX) for file in directory.glob(f"[!.]*{SUFFIX}"))


def stamps(directory: Path) -> dict[str, tuple[int, int]]:
    """By the name of each set that lies there, what is another whenever it was written anew."""
    found = {}
    for name in names_in(directory):
        with suppress(FileNotFoundError):  # deleted meanwhile
            file = path_of(directory, name).stat()
            found[name] = file.st_mtime_ns, file.st_ino
    return found


def write(path: Path, stored: Stored) -> None:
    """Write the file whole, then put it in place of an older one.

    Raises:
        OSError: it cannot be written.
    """
    body = msgspec.json.encode(stored)
    document = _Document(version=VERSION, checksum=_checksum(body), stored=msgspec.Raw(body))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_whole(path, msgspec.json.encode(document))


def read(path: Path) -> Stored:
    """Read a set, and check that what was written is what is there.

    Raises:
        Unavailable: there is none, or it is damaged; names the set, not the path.
    """
    name = path.name.removesuffix(SUFFIX)
    try:
        stored = _decoded(path.read_bytes())
    except FileNotFoundError as error:
        raise Unavailable(f"there are no intents named '{name}' on this machine") from error
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise Unavailable(f"the file of the intents '{name}' is damaged: define them again, or delete them") from error
    return stored


def _decoded(body: bytes) -> Stored:
    document = msgspec.json.decode(body, type=_Document)
    if document.version != VERSION or _checksum(bytes(document.stored)) != document.checksum:
        raise ValueError("not what was written")
    stored = msgspec.json.decode(document.stored, type=Stored)
    if stored.fitted is not None:
        Classifier(stored.fitted.head)  # its arrays must fit together
    return stored


def _checksum(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()
