"""Keys as they are shown: everything but their secrets. The API and the commands show the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from router.access.keys import Issued, Key


def told(key: Key, now: float) -> dict[str, Any]:
    """A key for its readers; instants are ISO 8601, UTC. `last_used_at` is right to the hour."""
    limits = msgspec.structs.asdict(key.limits)
    return {
        "name": key.name,
        "prefix": key.secrets[0].prefix,
        "state": state_of(key, now),
        "scopes": list(key.scopes),
        "created_at": instant(key.created_at),
        "expires_at": instant(key.expires_at),
        "revoked_at": instant(key.revoked_at),
        "last_used_at": instant(key.last_used_at),
        "old_secrets": [
            {"prefix": secret.prefix, "works_until": instant(secret.until)}
            for secret in key.secrets[1:]
            if key.accepts(secret, now)
        ],
        "limits": limits,
    }


def issued(new: Issued, now: float) -> dict[str, Any]:
    """A key with its new secret: the one time that it is shown."""
    return told(new.key, now) | {"secret": new.secret}


def state_of(key: Key, now: float) -> str:
    """`active`, `revoked` or `expired`."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and now >= key.expires_at else "active"


def instant(seconds: int | None) -> str | None:
    """Seconds since 1970 as ISO 8601; None stays None."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
