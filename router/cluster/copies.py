"""Keys, and changes of the catalogue, where the owner keeps them: a copy is here, and changes are made there.

A change is made of what the owner has, and takes its place if nobody was faster: so two routers that change something
at once lose neither's change. Every function blocks.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, TypeVar

import msgspec

from router.access.store import KeyFile, body_of, keys_in
from router.cluster.wire import CATALOGUE, KEYS, Change, Document
from router.editing import keeping
from router.errors import Conflict, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.access.keys import Key
    from router.access.store import Stamp
    from router.cluster.link import Link
    from router.editing.keeping import Kept

TRIES = 10
TOUCH_S = 5.0
T = TypeVar("T")


class SharedKeys(KeyFile):
    """The owner's keys: as they were last heard of, or as the copy on disk has them, until something is heard.

    The file's time says when the owner was last heard. `path` None keeps no copy.
    """

    def __init__(self, path: Path, link: Link, *, kept: bool = True) -> None:
        super().__init__(path)
        self._link = link
        self._kept = kept
        self._document: Document | None = None
        self._touched_at = 0.0

    @property
    def version(self) -> int:
        """Of what the owner said last; 0 before it said anything."""
        return 0 if self._document is None else self._document.version

    def silent_s(self) -> float | None:
        """How long ago the owner was heard, by an earlier start of this router as well; None where never."""
        stamp = super().stamp() if self._kept else None
        return None if stamp is None else max(0.0, time.time() - stamp[0] / 1e9)

    def stamp(self) -> Stamp:
        """Changes with the owner's version."""
        return super().stamp() if self._document is None else (self._document.version, 0, 0)

    def read(self) -> tuple[Key, ...]:
        """Every key, as far as known here.

        Raises:
            SettingsError: the copy cannot be read, or the owner holds something else.
        """
        if self._document is None:
            return super().read() if self._kept else ()
        return self._keys(self._document)

    def change(self, work: Callable[[tuple[Key, ...]], tuple[tuple[Key, ...], T]]) -> T:
        """Put what `work` makes of the list in its place at the owner. If it raises, nothing changes.

        Raises:
            OwnerAway: it does not answer.
            Conflict: others change the keys all the time.
        """
        for _ in range(TRIES):
            document = self._link.document(KEYS)
            keys, result = work(self._keys(document))
            made = self._link.change(KEYS, Change(document.version, body_of(keys).decode()))
            if made is not None:
                self.adopt(made)
                return result
        raise Conflict("The keys were changed by others again and again: try once more.")

    def adopt(self, document: Document) -> None:
        """These are the keys, as the owner says."""
        if document.version < self.version:
            return
        self._keys(document)  # what cannot be read is not taken
        self._document = document
        if self._kept:
            self.replace(document.body.encode() or body_of(()))

    def heard(self) -> None:
        """The owner answered just now: what is here is true still."""
        if self._kept and self._document is not None and time.monotonic() - self._touched_at >= TOUCH_S:
            self._touched_at = time.monotonic()
            try:
                os.utime(self.path)
            except OSError as error:
                raise self._unwritable(error) from error

    def _keys(self, document: Document) -> tuple[Key, ...]:
        if not document.version:
            return ()
        try:
            return keys_in(document.body.encode())
        except msgspec.DecodeError as error:
            raise SettingsError("The owner's keys cannot be read: it is another version of Nearfar.") from error


class SharedCatalogue:
    """The owner's changes of the catalogue. What is in force here was made of version `version`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.version = 0

    def keep(self, path: Path | None, kept: Kept) -> None:
        """Write a change down: at the owner, then in the copy.

        Raises:
            Conflict: somebody else has changed the catalogue, and this router has not heard of it yet.
            RouterError: the owner does not answer, or the copy cannot be written.
        """
        made = self._link.change(CATALOGUE, Change(self.version, keeping.body_of(kept).decode()))
        if made is None:
            raise Conflict("The catalogue was changed at another router just now: look at it again.")
        self.version = made.version
        keeping.write(path, kept)


def catalogue_in(document: Document) -> Kept:
    """The changes of a document.

    Raises:
        CatalogError: it cannot be read.
    """
    if not document.version:
        return keeping.Kept()
    return keeping.kept_in(document.body.encode(), "the owner's catalogue", "the routers' versions differ")
