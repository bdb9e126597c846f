"""The gate: whose credential this is, and whether one more request of theirs may come in."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from router.access.audit import AuditLog
from router.access.failures import Failures
from router.access.jwks import KeySet, from_file, from_url
from router.access.keyring import Keyring
from router.access.keys import Limits
from router.access.limits import Limiter
from router.access.store import KeyFile
from router.access.tokens import BadToken, Verifier, check
from router.errors import Forbidden, SettingsError, TooManyGuesses, Unauthenticated
from router.identity import ANYBODY, Identity
from router.settings import audit_file, keys_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.section import AuthSettings
    from router.sections import Settings
    from router.settings import Secrets

MAX_FAILURES_PER_MINUTE = 30
logger = logging.getLogger("nearfar.access")
_TOO_MANY = "Too many credentials that are not valid here came from your address."
_REFUSED = "The API key or token is missing, or not valid here. Send it as 'Authorization: Bearer ...'."


class Sender(Struct, frozen=True):
    """Whoever asks, and the limits that are their own; None where only those of the configuration hold."""

    identity: Identity
    limits: Limits | None = None


class Access:
    """Everything about who may ask. `divided`: other processes let senders in as well, and count by themselves."""

    def __init__(self, mode: str, keyring: Keyring, limits: Limiter, audit: AuditLog, *, divided: bool = False) -> None:
        self.mode = mode
        self.divided = divided
        self.keyring = keyring
        self.verifier: Verifier | None = None  # until `serve`
        self.limits = limits
        self.audit = audit
        self._guesses = Failures(MAX_FAILURES_PER_MINUTE, limits.now)

    @property
    def asks(self) -> bool:
        """Whether anybody is asked who they are."""
        return self.mode != "none"

    @property
    def takes_keys(self) -> bool:
        """Whether API keys open anything."""
        return "keys" in self.mode

    async def sender(self, credential: str | None, address: str) -> Sender:
        """Whose credential this is. Nobody is asked for one where the mode is `none`.

        Raises:
            Unauthenticated: there is none, or it opens nothing; after too many of them from an address, TooManyGuesses.
            Forbidden: it has limits that nobody here could keep.
        """
        if not self.asks:
            return _ANYBODY
        if not credential:
            raise Unauthenticated(_REFUSED, "missing")
        key = self.keyring.find(credential) if self.takes_keys else None
        if key is not None:
            if self.divided and key.limits != _NO_LIMITS:
                raise Forbidden("This key has limits of its own, which the several workers here cannot keep together.")
            return Sender(key.identity, key.limits)
        try:
            return Sender(await self._verified(credential))
        except BadToken:
            wait_s = self._guesses.note(address)
            if wait_s is None:
                raise Unauthenticated(_REFUSED, "unknown") from None
            raise TooManyGuesses(_TOO_MANY, wait_s) from None

    async def _verified(self, credential: str) -> Identity:
        if self.verifier is None:
            raise BadToken("no key, and tokens open nothing here")
        return await self.verifier.identity(credential)

    def close(self) -> None:
        """Write down when keys were last used. Blocks."""
        if self.takes_keys:
            self.keyring.note_uses()

    def serve(self, settings: Settings, secrets: Secrets) -> None:
        """Get ready to let senders in. A command that only looks needs neither keys nor what tokens are checked with.

        Raises:
            SettingsError: tokens are to be checked and cannot be.
        """
        self.verifier = _verifier(settings, secrets)
        if self.takes_keys and not self.keyring.keys:
            logger.warning("There is no API key yet: nearfar keys create NAME --scope admin")

    async def watch(self) -> None:
        """Follow what decides who may ask, for as long as a server runs: the file of keys, and the issuer's key set."""
        works = [self.keyring.watch()] if self.takes_keys else []
        if self.verifier is not None and self.verifier.keys is not None:
            works.append(self.verifier.keys.follow())
        await asyncio.gather(*works)


_ANYBODY = Sender(ANYBODY)
_NO_LIMITS = Limits()


def opened(settings: Settings, *, in_memory: bool = False, keys: KeyFile | None = None) -> Access:
    """The gate of these settings, with its keys read. Blocks; opens no connection. `in_memory` writes no audit file.

    `keys` is where the keys are, where that is not their file.

    Raises:
        SettingsError: the keys cannot be read.
    """
    auth = settings.auth
    keyring = Keyring(keys or KeyFile(keys_file(settings)))
    if "keys" in auth.mode:
        keyring.open()
    limits = Limiter(limits_of(auth), time.monotonic)
    path = None if in_memory else audit_file(settings)
    return Access(
        auth.mode,
        keyring,
        limits,
        AuditLog(path),
        divided=settings.server.workers > 1 and settings.cluster.state is None,
    )


def limits_of(auth: AuthSettings) -> Limits:
    """What every tenant may do that has no limits of its own."""
    return Limits(
        requests_per_minute=auth.requests_per_minute,
        tokens_per_minute=auth.tokens_per_minute,
        concurrency=auth.concurrency,
    )


def check_tokens(settings: Settings, secrets: Secrets) -> None:
    """See that tokens can be checked, where they are to be.

    Raises:
        SettingsError: naming what is missing.
    """
    if "jwt" not in settings.auth.mode:
        return
    check(settings.auth.jwt, secrets.jwt_secret, offline=settings.routing.offline)
    try:
        import cryptography  # noqa: F401, PLC0415 - of the extra `jwt`
        import jwt  # noqa: F401, PLC0415
    except ImportError as error:
        raise SettingsError(f"auth.mode = {settings.auth.mode!r} needs pip install 'nearfar[jwt]'.") from error


def _verifier(settings: Settings, secrets: Secrets) -> Verifier | None:
    if "jwt" not in settings.auth.mode:
        return None
    check_tokens(settings, secrets)
    jwt = settings.auth.jwt
    keys = None
    if secrets.jwt_secret is None:
        keys = KeySet(_reader(jwt.jwks_file, jwt.jwks_url), jwt.algorithms, time.monotonic)
    return Verifier(jwt, secrets.jwt_secret, keys, time.time)


def _reader(file: str | None, url: str | None) -> Callable[[], bytes]:
    if file is not None:
        return lambda: from_file(Path(file).expanduser())
    if url is None:
        raise SettingsError("auth.jwt: neither a file nor a URL of keys.")
    return lambda: from_url(url)
