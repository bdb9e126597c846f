"""What several workers must have together, and cannot yet: a server that needs it is refused before it starts.

This is the place where an owner of what all share (budgets, limits, the catalogue) is to be plugged in: whoever can
grant it to each worker takes the refusal of it out here, and hands each worker its part in `router.workers.worker`.
What comes to need it while they run (a key that gets limits) is refused by whoever reads `Access.divided`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from router.access.keys import Limits
from router.access.store import KeyFile
from router.errors import SettingsError
from router.settings import keys_file

if TYPE_CHECKING:
    from router.access.keys import Key
    from router.sections import Settings

FIRST = 0
"""The number of the worker that does what must be done once."""
_NO_LIMITS = Limits()


def check(settings: Settings) -> None:
    """See that so many workers can serve these settings and nothing is spent or allowed as many times over. Blocks.

    Raises:
        SettingsError: naming what they cannot share; or the file of keys cannot be read.
    """
    workers = settings.server.workers
    if workers == 1:
        return
    refusal = f"with server.workers = {workers} each worker would allow it by itself, {workers} times as much in all"
    if settings.budgets:
        raise SettingsError(f"budgets: {refusal}. Serve with one worker, or without budgets.")
    for name, limit in (
        ("requests_per_minute", settings.auth.requests_per_minute),
        ("tokens_per_minute", settings.auth.tokens_per_minute),
        ("concurrency", settings.auth.concurrency),
    ):
        if limit is not None:
            raise SettingsError(f"auth.{name}: {refusal}. Serve with one worker, or without this limit.")
    limited = [key.name for key in _keys(settings) if is_limited(key)]
    if limited:
        raise SettingsError(f"the limits of the API key {limited[0]!r}: {refusal}. Serve with one worker.")
    if settings.log.path == ":memory:":
        raise SettingsError("log.path: a log in memory dies with its process; several workers need a file.")


def is_limited(key: Key) -> bool:
    """Whether a key that opens something has limits of its own."""
    return key.revoked_at is None and key.limits != _NO_LIMITS


def part_of(settings: Settings, number: int) -> Settings:
    """The settings of one worker: what is asked of others, or loaded unasked, the first does; memory is shared out.

    Each worker loads the near models that its requests need, so each may use its part of `local.memory_fraction`.
    """
    local = replace(settings.local, memory_fraction=settings.local.memory_fraction / settings.server.workers)
    routing = settings.routing
    if number != FIRST:
        local, routing = replace(local, warm=()), replace(routing, refresh_hours=None)
    return replace(settings, local=local, routing=routing)


def _keys(settings: Settings) -> tuple[Key, ...]:
    return KeyFile(keys_file(settings)).read() if "keys" in settings.auth.mode else ()
