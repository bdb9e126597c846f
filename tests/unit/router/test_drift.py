"""What is written down against what the router lists now."""

from backends.remote.provider import ROUTER
from router.catalog import BUILTIN_PROVIDERS
from router.drift import price_drift
from router.listings import Listings, shipped
from router.sections import CandidateEntry, ModelEntry, Price
from tests.unit.router.test_listings import listing, model, serves

HUB = BUILTIN_PROVIDERS[0]


def entry(price: Price | None, name: str = "org/m") -> ModelEntry:
    far = CandidateEntry(backend="remote", provider=ROUTER, price=price)
    return ModelEntry(id=name, task="text-generation", candidates=(far,))


def live(folder, *models) -> Listings:
    found = Listings({HUB.name: HUB}, folder)
    found.open()
    if models:
        found.replace(HUB.name, listing(*models, of=HUB))
    return found


def told(drift):
    return [(d.provider, d.unit, d.expected_usd, d.live_usd, d.percent) for d in drift]


def test_a_configured_price_is_compared_with_the_most_it_may_cost(tmp_path) -> None:
    """Unit by unit, and the sentence says whose figure is whose."""
    price = Price(input_per_1m_usd=2.0, output_per_1m_usd=4.0)
    listings = live(tmp_path, model("org/m", serves("groq", 1.0, 4.0), serves("together", 3.0, 3.0)))
    [found] = price_drift([entry(price)], listings)

    assert [(ROUTER, "input_per_1m_usd", 2.0, 3.0, 50.0)] == told([found])
    expected = "huggingface:org/m input_per_1m_usd: 2 by settings, 3 as of 2027-01-01T00:00:00+00:00 (+50 %)"
    assert expected == str(found)
    assert found.in_force


def test_what_hardly_moved_or_is_not_known_is_not_worth_a_word(tmp_path) -> None:
    """Less than a percent, no price of ours, none of theirs, a model or a provider that is not listed."""
    listings = live(tmp_path, model("org/m", serves("groq", 100.0)), model("org/n", serves("groq", None)))
    price = Price(input_per_1m_usd=100.9, output_per_1m_usd=99.1)
    models = [entry(price), entry(None), entry(price, "org/n"), entry(price, "org/absent")]

    assert [] == price_drift(models, listings)


def test_what_was_free_moved_by_no_percentage(tmp_path) -> None:
    """But it moved."""
    price = Price(input_per_1m_usd=0.0)

    assert [(ROUTER, "input_per_1m_usd", 0.0, 1.0, None)] == told(
        price_drift([entry(price)], live(tmp_path, model("org/m", serves("groq"))))
    )


def test_the_shipped_prices_of_the_catalogues_models_are_compared_too(tmp_path) -> None:
    """Provider by provider, and of no other model: the listing is long, and a user has a few."""
    ours = shipped(HUB.base_url)
    one, other = ours.models[0], ours.models[1]
    listings = live(
        tmp_path,
        *(
            model(m.id, *(serves(p.provider, p.input_per_1m_usd * 2, p.output_per_1m_usd) for p in m.providers))
            for m in (one, other)
        ),
    )
    drift = price_drift([entry(None, one.id)], listings)

    assert [(p.provider, "input_per_1m_usd", 100.0) for p in one.providers] == [
        (d.provider, d.unit, d.percent) for d in drift
    ]
    assert {one.id} == {d.model for d in drift}
    assert {(ours.source, False)} == {(d.expected_from, d.in_force) for d in drift}


def test_a_seed_that_moved_is_not_charged_any_more(tmp_path) -> None:
    """It is told, and nobody has to correct it."""
    seed = Price(output_per_1m_usd=4.0, source="static seed")
    [found] = price_drift([entry(seed)], live(tmp_path, model("org/m", serves("groq", 1.0, 2.0))))

    assert ("static seed", False, -50.0) == (found.expected_from, found.in_force, found.percent)


def test_nothing_drifts_before_anybody_asked(tmp_path) -> None:
    """The shipped listing against itself is no news, whatever the catalogue says."""
    name = shipped(HUB.base_url).models[0].id

    assert [] == price_drift([entry(Price(input_per_1m_usd=1e6), name)], live(tmp_path))
