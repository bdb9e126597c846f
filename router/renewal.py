"""What may change while the router runs, without a restart: the far sides' listings with their prices, and the keys.

Nothing is fetched unless somebody asks (`nearfar models refresh`) or the configuration says how often.
"""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from backends.errors import BackendError
from backends.remote.provider import ROUTER
from router.drift import PriceDrift, price_drift
from router.errors import RouterError
from router.listings import Changes, Listing, compare

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from backends.remote.backend import RemoteBackend
    from router.catalog import Catalog
    from router.far_side import FarSide

logger = logging.getLogger("nearfar")

WATCH_EVERY_S = 1.0
HOUR_S = 3600.0
SHOWN_DRIFTS = 3


class Refreshed(Struct, frozen=True, kw_only=True):
    """How asking one far side for its listing ended: with what has changed, or with why it failed."""

    provider: str
    as_of: str | None = None
    models: int | None = None
    changes: Changes | None = None
    error: str | None = None


def _age_s(listing: Listing | None) -> float:
    """How old a listing is; endless where there is none, or its date is not one of ours."""
    try:
        then = datetime.fromisoformat(listing.as_of) if listing else None
    except ValueError:
        then = None
    if then is None or then.tzinfo is None:
        return math.inf
    return max(0.0, (datetime.now(UTC) - then).total_seconds())


class Refresher:
    """Fetches listings and takes over keys, and puts them into force."""

    def __init__(
        self,
        far: FarSide,
        catalog: Catalog,
        remote: RemoteBackend,
        reprice: Callable[[], None],
        rekeyed: Callable[[Collection[str]], None],
    ) -> None:
        self._far = far
        self._listings = far.listings
        self._catalog = catalog
        self._remote = remote
        self._reprice = reprice
        self._rekeyed = rekeyed
        self._asking = asyncio.Lock()
        self._told: set[tuple[str, str, str, float]] = set()
        self.drift: list[PriceDrift] = []
        self._look()

    async def refresh(
        self, providers: Collection[str] = (), done: Callable[[Refreshed], None] = lambda _: None
    ) -> list[Refreshed]:
        """Ask these far sides, or all, what they serve. Spends nothing; one that fails leaves the others alone.

        Raises:
            RouterError: nothing may leave this machine, or a far side of this name cannot be asked.
        """
        if self._far.offline:
            raise RouterError("routing.offline: nothing may leave this machine, so no listing can be fetched.")
        askable = list(self._listings)
        for name in providers:
            if name not in askable:
                raise RouterError(f"{name}: no far side with a listing; there are: {', '.join(askable)}.")
        async with self._asking:
            return await asyncio.gather(*(self._refreshed(name, done) for name in dict.fromkeys(providers or askable)))

    async def every(self, hours: float) -> None:
        """Refresh again and again; at once where the router's listing is older than this, or was never fetched."""
        await asyncio.sleep(max(0.0, hours * HOUR_S - _age_s(self._listings.fetched(ROUTER))))
        while True:
            for one in await self.refresh():
                if one.error is not None:
                    logger.warning("routing.refresh_hours: %s", one.error)
            await asyncio.sleep(hours * HOUR_S)

    def renewed(self) -> None:
        """Other listings are in force: requests are priced by them from now on, in the log too."""
        self._reprice()
        self._look()

    async def _refreshed(self, name: str, done: Callable[[Refreshed], None]) -> Refreshed:
        try:
            models = await self._remote.listing(name)
        except BackendError as error:
            result = Refreshed(provider=name, error=str(error))
        else:
            before = self._listings.of(name)
            if before is not None and before.models and not models:
                result = Refreshed(provider=name, error=f"provider {name}: lists no model; the listing known is kept")
            else:
                base_url = self._catalog.providers[name].base_url
                as_of = datetime.now(UTC).isoformat(timespec="seconds")
                after = Listing(base_url=base_url, as_of=as_of, source=f"{base_url.rstrip('/')}/models", models=models)
                changes = await asyncio.to_thread(compare, before, after)
                error_said = await asyncio.to_thread(self._kept, name, after)
                self.renewed()  # at once: whoever else is asked may take long to answer
                result = Refreshed(provider=name, as_of=as_of, models=len(models), changes=changes, error=error_said)
        done(result)
        return result

    def _kept(self, name: str, listing: Listing) -> str | None:
        """Put it into force; why it could not be written, if so."""
        try:
            self._listings.replace(name, listing)
        except OSError as error:
            return f"provider {name}: the listing is in force, and could not be kept ({type(error).__name__})"
        return None

    def _look(self) -> None:
        """Compare prices, and say once in the log output what moved."""
        self.drift = price_drift(self._catalog, self._listings)
        told = {(d.model, d.provider, d.unit, d.live_usd): str(d) for d in self.drift}
        new = [sentence for key, sentence in told.items() if key not in self._told]
        self._told = set(told)
        if new:
            more = f"; and {len(new) - SHOWN_DRIFTS} more" if len(new) > SHOWN_DRIFTS else ""
            logger.warning("prices have drifted: %s%s", "; ".join(new[:SHOWN_DRIFTS]), more)

    async def watch(self) -> None:
        """Look every second whether another program changed a key's file or fetched a listing. Never on the loop."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            await self.renew_keys()
            if await asyncio.to_thread(self._listings.open):
                self.renewed()

    async def renew_keys(self) -> None:
        """Take over the keys that have changed in their files; each goes to its own far side and to no other."""
        keys = self._far.keys
        before = keys.secrets
        if not await asyncio.to_thread(keys.reread):
            return
        changed = {
            entry.name: key
            for entry in self._catalog.providers.values()
            if (key := keys.secrets.key_of(entry)) != before.key_of(entry)
        }
        for name, key in changed.items():
            self._rekey(name, key)
        self._rekeyed(changed)
        if keys.hub_token != before.hf_token:
            self._far.health.forget()

    def _rekey(self, provider: str, key: str | None) -> None:
        try:
            self._remote.rekey(provider, key)
        except ValueError as error:
            logger.warning("a new key is not used: %s", error)
        else:
            logger.info("provider %s: another key is in use from now on", provider)
