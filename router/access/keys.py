"""API keys as values: how a secret is made and recognised, and what may be done to a list of keys. Touches no file.

A secret is 256 random bits and is shown once; what is kept is its SHA-256, which is enough for a secret that nobody can
guess: there is nothing to be slowed down. A name is given once and for ever, because what a key asked for is found
under it: a new owner of an old name would read the old owner's rows.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from router.errors import InvalidRequest, UnknownKey
from router.identity import SCOPES, Identity, Scope

MARK = "nf_"
SECRET_BYTES = 32
SHOWN_CHARS = len(MARK) + 6
MAX_KEYS = 10_000
MAX_OVERLAP_S = 30 * 86400
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Limits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one tenant may do; None where nothing is said."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None

    def over(self, defaults: Limits) -> Limits:
        """These, and where nothing is said the defaults."""
        own, other = self, defaults
        return Limits(
            requests_per_minute=_first(own.requests_per_minute, other.requests_per_minute),
            tokens_per_minute=_first(own.tokens_per_minute, other.tokens_per_minute),
            concurrency=_first(own.concurrency, other.concurrency),
        )


class Secret(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One secret of a key, hashed. It stops working at `until` (seconds since 1970), if that is set."""

    sha256: str
    prefix: str
    until: int | None = None


class Key(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key. Instants are seconds since 1970, UTC; `last_used_at` is coarse: right to the hour, while a server runs.

    The newest of `secrets` comes first; the others are what it was rotated from.
    """

    name: str
    secrets: tuple[Secret, ...]
    scopes: tuple[Scope, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
    limits: Limits = Limits()

    def accepts(self, secret: Secret, now: float) -> bool:
        """Whether this secret of it opens anything now."""
        if self.revoked_at is not None or (self.expires_at is not None and now >= self.expires_at):
            return False
        return secret.until is None or now < secret.until

    @property
    def identity(self) -> Identity:
        """Whoever holds it."""
        return Identity(self.name, frozenset(self.scopes))


class Wanted(Struct, frozen=True, kw_only=True):
    """A key to be made. `expires_in_s` counts from now."""

    name: str
    scopes: tuple[str, ...] = ("infer", "read")
    expires_in_s: float | None = None
    limits: Limits = Limits()


class Issued(NamedTuple):
    """The list of keys after a change, the key, and its new secret: the only time that it is seen."""

    keys: tuple[Key, ...]
    key: Key
    secret: str


def digest_of(secret: str) -> str:
    """What is kept of a secret, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def created(keys: tuple[Key, ...], wanted: Wanted, now: float) -> Issued:
    """Add a key.

    Raises:
        InvalidRequest: a name that is malformed or was given before, no or an unknown scope, a time that is over.
    """
    if not NAME.fullmatch(wanted.name):
        raise InvalidRequest(
            f"name: {wanted.name!r} is none: 1 to 64 letters, digits, dots, dashes and underscores.", param="name"
        )
    if any(key.name == wanted.name for key in keys):
        raise InvalidRequest(
            f"name: {wanted.name!r} was given before, and what was asked under it stays with it: choose another.",
            param="name",
        )
    if len(keys) >= MAX_KEYS:
        raise InvalidRequest(f"name: there are {MAX_KEYS} keys already, and no more may be kept.", param="name")
    _check_limits(wanted.limits)
    secret = _new_secret()
    key = Key(
        name=wanted.name,
        secrets=(_kept(secret),),
        scopes=_scopes(wanted.scopes),
        created_at=int(now),
        expires_at=None if wanted.expires_in_s is None else _later("expires_in_s", now, wanted.expires_in_s),
        limits=wanted.limits,
    )
    return Issued((*keys, key), key, secret)


def rotated(keys: tuple[Key, ...], name: str, overlap_s: float, now: float) -> Issued:
    """Give a key a new secret. Those it had work for `overlap_s` seconds more, and no longer than they would have.

    Raises:
        UnknownKey: there is none of this name.
        InvalidRequest: it is revoked or has expired, or the overlap is negative or longer than 30 days.
    """
    old = named(keys, name)
    if not 0 <= overlap_s <= MAX_OVERLAP_S:
        raise InvalidRequest(f"overlap_s: {overlap_s:g} is not between 0 and {MAX_OVERLAP_S}.", param="overlap_s")
    if old.revoked_at is not None or (old.expires_at is not None and now >= old.expires_at):
        raise InvalidRequest(f"name: {name!r} is revoked or has expired: create another key.", param="name")
    end = int(now + overlap_s)
    overlapping = [replace(s, until=end if s.until is None else min(s.until, end)) for s in old.secrets]
    secret = _new_secret()
    left = [kept for kept in overlapping if kept.until is not None and kept.until > now]
    key = replace(old, secrets=(_kept(secret), *left))
    return Issued(_with(keys, key), key, secret)


def revoked(keys: tuple[Key, ...], name: str, now: float) -> tuple[tuple[Key, ...], Key]:
    """End a key at once and for ever. One that is revoked already keeps the time at which it was.

    Raises:
        UnknownKey: there is none of this name.
    """
    old = named(keys, name)
    key = old if old.revoked_at is not None else replace(old, revoked_at=int(now))
    return _with(keys, key), key


def named(keys: tuple[Key, ...], name: str) -> Key:
    """The key of this name.

    Raises:
        UnknownKey: there is none.
    """
    for key in keys:
        if key.name == name:
            return key
    raise UnknownKey(f"There is no key {name!r}.")


def _scopes(asked: tuple[str, ...]) -> tuple[Scope, ...]:
    unknown = sorted(set(asked) - set(SCOPES))
    if unknown or not asked:
        what = ", ".join(repr(scope) for scope in unknown) or "none"
        raise InvalidRequest(f"scopes: {what}; one or more of {', '.join(SCOPES)}.", param="scopes")
    return tuple(scope for scope in SCOPES if scope in asked)


def _check_limits(limits: Limits) -> None:
    for field in ("requests_per_minute", "tokens_per_minute", "concurrency"):
        value = getattr(limits, field)
        if value is not None and not 1 <= value <= 10**12:
            raise InvalidRequest(f"{field}: {value} is not between 1 and 10^12.", param=field)


def _later(field: str, now: float, seconds: float) -> int:
    if not 1 <= seconds <= 100 * 366 * 86400:
        raise InvalidRequest(f"{field}: {seconds:g} is not between 1 second and 100 years.", param=field)
    return int(now + seconds)


def _new_secret() -> str:
    return MARK + secrets.token_urlsafe(SECRET_BYTES)


def _kept(secret: str) -> Secret:
    return Secret(sha256=digest_of(secret), prefix=secret[:SHOWN_CHARS])


def _with(keys: tuple[Key, ...], changed: Key) -> tuple[Key, ...]:
    return tuple(changed if key.name == changed.name else key for key in keys)


def _first(own: int | None, other: int | None) -> int | None:
    return other if own is None else own
