"""Keyed hashes: equal inputs of one tenant are seen to be equal, and nothing else can be learnt from them.

The key is random, made once for each installation, and lies beside the log in a file that its owner alone can read.
Each tenant has a key of its own that follows from it, so equal inputs of two tenants have nothing in common.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

import msgspec

from backends.writing import replace_whole
from router.errors import LogError

if TYPE_CHECKING:
    from pathlib import Path

    from backends.types import Payload

KEY_BYTES = 32
DIGEST_BYTES = 8
_ENCODE = msgspec.msgpack.Encoder().encode


class Hasher:
    """Hashes inputs by tenant. Without a key it makes one that dies with the process."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(KEY_BYTES)

    @classmethod
    def beside(cls, log: Path | None) -> Hasher:
        """With the key of this installation, made now if there is none; of a log in memory (None) with one of its own.

        Blocks.

        Raises:
            LogError: the key's file is not one, or cannot be read or made.
        """
        if log is None:
            return cls()
        file = log.with_name(f"{log.name}.key")
        try:
            return cls(_read(file) or _made(file))
        except OSError as error:
            raise LogError(
                f"The key beside the decision log, {file.name}, cannot be read: {error.strerror}."
            ) from error

    def of(self, tenant: str, value: Payload | str) -> str:
        """The hash of something a tenant sent, in hexadecimal digits."""
        own = hashlib.blake2b(tenant.encode(), digest_size=KEY_BYTES, key=self._key).digest()
        return hashlib.blake2b(_ENCODE(value), digest_size=DIGEST_BYTES, key=own).hexdigest()


def _read(file: Path) -> bytes | None:
    try:
        key = file.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) != KEY_BYTES:
        raise LogError(
            f"The key beside the decision log, {file.name}, has {len(key)} bytes and not {KEY_BYTES}. Delete it to "
            "begin with another one: equal inputs from before and after that are then no longer seen to be equal."
        )
    return key


def _made(file: Path) -> bytes:
    """A new key in its file: whole or not at all, whatever ends the process meanwhile."""
    key = secrets.token_bytes(KEY_BYTES)
    replace_whole(file, key)
    return key
