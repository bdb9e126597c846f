"""Listings on disk and in force: which one wins, what has changed, and what is charged by them."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.remote.listing import ListedModel, ListedProvider
from backends.remote.provider import SUB_PROVIDERS
from router.catalog import BUILTIN_PROVIDERS
from router.listings import Listing, Listings, PriceChange, compare, shipped
from router.sections import Price, ProviderSettings

ROUTER = BUILTIN_PROVIDERS[0]
NEGATIVE = json.dumps(
    {
        "base_url": ROUTER.base_url,
        "as_of": "2030-01-01",
        "source": "somebody",
        "models": [{"id": "m", "providers": [{"provider": "groq", "input_per_1m_usd": -1, "output_per_1m_usd": 1}]}],
    }
).encode()
PEER = ProviderSettings(name="peer", protocol="openai", base_url="http://127.0.0.1:1/v1")
HUB = ProviderSettings(name="hub", protocol="huggingface", base_url="http://127.0.0.1:1/hf")


def serves(provider: str, price: float | None = 1.0, output: float | None = None, **more) -> ListedProvider:
    output = price if output is None else output
    return ListedProvider(provider=provider, input_per_1m_usd=price, output_per_1m_usd=output, **more)


def listing(*models: ListedModel, of: ProviderSettings = PEER, as_of: str = "2027-01-01T00:00:00+00:00") -> Listing:
    return Listing(base_url=of.base_url, as_of=as_of, source="here", models=models)


def model(name: str, *providers: ListedProvider) -> ListedModel:
    return ListedModel(id=name, providers=providers)


def opened(folder: Path, *providers: ProviderSettings) -> Listings:
    found = Listings({entry.name: entry for entry in providers}, folder)
    found.open()
    return found


# --- what came with us ----------------------------------------------------------------------------


def test_the_shipped_listing_is_dated_sourced_and_small() -> None:
    """Of the router alone, under 150 kB, with its owner's notice; and it is about chat models that can be asked for."""
    found = shipped(ROUTER.base_url)
    path = Path(__file__).parents[3] / "router" / "providers_snapshot.json"

    assert found is not None
    assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", found.as_of)
    assert re.fullmatch(r"genai-prices \d+\.\d+\.\d+", found.source)
    assert "MIT licence" in found.notice
    assert path.stat().st_size < 150_000
    assert shipped("http://127.0.0.1:1/v1") is None


def test_every_shipped_price_is_whole_and_its_provider_reachable() -> None:
    """Each model once, each provider once for it, and no figure that understates."""
    found = shipped(ROUTER.base_url)
    assert found is not None
    names = [m.id for m in found.models]

    assert sorted(set(names)) == names
    assert all(p.priced for m in found.models for p in m.providers)
    assert {p.provider for m in found.models for p in m.providers} <= SUB_PROVIDERS
    assert all(len({p.provider for p in m.providers}) == len(m.providers) > 0 for m in found.models)


# --- which one is in force --------------------------------------------------------------------------


def test_what_was_fetched_is_kept_for_later_starts(tmp_path) -> None:
    """By another process; the file is whole, and nothing else lies beside it."""
    first, fetched = opened(tmp_path, PEER), listing(model("m", serves("groq")))
    before = first.of("peer")
    first.replace("peer", fetched)

    assert (None, fetched) == (before, opened(tmp_path, PEER).of("peer"))
    assert fetched == first.fetched("peer")
    assert 1 == len(list(tmp_path.iterdir()))


def test_the_newest_wins(tmp_path) -> None:
    """A fetched listing over the shipped one; a fetched one that is older than this version's own is not used."""
    listings = opened(tmp_path, ROUTER)
    ours = listings.of("huggingface")
    newer = listing(model("m"), of=ROUTER)
    listings.replace("huggingface", newer)
    again = opened(tmp_path, ROUTER)
    listings.replace("huggingface", listing(model("m"), of=ROUTER, as_of="2024-01-01T00:00:00+00:00"))
    old = opened(tmp_path, ROUTER)

    assert shipped(ROUTER.base_url) == ours
    assert (newer, newer) == (again.of("huggingface"), again.fetched("huggingface"))
    assert (ours, None) == (old.of("huggingface"), old.fetched("huggingface"))


def test_prices_say_nothing_about_another_place(tmp_path) -> None:
    """A provider that moved has no listing until it is asked, though its name is the same; nor has another protocol."""
    opened(tmp_path, PEER).replace("peer", listing(model("m")))
    moved = ProviderSettings(name="peer", protocol="openai", base_url="http://127.0.0.1:2/v1")

    assert opened(tmp_path, moved).of("peer") is None
    assert ["peer"] == list(opened(tmp_path, PEER, HUB))


def test_a_slash_at_the_end_is_the_same_place(tmp_path) -> None:
    """What came with us is about it, and what was fetched with one is read without."""
    slashed = replace(ROUTER, base_url=f"{ROUTER.base_url}/")
    before = opened(tmp_path, slashed).of("huggingface")
    fetched = listing(model("m"), of=slashed)
    opened(tmp_path, slashed).replace("huggingface", fetched)

    assert shipped(ROUTER.base_url) == before
    assert fetched == opened(tmp_path, ROUTER).of("huggingface")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"base_url": 3}', b"\xff\xfe", b'{"base_url":"http://else/v1"}', NEGATIVE]
)
def test_a_broken_file_is_as_good_as_none(tmp_path, content) -> None:
    """What came with us is used instead, and fetching makes the file anew."""
    opened(tmp_path, ROUTER).replace("huggingface", listing(model("m"), of=ROUTER))
    [path] = tmp_path.iterdir()
    path.write_bytes(content)

    assert shipped(ROUTER.base_url) == opened(tmp_path, ROUTER).of("huggingface")


def test_another_process_is_noticed_and_nothing_is_read_twice(tmp_path) -> None:
    """`open` says whether anything had changed; what we wrote ourselves had not."""
    running, other = opened(tmp_path, PEER), opened(tmp_path, PEER)
    quiet = running.open()
    other.replace("peer", listing(model("m")))
    seen, version = running.open(), running.version
    again, own = running.open(), other.open()

    assert [False, True, False, False] == [quiet, seen, again, own]
    assert ["m"] == [m.id for m in running.of("peer").models]
    assert version == running.version


def test_a_listing_that_cannot_be_kept_is_in_force_all_the_same(tmp_path) -> None:
    """The caller hears of it, and no part of a file stays."""
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    listings = opened(blocked, PEER)
    with pytest.raises(OSError, match="file"):
        listings.replace("peer", listing(model("m")))

    assert listings.model("peer", "m") is not None
    assert [blocked] == list(tmp_path.iterdir())


# --- prices -----------------------------------------------------------------------------------------


def test_a_listed_price_names_its_date_and_source(tmp_path) -> None:
    """And half a price is none."""
    listings = opened(tmp_path, PEER)
    listings.replace("peer", listing(model("m", serves("groq", 1.0, 2.0), serves("nscale", None))))
    expected = Price(input_per_1m_usd=1.0, output_per_1m_usd=2.0, as_of="2027-01-01T00:00:00+00:00", source="here")

    assert {"peer": {"groq:m": expected}} == listings.prices()


def test_what_has_changed_is_told_by_name_and_percent() -> None:
    """New and gone as candidates, a moved price by unit; from nothing there is no percentage."""
    before = listing(model("a", serves("x", 2.0, 4.0), serves("y", 0.0)), model("plain"))
    after = listing(model("a", serves("x", 1.0, 4.0), serves("y", 0.5, 0.0)), model("b", serves("x")))
    changes = compare(before, after)

    assert (["x:b"], ["plain"]) == (changes.new, changes.gone)
    assert [
        PriceChange(model="a", provider="x", unit="input_per_1m_usd", before=2.0, after=1.0, percent=-50.0),
        PriceChange(model="a", provider="y", unit="input_per_1m_usd", before=0.0, after=0.5, percent=None),
    ] == changes.prices


def test_against_nothing_everything_is_new() -> None:
    """And against itself nothing is."""
    now = listing(model("a", serves("x")), model("b"))

    assert ["b", "x:a"] == compare(None, now).new
    assert {"new": [], "gone": [], "prices": []} == json.loads(json.dumps(_plain(compare(now, now))))


def _plain(changes):
    return {"new": changes.new, "gone": changes.gone, "prices": changes.prices}


PROVIDERS = st.dictionaries(st.sampled_from("xyz"), st.none() | st.floats(0, 10), max_size=3).map(
    lambda prices: tuple(serves(name, price) for name, price in prices.items())
)
LISTINGS = st.dictionaries(st.sampled_from("abc"), PROVIDERS, max_size=3).map(
    lambda models: listing(*(model(name, *providers) for name, providers in models.items()))
)


@given(LISTINGS, LISTINGS)
def test_changes_read_backwards_are_the_changes_back(before, after) -> None:
    """What is new one way is gone the other, and each price moves between the same two figures."""
    there, back = compare(before, after), compare(after, before)

    assert (there.new, there.gone) == (back.gone, back.new)
    assert [(c.model, c.provider, c.unit, c.before, c.after) for c in there.prices] == [
        (c.model, c.provider, c.unit, c.after, c.before) for c in back.prices
    ]
