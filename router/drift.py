"""Where what we expect to pay is not what the far side says it charges now. Plain functions on listings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from backends.remote.provider import ROUTER
from router.listings import UNITS, shipped
from router.sub_providers import configured, maximum, routed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from backends.remote.listing import ListedModel
    from router.listings import Listing, Listings
    from router.sections import ModelEntry, Price

WORTH_SAYING_PERCENT = 1.0


class PriceDrift(Struct, frozen=True, kw_only=True):
    """A price that is written down here, and the far side's own. `percent` is None where ours was 0.

    Attributes:
        unit: Which of the price's units.
        expected_usd: Written down, in the unit's own measure.
        expected_from: Where: the configuration, the built-in catalogue's seed, or the listing that came with us.
        in_force: True when requests are priced by ours all the same, because somebody configured it.
        live_usd: As the far side listed it at `live_as_of`; for the router itself the highest of its providers.
    """

    model: str
    provider: str
    unit: str
    expected_usd: float
    expected_from: str
    live_usd: float
    live_as_of: str
    in_force: bool
    percent: float | None

    def __str__(self) -> str:
        moved = "" if self.percent is None else f" ({self.percent:+.0f} %)"
        return (
            f"{self.provider}:{self.model} {self.unit}: {self.expected_usd:g} by {self.expected_from}, "
            f"{self.live_usd:g} as of {self.live_as_of}{moved}"
        )


def price_drift(models: Iterable[ModelEntry], listings: Listings) -> list[PriceDrift]:
    """The prices of these models that moved by a percent or more. None moved where no listing was ever fetched."""
    live = listings.fetched(ROUTER)
    if live is None:
        return []
    old = shipped(live.base_url)
    known = {} if old is None else {model.id: model for model in old.models}
    found: list[PriceDrift] = []
    for model in models:
        for entry in filter(routed, model.candidates):
            name = entry.model or model.id
            now = listings.model(ROUTER, name)
            if now is not None:
                found += _moved(name, ROUTER, entry.price, maximum(live, now), in_force=configured(entry.price))
                found += _behind(old, known.get(name), live, now)
    return found


def _behind(old: Listing | None, was: ListedModel | None, live: Listing, now: ListedModel) -> Iterator[PriceDrift]:
    if old is None or was is None:
        return
    prices = {listed.provider: live.price(listed) for listed in now.providers}
    for listed in was.providers:
        yield from _moved(now.id, listed.provider, old.price(listed), prices.get(listed.provider))


def _moved(
    model: str, provider: str, expected: Price | None, live: Price | None, *, in_force: bool = False
) -> Iterator[PriceDrift]:
    for unit in UNITS:
        was, now = getattr(expected, unit, None), getattr(live, unit, None)
        if expected is None or live is None or was is None or now is None or was == now:
            continue
        percent = 100 * (now - was) / was if was else None
        if percent is None or abs(percent) >= WORTH_SAYING_PERCENT:
            yield PriceDrift(
                model=model,
                provider=provider,
                unit=unit,
                expected_usd=was,
                expected_from=expected.source,
                live_usd=now,
                live_as_of=live.as_of or "",
                in_force=in_force,
                percent=percent,
            )
