"""What several workers must have together: without an owner of it, a server that needs it is refused before it starts.

The owner is a cluster's (`cluster.state`): each worker takes part as a router of its own, and gets its part of budgets
and limits. Without one, what comes to need it while they run (a key that gets limits) is refused by whoever reads
`Access.divided`.
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
    if settings.log.path == ":memory:":
        raise SettingsError("log.path: a log in memory dies with its process; several workers need a file.")
    if settings.cluster.state is None:
        _check_alone(settings)


def _check_alone(settings: Settings) -> None:
    """See that there is no money and no limit to share, where nobody shares it out."""
    workers = settings.server.workers
    otherwise = "Serve with one worker, with cluster.state (nearfar state), or without"
    refusal = f"with server.workers = {workers} each worker would allow it by itself, {workers} times as much in all"
    if settings.budgets:
        raise SettingsError(f"budgets: {refusal}. {otherwise} budgets.")
    for name, limit in (
        ("requests_per_minute", settings.auth.requests_per_minute),
        ("tokens_per_minute", settings.auth.tokens_per_minute),
        ("concurrency", settings.auth.concurrency),
    ):
        if limit is not None:
            raise SettingsError(f"auth.{name}: {refusal}. {otherwise} this limit.")
    limited = [key.name for key in _keys(settings) if is_limited(key)]
    if limited:
        raise SettingsError(f"the limits of the API key {limited[0]!r}: {refusal}. {otherwise} it.")


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
