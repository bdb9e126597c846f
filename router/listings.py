"""What far sides said they serve, and at what price: the listing that came with us, and newer ones that were fetched.

A listing is data with a date and a source. The newest wins; none is fetched here (router/renewal.py does, when asked).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from backends.remote.listing import ListedModel, ListedProvider
from router.sections import Price

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from router.sections import ProviderSettings

SHIPPED = "providers_snapshot.json"
MAX_FILE_BYTES = 16 * 1024 * 1024
UNITS = ("input_per_1m_usd", "output_per_1m_usd")


class Listing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one far side serves.

    Attributes:
        base_url: Whose listing it is; prices say nothing about another place.
        as_of: ISO date or time; of the data, not of its reading.
        source: Where the figures come from.
        notice: What their owner wants said of them.
    """

    base_url: str
    as_of: str
    source: str
    models: tuple[ListedModel, ...]
    notice: str = ""

    def price(self, listed: ListedProvider) -> Price | None:
        """The price of one provider, dated; None when the listing has none."""
        if not listed.priced:
            return None
        return Price(
            input_per_1m_usd=listed.input_per_1m_usd,
            output_per_1m_usd=listed.output_per_1m_usd,
            as_of=self.as_of,
            source=self.source,
        )


class PriceChange(Struct, frozen=True, kw_only=True):
    """A price that is not what it was. `percent` is None where it was 0."""

    model: str
    provider: str
    unit: str
    before: float
    after: float
    percent: float | None


class Changes(Struct, frozen=True, kw_only=True):
    """What a newer listing has that an older one had not, what it has not any more, and the prices that moved.

    `new` and `gone` are `PROVIDER:MODEL`, or a model's id where no provider is named.
    """

    new: list[str]
    gone: list[str]
    prices: list[PriceChange]


class _Known(NamedTuple):
    listing: Listing
    models: dict[str, ListedModel]
    fetched: bool


class Listings:
    """The newest listing of each far side that has one, by the far side's name."""

    def __init__(self, providers: Mapping[str, ProviderSettings], folder: Path) -> None:
        self._providers = _listing(providers)
        self._folder = folder
        self._known: dict[str, _Known] = {}
        self._stamps: dict[str, tuple[int, int] | None] = {}
        self.version = 0

    def become(self, providers: Mapping[str, ProviderSettings]) -> None:
        """Know these far sides from now on; nothing of those that are new or have moved, until `open` has read it."""
        before, self._providers = self._providers, _listing(providers)
        for name, entry in before.items():
            if name not in self._providers or self._providers[name].base_url != entry.base_url:
                self._stamps.pop(name, None)
                self._take(name, None, fetched=False)

    def __iter__(self) -> Iterator[str]:
        """The names of all far sides that can be asked for a listing."""
        return iter(self._providers)

    def open(self) -> bool:
        """Read what is on disk and has changed since it was read; True when anything had. Blocks, for milliseconds."""
        stamps = {name: _stamp(self._path(entry)) for name, entry in self._providers.items()}
        changed = [name for name, stamp in stamps.items() if name not in self._stamps or self._stamps[name] != stamp]
        self._stamps = stamps
        for name in changed:
            base_url = self._providers[name].base_url
            fetched, ours = _read(self._path(self._providers[name]), base_url), shipped(base_url)
            newest = max((one for one in (fetched, ours) if one is not None), key=lambda one: one.as_of, default=None)
            self._take(name, newest, fetched=newest is not None and newest is fetched)
        return bool(changed)

    def of(self, provider: str) -> Listing | None:
        """The newest listing of a far side."""
        known = self._known.get(provider)
        return known.listing if known else None

    def fetched(self, provider: str) -> Listing | None:
        """The newest listing, if the far side itself said it; None where only the shipped one is known."""
        known = self._known.get(provider)
        return known.listing if known and known.fetched else None

    def model(self, provider: str, model_id: str) -> ListedModel | None:
        """What a far side's listing says of a model."""
        known = self._known.get(provider)
        return known.models.get(model_id) if known else None

    def replace(self, provider: str, listing: Listing) -> None:
        """Put a fetched listing into force, and keep it for later starts. Blocks, for milliseconds.

        Raises:
            OSError: It could not be kept; it is in force all the same.
        """
        path = self._path(self._providers[provider])
        try:
            _write(path, msgspec.json.encode(listing))
            self._stamps[provider] = _stamp(path)
        finally:
            self._take(provider, listing, fetched=True)  # last: who is told of it can price by it at once

    def prices(self) -> dict[str, dict[str, Price]]:
        """Every listed price in force, by far side and `PROVIDER:MODEL`."""
        return {
            name: {
                f"{listed.provider}:{model.id}": price
                for model in known.listing.models
                for listed in model.providers
                if (price := known.listing.price(listed)) is not None
            }
            for name, known in list(self._known.items())  # a thread may take one in meanwhile
        }

    def _take(self, name: str, listing: Listing | None, *, fetched: bool) -> None:
        if listing is None:
            self._known.pop(name, None)
        else:
            self._known[name] = _Known(listing, {model.id: model for model in listing.models}, fetched)
        self.version += 1

    def _path(self, entry: ProviderSettings) -> Path:
        """One file for each place; its name tells people which, and the digest keeps two apart."""
        name = re.sub(r"[^A-Za-z0-9-]+", "-", entry.name)[:40]
        digest = hashlib.blake2b(entry.base_url.rstrip("/").encode(), digest_size=6).hexdigest()
        return self._folder / f"{name}-{digest}.json"


def _listing(providers: Mapping[str, ProviderSettings]) -> dict[str, ProviderSettings]:
    return {name: entry for name, entry in providers.items() if entry.protocol == "openai"}


def shipped(base_url: str) -> Listing | None:
    """The listing that came with this version, if it is about this place."""
    listing = msgspec.json.decode(resources.files("router").joinpath(SHIPPED).read_bytes(), type=Listing)
    return listing if same_place(listing.base_url, base_url) else None


def same_place(one: str, other: str) -> bool:
    """Whether two addresses are of the same far side: a slash at the end makes no difference."""
    return one.rstrip("/") == other.rstrip("/")


def compare(before: Listing | None, after: Listing) -> Changes:
    """What has changed between two listings of one far side."""
    old, new = _flat(before), _flat(after)
    moved = [
        PriceChange(
            model=model,
            provider=provider,
            unit=unit,
            before=was,
            after=now,
            percent=100 * (now - was) / was if was else None,
        )
        for (provider, model), listed in sorted(new.items())
        if (known := old.get((provider, model))) is not None
        for unit in UNITS
        if (was := getattr(known, unit, None)) is not None and (now := getattr(listed, unit, None)) is not None
        if was != now
    ]
    return Changes(new=_names(new.keys() - old.keys()), gone=_names(old.keys() - new.keys()), prices=moved)


def _flat(listing: Listing | None) -> dict[tuple[str, str], ListedProvider | None]:
    """Who serves what; a model whose providers are not named stands by itself."""
    models = listing.models if listing else ()
    return {(p.provider if p else "", model.id): p for model in models for p in model.providers or (None,)}


def _names(keys: set[tuple[str, str]]) -> list[str]:
    return sorted(f"{provider}:{model}" if provider else model for provider, model in keys)


def _read(path: Path, base_url: str) -> Listing | None:
    """A kept listing; None when there is none, or none that can be used: fetching makes it anew."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        listing = msgspec.json.decode(path.read_bytes(), type=Listing)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return listing if same_place(listing.base_url, base_url) else None


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: readers never see half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
