"""From a candidate behind the Hugging Face router to the providers that the router lists for it. Plain functions.

The router itself stays a candidate: it chooses by its own measure, so its price is the highest of those known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from backends.remote.listing import ListedProvider
from backends.remote.provider import ROUTER, SUB_PROVIDERS
from router.sections import CandidateEntry, Price

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from backends.remote.listing import ListedModel
    from router.listings import Listing, Listings
    from router.sections import ModelEntry

MAX_ADDED = 5
SEED = "static seed"  # the source of the built-in catalogue's prices, which any listing is better than
MAXIMUM = "router maximum"
_ROUTERS_CHOICE = frozenset({"fastest", "cheapest", "preferred"})


class Place(Struct, frozen=True, kw_only=True):
    """A candidate's entry with what a listing adds to it.

    Attributes:
        listed: What the router says of this provider.
        served_prices: By the provider that may serve it, where the entry itself leaves that open.
    """

    entry: CandidateEntry
    listed: ListedProvider | None = None
    served_prices: dict[str, Price] = {}


def plain(model: ModelEntry, direct: Container[str], only: Sequence[str] = ()) -> list[Place]:
    """The model's own candidates, and the providers that `only` names behind the router, at a price nobody knows."""
    own = [Place(entry=entry) for entry in model.candidates]
    behind = [(entry, name) for entry in model.candidates if routed(entry) for name in _named(only, direct)]
    return own + [Place(entry=_behind(entry, name, None)) for entry, name in behind]


def spread(model: ModelEntry, listings: Listings, direct: Container[str], only: Sequence[str] = ()) -> list[Place]:
    """The model's candidates with the providers behind the router: the cheapest, or those that `only` names.

    A price that somebody configured is never replaced. `direct` are far sides of these names that are reached without
    the router.
    """
    places: list[Place] = []
    for entry in model.candidates:
        listing = listings.of(ROUTER) if routed(entry) else None
        listed = listings.model(ROUTER, entry.model or model.id) if listing else None
        if listing is None or listed is None:
            places += plain(replace(model, candidates=(entry,)), direct, only)
        else:
            places += _routed(entry, listing, listed, direct, only)
    return places


def routed(entry: CandidateEntry) -> bool:
    """True for a candidate that the hub's router serves."""
    return entry.provider == ROUTER


def configured(price: Price | None) -> bool:
    """True for a price that somebody meant, and that no listing replaces."""
    return price is not None and price.source != SEED


def maximum(listing: Listing, listed: ListedModel) -> Price | None:
    """The most a request may cost at those whose price is listed; None when no price is.

    The router may choose one who lists none: what that costs nobody knows before, and afterwards it is unknown.
    """
    priced = [provider for provider in listed.providers if provider.priced and provider.live is not False]
    if not priced:
        return None
    return Price(
        input_per_1m_usd=max(provider.input_per_1m_usd or 0.0 for provider in priced),
        output_per_1m_usd=max(provider.output_per_1m_usd or 0.0 for provider in priced),
        as_of=listing.as_of,
        source=MAXIMUM,
    )


def _routed(
    entry: CandidateEntry, listing: Listing, listed: ListedModel, direct: Container[str], only: Sequence[str]
) -> list[Place]:
    by_name = {provider.provider: provider for provider in listed.providers}
    own = configured(entry.price)
    most = entry.price if own else maximum(listing, listed) or entry.price
    prices = {} if own else {name: p for name, one in by_name.items() if (p := listing.price(one)) is not None}
    places = [Place(entry=replace(entry, price=most), served_prices=prices)]
    for name in _named(only, direct) if only else _cheapest(listed.providers, direct):
        if name in _ROUTERS_CHOICE:
            places.append(Place(entry=_behind(entry, name, most), served_prices=prices))
        else:
            one = by_name.get(name)
            price = None if one is None else listing.price(one)
            places.append(Place(entry=_behind(entry, name, price), listed=one))
    return places


def _named(only: Sequence[str], direct: Container[str]) -> list[str]:
    return [name for name in dict.fromkeys(only) if name in SUB_PROVIDERS and name not in direct]


def _cheapest(providers: Iterable[ListedProvider], direct: Container[str]) -> list[str]:
    """Whom to add unasked: who answers, at a known price, by what an answer costs."""
    behind = [p for p in providers if p.provider in SUB_PROVIDERS and p.provider not in direct]
    usable = [p for p in behind if p.priced and p.live is not False]
    usable.sort(key=lambda p: (p.output_per_1m_usd or 0.0, p.input_per_1m_usd or 0.0, p.provider))
    return [provider.provider for provider in usable[:MAX_ADDED]]


def _behind(entry: CandidateEntry, name: str, price: Price | None) -> CandidateEntry:
    return replace(entry, provider=name, price=price)
