"""What things cost: never negative, an unknown price never 0, and more is never cheaper."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.types import Usage
from router.pricing import CPU_USD_PER_CORE_HOUR, GPU_USD_PER_HOUR, local_rates, price_book, priced_usd
from router.sections import CandidateEntry, ModelEntry, Price

UNITS = {  # what is charged, what it is charged for, and how many of those one price buys
    "input_per_1m_usd": ("prompt_tokens", 1_000_000),
    "output_per_1m_usd": ("completion_tokens", 1_000_000),
    "per_image_usd": ("images", 1),
    "per_audio_minute_usd": ("audio_s", 60),
}
amounts = st.floats(0, 1e6)
counts = st.integers(0, 10**9)
prices = st.fixed_dictionaries({}, optional=dict.fromkeys((*UNITS, "per_request_usd"), amounts)).map(
    lambda given: Price(**given)
)
known_prices = prices.filter(lambda price: price.known)
used = {name: counts for name, _ in UNITS.values()}
usages = st.fixed_dictionaries(used).map(lambda given: Usage(**given))
partial_usages = st.fixed_dictionaries({}, optional=used).map(lambda given: Usage(**given))


@given(prices, partial_usages)
def test_a_cost_is_unknown_or_not_negative(price, usage) -> None:
    """There is no third thing."""
    cost = priced_usd(price, usage)

    assert cost is None or cost >= 0


@given(partial_usages)
def test_an_unknown_price_is_never_zero(usage) -> None:
    """No price, and a price without any unit, cost None whatever was used."""
    assert priced_usd(None, usage) is None
    assert priced_usd(Price(), usage) is None


@given(known_prices, usages, st.sampled_from(list(UNITS)))
def test_an_unknown_usage_that_is_charged_makes_the_cost_unknown(price, usage, unit) -> None:
    """A count nobody gave is not a count of 0; what is not charged needs no count."""
    name, _ = UNITS[unit]
    cost = priced_usd(price, replace(usage, **{name: None}))

    if getattr(price, unit):
        assert cost is None
    else:
        assert cost == priced_usd(price, usage)


@given(known_prices, usages)
def test_a_cost_is_the_sum_of_its_units(price, usage) -> None:
    """Each unit by itself, and the request: together they are the whole."""
    alone = [
        priced_usd(Price(**{unit: getattr(price, unit)}), usage)
        for unit in (*UNITS, "per_request_usd")
        if getattr(price, unit) is not None
    ]

    assert None not in alone
    assert pytest.approx(sum(alone)) == priced_usd(price, usage)


@given(known_prices, usages, usages)
def test_more_is_never_cheaper_and_two_cost_what_both_cost(price, usage, more) -> None:
    """The cost is monotone in every count, and the same in one request as in two, but for the request itself."""
    both = Usage(**{name: getattr(usage, name) + getattr(more, name) for name in used})
    one, other, together = (priced_usd(price, each) for each in (usage, more, both))

    assert max(one, other) <= together * (1 + 1e-9)
    assert pytest.approx(one + other) == together + (price.per_request_usd or 0.0)


def test_every_unit_is_charged() -> None:
    """A request, a million tokens in and half a million out, three images and half a minute."""
    price = Price(
        input_per_1m_usd=0.25, output_per_1m_usd=1.5, per_request_usd=0.125, per_image_usd=2.0, per_audio_minute_usd=8.0
    )
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=500_000, images=3, audio_s=30.0)

    assert 0.125 + 0.25 + 0.75 + 6.0 + 4.0 == priced_usd(price, usage)


@pytest.mark.parametrize("unit", list(UNITS))
def test_any_unit_makes_a_price_known(unit) -> None:
    """Also one of 0: that is a price somebody named."""
    assert Price(**{unit: 0.0}).known
    assert 0.0 == priced_usd(Price(**{unit: 0.0}), Usage())


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e4), st.sampled_from(["cpu", "cuda:0", "mps"]))
def test_holding_a_device_longer_never_costs_less(seconds, more, rate, device) -> None:
    """Occupancy is monotone in time, and never negative."""
    rates = local_rates(rate, 2)

    assert 0 <= rates.occupancy_usd(seconds, device) <= rates.occupancy_usd(seconds + more, device)


@pytest.mark.parametrize("device", ["cpu", "cuda:0", "mps"])
def test_an_hour_costs_the_rate_of_an_hour(device) -> None:
    """A configured rate holds for every device; else a CPU costs by the core, anything else as a GPU."""
    assert pytest.approx(3.0) == local_rates(3.0, 8).occupancy_usd(3600, device)
    expected = CPU_USD_PER_CORE_HOUR * 8 if device == "cpu" else GPU_USD_PER_HOUR
    assert pytest.approx(expected) == local_rates(None, 8).occupancy_usd(3600, device)


def test_a_free_machine_is_free_because_somebody_said_so() -> None:
    """A configured rate of 0 is not mistaken for none."""
    assert ("settings", 0.0) == (local_rates(0.0, 8).source, local_rates(0.0, 8).occupancy_usd(3600, "cpu"))
    assert "default" == local_rates(None, 8).source


def model(*candidates: CandidateEntry, model_id: str = "m") -> ModelEntry:
    return ModelEntry(id=model_id, task="text-generation", candidates=candidates)


def far(dollars: float | None, provider: str = "p", name: str | None = None) -> CandidateEntry:
    price = None if dollars is None else Price(per_request_usd=dollars)
    return CandidateEntry(backend="remote", provider=provider, model=name, price=price)


def test_equal_prices_have_one_id_and_any_change_another() -> None:
    """The id stands for the content, whatever the order of the models."""
    rates = local_rates(None, 2)
    one, other = model(far(1.0)), model(far(2.0), model_id="n")
    book, body = price_book([one, other], rates)

    assert (book, body) == price_book([other, one], rates)
    for changed in ([model(far(1.5)), other], [one], [one, model(far(None), model_id="n")]):
        assert book != price_book(changed, rates)[0]
    assert book != price_book([one, other], local_rates(1.0, 2))[0]


def test_the_book_holds_every_price_and_says_which_are_unknown() -> None:
    """An unknown price is null, and no candidate hides another of the same provider."""
    candidates = (far(1.0, name="small"), far(2.0, name="large"), far(None, provider="q"))
    _, body = price_book([model(*candidates, CandidateEntry(backend="local", source="hub"))], local_rates(None, 2))
    remote = json.loads(body)["remote"]

    assert 3 == len(remote)
    prices = [price and price["per_request_usd"] for price in remote.values()]
    assert [1.0, 2.0, None] == sorted(prices, key=lambda price: (price is None, price))


def test_listed_prices_are_in_the_book_and_their_dates_are_not() -> None:
    """The same figures fetched again are the same book; another figure is another."""
    rates = local_rates(None, 2)

    def book(dollars: float, day: str) -> tuple[str, str]:
        price = Price(input_per_1m_usd=dollars, output_per_1m_usd=2.0, as_of=day, source=f"of {day}")
        return price_book([], rates, {"huggingface": {"groq:m": price}})

    assert book(1.0, "monday") == book(1.0, "friday")
    assert len({book(1.0, "monday")[0], book(1.5, "monday")[0], price_book([], rates)[0]}) == 3
    listed = json.loads(book(1.0, "monday")[1])["listed"]
    assert {"huggingface": {"groq:m": {"input_per_1m_usd": 1.0, "output_per_1m_usd": 2.0}}} == listed
