"""What `nearfar doctor` says of who may call: the mode, the keys, and how tokens are checked. Opens no connection."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

from router.access.gate import check_tokens, limits_of
from router.access.store import KeyFile
from router.access.told import state_of
from router.cli.finding import Finding
from router.errors import SettingsError
from router.settings import JWT_SECRET, keys_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.access.keys import Key
    from router.sections import Settings
    from router.settings import Secrets

SOON_S = 7 * 86400


def access_lines(settings: Settings, secrets: Secrets) -> Iterator[Finding]:
    """One line for the mode, one for the keys and one for tokens, as far as the mode has them."""
    auth = settings.auth
    if auth.mode == "none":
        forced = settings.server.allow_unauthenticated
        detail = "nobody is asked who they are; " + ("any address may be listened on" if forced else "loopback only")
        yield Finding("auth", "warning" if forced else "ok", detail, "set auth.mode = 'keys'" if forced else "")
        return
    limits = [f"{value} {name.replace('_', ' ')}" for name, value in _limits(settings) if value is not None]
    yield Finding("auth", "ok", f"mode {auth.mode}; each may do: {', '.join(limits) or 'anything, without limits'}")
    if "keys" in auth.mode:
        yield from _keys(settings, keys_file(settings))
    if "jwt" in auth.mode:
        yield _tokens(settings, secrets)


def _keys(settings: Settings, path: Path) -> Iterator[Finding]:
    try:
        keys = KeyFile(path).read()
    except SettingsError as error:
        yield Finding("api keys", "error", str(error), "restore it, or move it away and create keys anew")
        return
    now = time.time()
    active = [key for key in keys if state_of(key, now) == "active"]
    if not active:
        hint = "nearfar keys create NAME --scope admin"
        yield Finding("api keys", "warning", "none that opens anything", hint)
    else:
        admins = sum("admin" in key.scopes for key in active)
        yield Finding("api keys", "ok", f"{len(active)} active ({admins} with admin), {len(keys) - len(active)} ended")
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding("api keys", "warning", f"{path.name} can be read by others", f"chmod 600 {path.name}")
    yield from (_ending(key) for key in active if key.expires_at is not None and key.expires_at - now < SOON_S)
    names = {key.name for key in keys}
    for entry in settings.budgets:
        kind, _, name = entry.scope.partition(":")
        if kind == "key" and name not in names and not name.startswith("jwt:"):
            yield Finding("budget", "warning", f"{entry.scope}: there is no such key yet", "nearfar keys create")


def _ending(key: Key) -> Finding:
    return Finding("api keys", "warning", f"{key.name} expires within a week", "create another in time")


def _tokens(settings: Settings, secrets: Secrets) -> Finding:
    try:
        check_tokens(settings, secrets)
    except SettingsError as error:
        return Finding("tokens", "error", str(error), "correct the key it names")
    jwt = settings.auth.jwt
    how = "a secret" if secrets.jwt_secret is not None else "a file of keys" if jwt.jwks_file else "keys from a URL"
    detail = f"checked with {how} ({', '.join(jwt.algorithms)}); issuer {jwt.issuer or 'any'}, audience "
    detail += f"{jwt.audience or 'any'}"
    return Finding(
        "tokens", "ok", detail, "" if jwt.audience else f"set auth.jwt.audience; {JWT_SECRET} may sign others"
    )


def _limits(settings: Settings) -> list[tuple[str, int | None]]:
    limits = limits_of(settings.auth)
    return [(name, getattr(limits, name)) for name in limits.__struct_fields__]
