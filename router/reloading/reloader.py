"""Reads the configuration again, checks all of it, and puts into force what can change, in one step. Asks nobody.

No request sees a part of it: everything that takes time is done before, and what is under way goes on as it was
decided. What is refused leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from router.access.gate import check_tokens, limits_of
from router.checks import checked, providers_of
from router.editing.editor import made_over
from router.errors import CatalogError, InvalidRequest, SettingsError
from router.pricing import near_rates
from router.reloading.changeable import Taken, taken, told
from router.reloading.money import succeed
from router.settings import read_secrets
from router.spending import spent_budgets

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.hardware import Probe
    from backends.remote.backend import RemoteBackend
    from backends.remote.provider import Provider
    from router.access.limits import Limiter
    from router.budgets import Budgets
    from router.candidates import CandidateFinder
    from router.catalog import Catalog
    from router.decision_log.taking import Log
    from router.dispatch import Dispatcher
    from router.editing.in_force import InForce
    from router.far_side import FarSide
    from router.lessons import Lessons
    from router.near_costs import NearCosts
    from router.renewal import Refresher
    from router.sections import Settings
    from router.settings import Secrets

logger = logging.getLogger("nearfar.settings")
RELOAD = "settings.reload"  # what the audit calls it


class Source(NamedTuple):
    """Where settings come from: `read` reads them as the start did, and blocks; it may refuse some that a start would.

    `others` has the other processes of this server read them, too.
    """

    read: Callable[[], Settings]
    others: Callable[[], None] = lambda: None


class Parts(NamedTuple):
    """What of a house goes by the configuration and can follow another one."""

    in_force: InForce
    far: FarSide
    remote: RemoteBackend
    finder: CandidateFinder
    budgets: Budgets
    limits: Limiter
    dispatcher: Dispatcher
    lessons: Lessons
    near: NearCosts
    probe: Probe
    log: Log
    refresher: Refresher


class Reloaded(Struct, frozen=True, kw_only=True):
    """What reading the configuration again came to.

    Attributes:
        snapshot: The catalogue in force.
        changed: What is otherwise from now on, such as `routing.policy` or `budgets`.
        waiting: What is otherwise in the configuration, and needs a start.
        warnings: What configured policies lack in the catalogue.
    """

    snapshot: str
    changed: tuple[str, ...]
    waiting: tuple[str, ...]
    warnings: list[str]


class _Ready(NamedTuple):
    """All that takes time, done: what is left is to put it into force."""

    taken: Taken
    catalog: Catalog
    secrets: Secrets
    providers: list[Provider]
    budgets: Budgets | None  # None: they stay

    def concerns(self, section: str) -> bool:
        """Whether anything of a section is otherwise."""
        return any(name.partition(".")[0] == section for name in self.taken.changed)


class Reloader:
    """Reloads one at a time."""

    def __init__(self, parts: Parts, source: Source) -> None:
        self._parts = parts
        self._source = source
        self._one_at_a_time = asyncio.Lock()

    async def reload_all(self, author: str | None) -> Reloaded:
        """Read it again, here and in the other processes of this server. Raises as `reload`, and tells nobody then."""
        found = await self.reload(author)
        self._source.others()
        return found

    async def reload(self, author: str | None = None) -> Reloaded:
        """Read it again.

        Raises:
            InvalidRequest: it is broken, and nothing has changed; naming what is wrong, and where.
            RouterError: what came of it cannot be kept, and nothing has changed.
        """
        async with self._one_at_a_time:
            parts = self._parts
            try:
                ready = await asyncio.to_thread(self._ready)
                if ready.taken.changed:
                    said = f"read {told(ready.taken.settings)} again"
                    await parts.in_force.rebase(ready.taken.settings, said, author, lambda: self._settle(ready))
            except (SettingsError, CatalogError) as error:
                raise InvalidRequest(f"{error} Nothing has changed.") from error
            if ready.concerns("providers") and await asyncio.to_thread(parts.far.listings.open):
                parts.refresher.renewed()
        _tell(ready.taken)
        return Reloaded(
            snapshot=parts.in_force.snapshot,
            changed=ready.taken.changed,
            waiting=ready.taken.waiting,
            warnings=parts.in_force.made.warnings,
        )

    def _ready(self) -> _Ready:
        """Read and check all of it, also what waits: a file that the next start would refuse is refused now."""
        held, read = self._parts.in_force.made.held, self._source.read()
        secrets = read_secrets(read)
        check_tokens(read, secrets)
        made_over(read, held.overlay)
        found = taken(held.base, read)
        catalog = checked(found.settings)
        fresh = spent_budgets(found.settings, catalog, self._parts.log) if "budgets" in found.changed else None
        return _Ready(found, catalog, secrets, providers_of(catalog, secrets), fresh)

    def _settle(self, ready: _Ready) -> None:
        """Have everything follow but the catalogue, which does next, before anybody else's turn."""
        parts, settings = self._parts, ready.taken.settings
        if ready.concerns("providers"):
            self._move(ready)
        if ready.budgets is not None:
            succeed(parts.budgets, ready.budgets, time.time())
        if ready.concerns("routing"):
            parts.dispatcher.become(settings.routing)
            parts.lessons.become(settings.routing)
        parts.limits.become(limits_of(settings.auth))
        parts.near.rates = near_rates(settings.local, parts.probe)

    def _move(self, ready: _Ready) -> None:
        """Other far sides. Of one that is somewhere else from now on, nothing is known any more."""
        parts, after = self._parts, ready.catalog.providers
        before = parts.finder.catalog.providers
        moved = {name for name, entry in before.items() if name in after and after[name].base_url != entry.base_url}
        strangers = [candidate for candidate in parts.finder.every() if candidate.through in moved]
        parts.lessons.rekeyed(strangers, {candidate.target.provider for candidate in strangers})
        for candidate in strangers:
            parts.lessons.estimator.forget(candidate.id)
        parts.remote.become(ready.providers)
        parts.far.become(ready.taken.settings, ready.secrets, after)
        parts.finder.forget()


def _tell(found: Taken) -> None:
    if found.waiting:
        logger.warning("%s: %s: needs a restart", told(found.settings), ", ".join(found.waiting))
    logger.info("%s was read again: %s", told(found.settings), ", ".join(found.changed) or "nothing has changed")
