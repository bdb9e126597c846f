"""Who stands behind the router for a model, at what price, and what a user's own words leave alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.remote.provider import ROUTER, SUB_PROVIDERS
from router.catalog import BUILTIN_PROVIDERS
from router.listings import Listings
from router.sections import CandidateEntry, ModelEntry, Price, ProviderSettings
from router.sub_providers import MAX_ADDED, plain, spread
from tests.unit.router.test_listings import listing, model, serves

HUB = BUILTIN_PROVIDERS[0]
SEED = Price(input_per_1m_usd=9.0, output_per_1m_usd=9.0, source="static seed")
OWN = Price(input_per_1m_usd=7.0, output_per_1m_usd=8.0)
NAMES = sorted(SUB_PROVIDERS - {"fastest", "cheapest", "preferred"})


def entry(price: Price | None = None, name: str | None = None) -> ModelEntry:
    near = CandidateEntry(backend="local", source="hub")
    return ModelEntry(
        id="org/m",
        task="text-generation",
        candidates=(near, CandidateEntry(backend="remote", provider=ROUTER, price=price, model=name)),
    )


@pytest.fixture
def known(tmp_path):
    """Listings in which the router serves `org/m` through these providers."""

    def make(*providers, name="org/m") -> Listings:
        found = Listings({HUB.name: HUB}, tmp_path)
        found.open()
        found.replace(HUB.name, listing(model(name, *providers), of=HUB))
        return found

    return make


def shown(places):
    prices = [(p.entry.price and (p.entry.price.input_per_1m_usd, p.entry.price.output_per_1m_usd)) for p in places]
    return dict(zip([p.entry.provider or p.entry.backend for p in places], prices, strict=True))


def test_the_cheapest_five_that_answer_join_with_their_price_and_context(known) -> None:
    """By what an answer costs; who is down, unpriced or unknown to us stays away, and the near side is untouched."""
    listings = known(
        serves("together", 1.0, 5.0, context_length=4096),
        serves("groq", 3.0, 1.0),
        serves("novita", 1.0, 2.0),
        serves("nscale", 1.0, 3.0),
        serves("cerebras", 1.0, 4.0),
        serves("sambanova", 1.0, 6.0),
        serves("deepinfra", 0.1, live=False),
        serves("cohere", None),
        serves("nobody-we-know", 0.1),
    )
    places = spread(entry(), listings, ())
    expected = {"local": None, ROUTER: (3.0, 6.0), "groq": (3.0, 1.0), "novita": (1.0, 2.0), "nscale": (1.0, 3.0),
                "cerebras": (1.0, 4.0), "together": (1.0, 5.0)}  # fmt: skip

    assert expected == shown(places)
    assert 4096 == places[-1].listed.context_length
    assert {"here"} == {p.entry.price.source for p in places[2:]}


def test_the_router_costs_at_most_the_dearest_that_answers(known) -> None:
    """It chooses itself: an upper bound, said to be one; and what each would charge comes along."""
    bare = spread(
        entry(), known(serves("groq", 3.0, 1.0), serves("together", 1.0, 2.0), serves("cohere", 9.0, live=False)), ()
    )[1]

    assert ("router maximum", 3.0, 2.0) == (
        bare.entry.price.source, bare.entry.price.input_per_1m_usd, bare.entry.price.output_per_1m_usd,
    )  # fmt: skip
    assert 1.0 == bare.served_prices["groq"].output_per_1m_usd


def test_a_seed_gives_way_and_a_configured_price_does_not(known) -> None:
    """Nor is what a configured price says refined by who served."""
    listings = known(serves("groq", 3.0, 1.0))
    seeded, own = spread(entry(SEED), listings, ())[1], spread(entry(OWN), listings, ())[1]

    assert "router maximum" == seeded.entry.price.source
    assert (OWN, {}) == (own.entry.price, own.served_prices)


def test_without_any_known_price_the_routers_stays_what_it_was(known) -> None:
    """Unknown is not replaced by nothing, and not by 0."""
    listings = known(serves("groq", None))

    assert [None, SEED, OWN] == [spread(entry(p), listings, ())[1].entry.price for p in (None, SEED, OWN)]


def test_whom_a_request_names_is_there_alone(known) -> None:
    """Priced where listed, unknown where not; nobody else clutters its slate, and a name given twice is one."""
    listings = known(serves("groq", 3.0, 1.0), serves("together", 1.0, 2.0))
    only = ("together", "fireworks-ai", "together", "local")

    assert {"local": None, ROUTER: (3.0, 2.0), "together": (1.0, 2.0), "fireworks-ai": None} == shown(
        spread(entry(), listings, (), only)
    )


def test_the_routers_own_choices_cost_what_it_may_choose(known) -> None:
    """`preferred` is somebody, and nobody here knows who."""
    assert (3.0, 2.0) == shown(
        spread(entry(), known(serves("groq", 3.0, 1.0), serves("together", 1.0, 2.0)), (), ("preferred",))
    )["preferred"]


def test_a_far_side_of_the_same_name_is_reached_directly(known) -> None:
    """Its price is what its own entry says; the router's listing is about another road."""
    direct = {"groq": ProviderSettings(name="groq", protocol="openai", base_url="http://127.0.0.1:1/v1")}

    assert ["local", ROUTER, "together"] == list(
        shown(spread(entry(), known(serves("groq", 0.1), serves("together")), direct))
    )
    for listings in (known(serves("groq")), known(serves("groq"), name="another")):  # listed there, and not
        assert ["local", ROUTER, "together"] == list(shown(spread(entry(), listings, direct, ("groq", "together"))))
    assert ["local", ROUTER, "together"] == list(shown(plain(entry(), direct, ("groq", "together"))))


def test_who_is_reached_directly_takes_nobodys_place_among_the_cheapest(known) -> None:
    """Five join, though cheaper ones are reached on another road."""
    listed = [serves(name, price) for price, name in enumerate(NAMES[: MAX_ADDED + 2])]

    assert ["local", ROUTER, *NAMES[2 : MAX_ADDED + 2]] == list(
        shown(spread(entry(), known(*listed), frozenset(NAMES[:2])))
    )


def test_a_model_goes_by_its_name_there(known) -> None:
    """An entry may call it otherwise than the catalogue does."""
    listings = known(serves("groq"), name="there/m")

    assert "groq" in shown(spread(entry(name="there/m"), listings, ()))
    assert "groq" not in shown(spread(entry(), listings, ()))


def test_nothing_listed_leaves_the_slate_as_it_was(tmp_path) -> None:
    """No listing at all, or one without this model."""
    empty = Listings({}, tmp_path)
    empty.open()

    for only in ((), ("together",)):
        assert plain(entry(SEED), (), only) == spread(entry(SEED), empty, (), only)
    assert {"local": None, ROUTER: (9.0, 9.0), "together": None} == shown(plain(entry(SEED), (), ("together", "local")))


@given(
    st.dictionaries(
        st.sampled_from(NAMES),
        st.tuples(st.none() | st.floats(0, 100), st.none() | st.floats(0, 100), st.sampled_from([None, True, False])),
    ),
    st.lists(st.sampled_from(NAMES), max_size=3),
)
def test_a_slate_is_bounded_unique_and_never_cheaper_than_it_says(tmp_path_factory, providers, only) -> None:
    """Whatever is listed: ids are unique, at most five join unasked, and nobody who answers exceeds the router."""
    found = Listings({HUB.name: HUB}, tmp_path_factory.getbasetemp() / "property")
    listed = [serves(name, *prices, live=live) for name, (*prices, live) in providers.items()]
    found.replace(HUB.name, listing(model("org/m", *listed), of=HUB))
    places = spread(entry(), found, (), only)
    names = [place.entry.provider for place in places]
    most = places[1].entry.price
    priced = [p for p in listed if p.priced and p.live is not False]

    assert len(set(names)) == len(names)
    assert len(places) == 2 + len(set(only)) if only else len(places) <= 2 + MAX_ADDED
    assert (most is None) == (not priced)
    for provider in priced:
        assert provider.input_per_1m_usd <= most.input_per_1m_usd
        assert provider.output_per_1m_usd <= most.output_per_1m_usd
