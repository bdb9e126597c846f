"""The keys as a running server knows them: found by the hash of what was sent, read again when the file changes."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from router.access import keys as values
from router.access.keys import Key, Secret, Wanted, digest_of
from router.errors import OwnerAway, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.access.keys import Issued
    from router.access.store import KeyFile, Stamp

LOOK_EVERY_S = 1.0
HOUR_S = 3600
NOTE_EVERY_S = 300.0

logger = logging.getLogger("nearfar.access")


class Found(NamedTuple):
    """A secret, and the key that it belongs to."""

    key: Key
    secret: Secret


class Keyring:
    """Keys by hash. Looking one up touches no file; what changes the file runs in a thread.

    A key that a command revokes beside a running server opens nothing about a second later.

    Attributes:
        doubtful: Why nobody can say any more which keys are good; None while somebody can.
    """

    def __init__(self, file: KeyFile, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._reading = threading.Lock()
        self._stamp: Stamp = None
        self._used: dict[str, int] = {}
        self._by_digest: dict[str, Found] = {}
        self.keys: tuple[Key, ...] = ()
        self.doubtful: str | None = None

    def open(self) -> None:
        """Read the file. Blocks.

        Raises:
            SettingsError: it cannot be read.
        """
        with self._reading:  # what was read last is what is known last
            stamp = self._file.stamp()
            self._know(self._file.read(), stamp)

    def find(self, secret: str) -> Key | None:
        """The key that this secret opens now; None for every other, whatever is wrong with it.

        Raises:
            OwnerAway: nobody can say which keys are good.
        """
        if self.doubtful is not None:
            raise OwnerAway(self.doubtful)
        found = self._by_digest.get(digest_of(secret))  # of a secret's hash no timing says anything
        if found is None:
            return None
        now = self._clock()
        if not found.key.accepts(found.secret, now):
            return None
        self._used[found.key.name] = int(now) // HOUR_S * HOUR_S
        return found.key

    async def create(self, wanted: Wanted) -> Issued:
        """Make a key. It opens at once.

        Raises:
            InvalidRequest: as `keys.created`.
            SettingsError: the file cannot be written.
        """
        return await self._issue(lambda keys: values.created(keys, wanted, self._clock()))

    async def rotate(self, name: str, overlap_s: float) -> Issued:
        """Give a key another secret.

        Raises:
            UnknownKey, InvalidRequest: as `keys.rotated`.
            SettingsError: the file cannot be written.
        """
        return await self._issue(lambda keys: values.rotated(keys, name, overlap_s, self._clock()))

    async def revoke(self, name: str) -> Key:
        """End a key; when this returns it opens nothing any more.

        Raises:
            UnknownKey: there is none of this name.
            SettingsError: the file cannot be written.
        """
        key = await asyncio.to_thread(self._file.change, lambda keys: values.revoked(keys, name, self._clock()))
        await asyncio.to_thread(self.open)
        return key

    async def watch(self) -> None:
        """Follow the file for ever, and note in it when keys were used last."""
        noted = self._clock()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.to_thread(self.reread)
            if self._clock() - noted >= NOTE_EVERY_S:
                noted = self._clock()
                await asyncio.to_thread(self.note_uses)

    def reread(self) -> None:
        """Read the file again if it has changed. One that cannot be read changes nothing, and is told. Blocks."""
        try:
            if self._file.stamp() != self._stamp:
                self.open()
        except SettingsError as error:
            logger.error("%s What was known before still holds.", error)  # noqa: TRY400 - the message says it all

    def note_uses(self) -> None:
        """Write down when keys were last used, where that is news. Blocks; a file that cannot be written is told."""
        used = dict(self._used)
        by_name = {key.name: key for key in self.keys}
        if not any(_is_news(by_name.get(name), at) for name, at in used.items()):
            return

        def noted(keys: tuple[Key, ...]) -> tuple[tuple[Key, ...], None]:
            later = [replace(k, last_used_at=used[k.name]) if _is_news(k, used.get(k.name)) else k for k in keys]
            return tuple(later), None

        try:
            self._file.change(noted)
            self.open()
        except (SettingsError, OwnerAway) as error:
            logger.error("%s", error)  # noqa: TRY400 - the message says it all

    async def _issue(self, work: Callable[[tuple[Key, ...]], Issued]) -> Issued:
        def change(keys: tuple[Key, ...]) -> tuple[tuple[Key, ...], Issued]:
            issued = work(keys)
            return issued.keys, issued

        issued = await asyncio.to_thread(self._file.change, change)
        await asyncio.to_thread(self.open)
        return issued

    def _know(self, keys: tuple[Key, ...], stamp: Stamp) -> None:
        self.keys, self._stamp = keys, stamp
        self._by_digest = {secret.sha256: Found(key, secret) for key in keys for secret in key.secrets}


def _is_news(key: Key | None, at: int | None) -> bool:
    return key is not None and at is not None and (key.last_used_at is None or key.last_used_at < at)
