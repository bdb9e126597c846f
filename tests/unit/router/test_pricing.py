"""What things cost: never negative, an unknown price never 0, and more is never cheaper."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.pricing import CPU_USD_PER_CORE_HOUR, GPU_USD_PER_HOUR, local_rates, price_book, priced_usd
from router.settings import CandidateEntry, ModelEntry, Price

amounts = st.none() | st.floats(0, 1e6)
tokens = st.integers(0, 10**9)
prices = st.builds(Price, input_per_1m_usd=amounts, output_per_1m_usd=amounts, per_request_usd=amounts)
known_prices = prices.filter(lambda price: price.known)


@given(prices, st.none() | tokens, st.none() | tokens)
def test_a_cost_is_unknown_or_not_negative(price, input_tokens, output_tokens) -> None:
    """There is no third thing."""
    cost = priced_usd(price, input_tokens, output_tokens)

    assert cost is None or cost >= 0


@given(st.none() | tokens, st.none() | tokens)
def test_an_unknown_price_is_never_zero(input_tokens, output_tokens) -> None:
    """No price, and a price without any unit, cost None whatever was used."""
    assert priced_usd(None, input_tokens, output_tokens) is None
    assert priced_usd(Price(), input_tokens, output_tokens) is None


@given(st.floats(1e-9, 1e6), tokens)
def test_an_unknown_usage_that_is_charged_makes_the_cost_unknown(per_million, count) -> None:
    """A count nobody gave is not a count of 0."""
    assert priced_usd(Price(input_per_1m_usd=per_million), None, count) is None
    assert priced_usd(Price(output_per_1m_usd=per_million), count, None) is None


@given(tokens)
def test_an_unknown_usage_that_is_free_costs_nothing(count) -> None:
    """What is not charged needs no count."""
    assert 0.0 == priced_usd(Price(input_per_1m_usd=0.0), None, count)
    assert 2.5 == priced_usd(Price(per_request_usd=2.5), None, None)


@given(known_prices, tokens, tokens, tokens, tokens)
def test_more_tokens_never_cost_less(price, input_tokens, output_tokens, more_input, more_output) -> None:
    """The cost is monotone in both counts."""
    less = priced_usd(price, input_tokens, output_tokens)
    more = priced_usd(price, input_tokens + more_input, output_tokens + more_output)

    assert less is not None
    assert more is not None
    assert less <= more


def test_every_unit_is_charged() -> None:
    """A request, a million tokens in and half a million out."""
    price = Price(input_per_1m_usd=0.25, output_per_1m_usd=1.5, per_request_usd=0.125)

    assert 0.125 + 0.25 + 0.75 == priced_usd(price, 1_000_000, 500_000)


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
