"""JSON Web Tokens: whose they are and what they allow, where everything about them is as the configuration says.

The configuration names the algorithms; what a token's header claims can only fail to match. A secret goes with HS*
alone and public keys never do, so that nobody signs with a public key as if it were the secret.
"""

from __future__ import annotations

import math
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from router.egress.addresses import is_own
from router.errors import SettingsError
from router.identity import SCOPES, Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwt import PyJWK

    from router.access.jwks import KeySet
    from router.section import JwtSettings

TENANT = "jwt:"  # no key's name has a colon, so no subject can be one
MAX_TOKEN_CHARS = 16_384
MAX_SUBJECT_CHARS = 200
SYMMETRIC = ("HS256", "HS384", "HS512")
ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
REMEMBERED = 1024


class BadToken(Exception):
    """This token opens nothing. Why is for the metrics, and never told to its sender."""


class Verifier:
    """Tokens of one issuer. Tokens found good are remembered, by their hash, until they expire."""

    def __init__(
        self, settings: JwtSettings, secret: str | None, keys: KeySet | None, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._secret = secret
        self.keys = keys
        self._clock = clock
        self._generation = 0
        self._good: dict[bytes, tuple[float, Identity]] = {}

    async def identity(self, token: str) -> Identity:
        """Whose token this is.

        Raises:
            BadToken: it is malformed, forged, too old or too new, of another issuer or for another audience.
        """
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            raise BadToken("malformed")
        self._forget()
        digest = sha256(token.encode()).digest()
        known = self._good.get(digest)
        if known is not None and self._clock() < known[0]:
            return known[1]
        claims = self._claims(token, await self._key(token))
        found = Identity(_tenant(claims["sub"]), frozenset(s for s in SCOPES if s in _scopes(claims)))
        if len(self._good) >= REMEMBERED:
            self._good.clear()
        self._good[digest] = (_expiry(claims["exp"]) + self._settings.leeway_s, found)
        return found

    def _forget(self) -> None:
        """What keys opened that the issuer may have withdrawn is looked at again."""
        if self.keys is not None and self.keys.generation != self._generation:
            self._generation = self.keys.generation
            self._good.clear()

    async def _key(self, token: str) -> str | PyJWK:
        """The key that must have signed it.

        Raises:
            BadToken: its header is no header, or names an algorithm or a key that is not one of ours.
        """
        import jwt  # noqa: PLC0415 - of the extra `jwt`

        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise BadToken("malformed") from error
        if header.get("alg") not in self._settings.algorithms:
            raise BadToken("algorithm")
        if self._secret is not None:
            return self._secret
        kid = header.get("kid")
        key = None if self.keys is None else await self.keys.key(kid if isinstance(kid, str) else None)
        if key is None or key.algorithm_name != header["alg"]:
            raise BadToken("key")
        return key

    def _claims(self, token: str, key: str | PyJWK) -> dict[str, Any]:
        import jwt  # noqa: PLC0415 - of the extra `jwt`

        settings = self._settings
        try:
            return jwt.decode(
                token,
                key,
                algorithms=list(settings.algorithms),
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_s,
                options={"require": ["exp", "sub"], "verify_aud": settings.audience is not None},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise BadToken(type(error).__name__) from error


def check(settings: JwtSettings, secret: str | None, *, offline: bool) -> None:
    """See that tokens can be told true from false in one way, and not in two.

    Raises:
        SettingsError: naming what is missing or contradicts itself.
    """
    sources = {
        "NEARFAR_JWT_SECRET": secret,
        "auth.jwt.jwks_file": settings.jwks_file,
        "auth.jwt.jwks_url": settings.jwks_url,
    }
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        raise SettingsError(
            f"auth.mode: tokens are checked with exactly one of {', '.join(sources)}; "
            f"there is {' and '.join(given) or 'none'}."
        )
    if secret is not None and len(secret.encode()) < 32:
        raise SettingsError("NEARFAR_JWT_SECRET: shorter than 32 bytes, so it could be guessed.")
    family = SYMMETRIC if secret is not None else ASYMMETRIC
    strange = [algorithm for algorithm in settings.algorithms if algorithm not in family]
    if strange or not settings.algorithms:
        raise SettingsError(
            f"auth.jwt.algorithms: {', '.join(strange) or 'none'}; with {given[0]} they are of {', '.join(family)}."
        )
    if secret is None and (settings.issuer is None or settings.audience is None):
        raise SettingsError(
            "auth.jwt: with public keys, issuer and audience must be set: their owner signs tokens for others, too."
        )
    _check_url(settings.jwks_url, offline=offline)


def _check_url(url: str | None, *, offline: bool) -> None:
    if url is None:
        return
    place = urlsplit(url)
    loopback = is_own(place.hostname)
    if place.scheme != "https" and not (place.scheme == "http" and loopback):
        raise SettingsError("auth.jwt.jwks_url: keys that arrive unprotected prove nothing: use https.")
    if offline and not loopback:
        raise SettingsError("auth.jwt.jwks_url: nobody is asked offline: keep the keys in auth.jwt.jwks_file.")


def _tenant(subject: object) -> str:
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARS or not subject.isprintable():
        raise BadToken("subject")
    return TENANT + subject


def _expiry(claim: object) -> float:
    """Seconds since 1970; PyJWT has compared it already, but as an integer of any size."""
    try:
        seconds = float(str(claim))
    except ValueError:
        raise BadToken("expiry") from None
    if not math.isfinite(seconds):
        raise BadToken("expiry")
    return seconds


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """What the token allows: words of `scope` or `scp`, in one string or a list."""
    given = claims.get("scope", claims.get("scp", ""))
    words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
    return frozenset(word for word in words if isinstance(word, str))
