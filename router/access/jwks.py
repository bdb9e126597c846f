"""The public keys of whoever issues tokens: a JSON Web Key Set from a file or a URL, asked again for keys nobody knows.

A set is fetched in a thread, at the start, every hour, and when a token names a key that is not in it: at most once a
minute, so that tokens made up cannot make this server ask all the time. A set that cannot be fetched leaves the last
one in force.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from pyreqwest.client import SyncClientBuilder
from pyreqwest.exceptions import PyreqwestError

from router.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jwt import PyJWK

ASK_AGAIN_S = 60.0
FOLLOW_S = 3600.0
TIMEOUT = timedelta(seconds=10)
MAX_BYTES = 1_000_000

logger = logging.getLogger("nearfar.access")


class KeySet:
    """Public keys by their id."""

    def __init__(self, read: Callable[[], bytes], algorithms: tuple[str, ...], clock: Callable[[], float]) -> None:
        self._read = read
        self._algorithms = algorithms
        self._clock = clock
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()
        self.generation = 0  # how often a set came
        self._keys: Mapping[str, PyJWK] = {}

    async def key(self, kid: str | None) -> PyJWK | None:
        """The key of this id; the only one there is, where a token names none. What is not known is asked for."""
        found = self._find(kid)
        if found is None and await self.refresh():
            found = self._find(kid)
        return found

    async def refresh(self) -> bool:
        """Fetch the set again, unless that was tried within the last minute. True when a set came."""
        async with self._asking:
            if self._asked_at is not None and self._clock() - self._asked_at < ASK_AGAIN_S:
                return True  # somebody else's asking, just now: look once more
            self._asked_at = self._clock()
            try:
                self._keys = await asyncio.to_thread(lambda: _keys(self._read(), self._algorithms))
            except SettingsError as error:
                logger.warning("%s", error)
                return False
            self.generation += 1
            return True

    async def follow(self) -> None:
        """Fetch the set now and every hour, for ever, so that keys that were withdrawn open nothing much longer."""
        while True:
            await self.refresh()
            await asyncio.sleep(FOLLOW_S)

    def _find(self, kid: str | None) -> PyJWK | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)


def from_file(path: Path) -> bytes:
    """What a file of keys holds. Blocks.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"auth.jwt.jwks_file: {path.name} cannot be read ({type(error).__name__}).") from error


def from_url(url: str) -> bytes:
    """What is served at a URL. Blocks; no redirect is followed.

    Raises:
        SettingsError: nobody answers there, or with something else than a document of a sensible size.
    """
    try:
        with SyncClientBuilder().timeout(TIMEOUT).follow_redirects(enable=False).build() as client:
            response = client.get(url).build().send()
            status, body = response.status, bytes(response.bytes())
    except PyreqwestError as error:
        raise SettingsError(f"auth.jwt.jwks_url: nobody answers ({type(error).__name__}).") from error
    if status != 200 or len(body) > MAX_BYTES:
        raise SettingsError(f"auth.jwt.jwks_url: answered {status} with {len(body)} bytes.")
    return body


def _keys(body: bytes, algorithms: tuple[str, ...]) -> dict[str, PyJWK]:
    """The keys of a set that sign with one of these algorithms; whatever else is in it is passed over.

    Raises:
        SettingsError: this is no set.
    """
    try:
        document: Any = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise SettingsError("auth.jwt: the key set is not valid JSON.") from error
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise SettingsError("auth.jwt: the key set has no list of keys.")
    found = {}
    for number, entry in enumerate(listed):
        key = _key(entry, algorithms)
        if key is not None:
            found[key.key_id or f"#{number}"] = key
    return found


def _key(entry: object, algorithms: tuple[str, ...]) -> PyJWK | None:
    from jwt import PyJWK, PyJWTError  # noqa: PLC0415 - of the extra `jwt`

    if not isinstance(entry, dict) or entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
        return None
    try:
        key = PyJWK.from_dict(entry)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if key.algorithm_name in algorithms else None
