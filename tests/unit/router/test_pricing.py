"""What things cost: never negative, an unknown price never 0, and more is never cheaper."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.types import Status, Target, Task, Usage
from policies.types import Estimate
from router.pricing import (
    CPU_USD_PER_CORE_HOUR,
    GPU_USD_PER_HOUR,
    HOURLY,
    asked_usd,
    hourly,
    local_rates,
    most_usd,
    most_used,
    price_book,
    priced_usd,
)
from router.sections import CandidateEntry, ModelEntry, Price, ProviderSettings
from router.slate import Candidate, Size

UNITS = {  # what is charged, what it is charged for, and how many of those one price buys
    "input_per_1m_usd": ("prompt_tokens", 1_000_000),
    "output_per_1m_usd": ("completion_tokens", 1_000_000),
    "per_image_usd": ("images", 1),
    "per_step_usd": ("steps", 1),
    "per_audio_minute_usd": ("audio_s", 60),
    "per_second_usd": ("compute_s", 1),
}
CACHED = "cached_input_per_1m_usd"
amounts = st.just(0.0) | st.floats(1e-12, 1e6)  # what is smaller is no price, and no float's relative error holds there
counts = st.integers(0, 10**9)
prices = st.fixed_dictionaries({}, optional=dict.fromkeys((*UNITS, CACHED, "per_request_usd"), amounts)).map(
    lambda given: Price(**given)
)
known_prices = prices.filter(lambda price: price.known)
used = {name: counts for name, _ in UNITS.values()}
fully_used = st.fixed_dictionaries(used | {"cached_tokens": counts})
usages = fully_used.map(
    lambda given: Usage(**given | {"cached_tokens": given["cached_tokens"] % (1 + given["prompt_tokens"])})
)
partial_usages = st.fixed_dictionaries({}, optional=used | {"cached_tokens": counts}).map(lambda given: Usage(**given))


def counted(price: Price) -> set[str]:
    """Whatever must have been counted before this price can be applied."""
    names = {name for unit, (name, _) in UNITS.items() if getattr(price, unit)}
    if price.cached_input_per_1m_usd is not None and (price.input_per_1m_usd or price.cached_input_per_1m_usd):
        names |= {"prompt_tokens", "cached_tokens"}
    return names


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


@given(known_prices, partial_usages)
def test_a_cost_is_unknown_exactly_where_a_charged_unit_is(price, usage) -> None:
    """A count nobody gave is not a count of 0; what is not charged needs no count."""
    unknown = {name for name in counted(price) if getattr(usage, name) is None}

    assert bool(unknown) == (priced_usd(price, usage) is None)


@given(known_prices, usages, st.sets(st.sampled_from([*used, "cached_tokens"])))
def test_what_is_not_charged_does_not_count(price, usage, forgotten) -> None:
    """Not even whether it is known."""
    rest = dict.fromkeys(forgotten - counted(price))

    assert priced_usd(price, usage) == priced_usd(price, replace(usage, **rest))


@given(known_prices, usages)
def test_a_cost_is_the_sum_of_its_units(price, usage) -> None:
    """Each unit by itself, the two kinds of input, and the request: together they are the whole."""
    input_usd, cached_usd = price.input_per_1m_usd, price.cached_input_per_1m_usd
    others = [unit for unit in (*UNITS, "per_request_usd") if unit != "input_per_1m_usd"]
    alone = [
        priced_usd(Price(input_per_1m_usd=input_usd or 0.0, cached_input_per_1m_usd=cached_usd), usage),
        *(priced_usd(Price(**{u: getattr(price, u)}), usage) for u in others if getattr(price, u) is not None),
    ]

    assert None not in alone
    assert pytest.approx(sum(alone)) == priced_usd(price, usage)


@given(known_prices, usages, usages)
def test_more_is_never_cheaper_and_two_cost_what_both_cost(price, usage, more) -> None:
    """The cost is monotone in every count, and the same in one request as in two, but for the request itself."""
    both = Usage(**{name: getattr(usage, name) + getattr(more, name) for name in (*used, "cached_tokens")})
    one, other, together = (priced_usd(price, each) for each in (usage, more, both))

    assert max(one, other) <= together * (1 + 1e-9)
    assert pytest.approx(one + other) == together + (price.per_request_usd or 0.0)


def test_every_unit_is_charged() -> None:
    """A request, tokens in, cached and out, images, their steps, half a minute of sound and two seconds of compute."""
    price = Price(
        input_per_1m_usd=0.25,
        cached_input_per_1m_usd=0.125,
        output_per_1m_usd=1.5,
        per_request_usd=0.125,
        per_image_usd=2.0,
        per_step_usd=0.5,
        per_audio_minute_usd=8.0,
        per_second_usd=16.0,
    )
    usage = Usage(
        prompt_tokens=3_000_000,
        cached_tokens=1_000_000,
        completion_tokens=500_000,
        images=3,
        steps=30,
        audio_s=30.0,
        compute_s=2.0,
    )

    assert 0.125 + 0.5 + 0.125 + 0.75 + 6.0 + 15.0 + 4.0 + 32.0 == priced_usd(price, usage)


@given(amounts, amounts, st.tuples(counts, counts, counts).map(sorted))
def test_what_was_cached_is_never_dearer_than_what_was_not(one, other, tokens) -> None:
    """Where cached input is priced below the rest, each token more of it makes the same request cheaper."""
    cached_usd, input_usd = sorted((one, other))
    price = Price(input_per_1m_usd=input_usd, cached_input_per_1m_usd=cached_usd)
    fewer, more, whole = tokens
    costs = [priced_usd(price, Usage(prompt_tokens=whole, cached_tokens=n)) for n in (whole, more, fewer, 0)]

    for cheaper, dearer in pairwise(costs):
        assert cheaper <= dearer * (1 + 1e-9)


def test_without_a_price_of_their_own_cached_tokens_cost_what_others_do() -> None:
    """Whether anybody counted them or not."""
    price, usage = Price(input_per_1m_usd=2.0), Usage(prompt_tokens=1_000_000)

    assert [2.0, 2.0] == [priced_usd(price, each) for each in (usage, replace(usage, cached_tokens=400_000))]


# --- the most it can cost --------------------------------------------------------------------------

sizes = st.builds(
    Size,
    items=st.integers(1, 9),
    input_tokens=counts,
    output_tokens=st.none(),
    max_output_tokens=st.integers(0, 10**6),
    images=st.integers(1, 9),
    steps=st.integers(1, 99),
    audio_s=st.floats(0, 1e4),
)
bounded = known_prices.map(lambda price: replace(price, per_second_usd=None)).filter(lambda price: price.known)


@given(bounded, sizes, st.data())
def test_nothing_within_its_size_costs_more_than_the_most(price, size, data) -> None:
    """However much of the input was cached, and however much of the allowed output came."""
    usage = Usage(
        prompt_tokens=size.input_tokens,
        cached_tokens=data.draw(st.integers(0, size.input_tokens)),
        completion_tokens=data.draw(st.integers(0, size.max_output_tokens)),
        images=size.images,
        steps=size.images * size.steps,
        audio_s=size.audio_s,
    )

    assert priced_usd(price, usage) <= most_usd(price, most_used(size)) * (1 + 1e-9)


def test_what_has_no_bound_has_no_most() -> None:
    """No price, compute that only the far side measures, text without a limit, tokens of a drawing or a recording."""
    text = Size(items=1, input_tokens=9, output_tokens=9, max_output_tokens=9)
    out = Price(output_per_1m_usd=1.0)

    assert None is most_usd(None, most_used(text))
    assert None is most_usd(Price(per_second_usd=1.0), most_used(text))
    assert None is most_usd(out, most_used(replace(text, max_output_tokens=None)))
    assert None is most_usd(out, most_used(Size(items=1, input_tokens=9, images=1)))
    assert None is most_usd(out, most_used(Size(items=1, input_tokens=None, audio_s=1.0)))
    assert None is most_usd(Price(per_step_usd=1.0), most_used(Size(items=1, input_tokens=9, images=1)))


def test_texts_and_photos_generate_nothing() -> None:
    """An output that does not exist has a bound."""
    out = Price(output_per_1m_usd=1.0)

    assert 0.0 == most_usd(out, most_used(Size(items=2, input_tokens=9)))
    assert 0.0 == most_usd(out, most_used(Size(items=2, input_tokens=None, images=2)))


def test_a_budget_is_asked_for_the_most_else_for_what_is_expected() -> None:
    """An expectation is better than nothing, and nothing stays nothing."""
    most = most_used(Size(items=1, input_tokens=0, output_tokens=10, max_output_tokens=1_000_000))

    assert 2.0 == asked_usd(priced(Price(output_per_1m_usd=2.0)), most, expected(0.5))
    assert 0.5 == asked_usd(priced(Price(per_second_usd=2.0)), most, expected(0.5))
    assert None is asked_usd(priced(None), most, expected(None))


def priced(price: Price | None) -> Candidate:
    target = Target(backend="remote", provider="p", model="m", task=Task.TEXT_GENERATION)
    return Candidate(id="p:m", target=target, near=False, status=Status(), price=price)


def expected(cost_usd: float | None) -> Estimate:
    return Estimate(
        candidate_id="p:m",
        backend="remote",
        provider="p",
        near=False,
        latency_s=1.0,
        latency_source="prior",
        service_s=1.0,
        cost_usd=cost_usd,
        cost_source="priced",
    )


# --- rates and books -------------------------------------------------------------------------------


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


def test_a_provider_by_the_hour_prices_what_has_no_price_of_its_own() -> None:
    """By the second of an engine's time; a price that somebody gave stays, and none at all stays unknown."""
    own = Price(input_per_1m_usd=1.0)
    paid = ProviderSettings(
        name="fleet", protocol="openai", base_url="http://127.0.0.1:1/v1", engine="vllm", usd_per_hour=7.2
    )
    fleet = [CandidateEntry(backend="remote", provider="fleet", model=name, price=price)
             for name, price in (("free", None), ("own", own))]  # fmt: skip
    models = [ModelEntry(id="m", task="text-generation", candidates=tuple(fleet))]
    _, body = price_book(models, local_rates(None, 2), None, {"fleet": paid})
    prices = json.loads(body)["remote"]

    assert (0.002, HOURLY) == (prices["m@fleet:free"]["per_second_usd"], prices["m@fleet:free"]["source"])
    assert (None, 1.0) == (prices["m@fleet:own"]["per_second_usd"], prices["m@fleet:own"]["input_per_1m_usd"])
    assert hourly(None) is None
    assert hourly(replace(paid, usd_per_hour=None)) is None
    assert hourly(replace(paid, usd_per_hour=0.0)) == Price(per_second_usd=0.0, source=HOURLY)  # somebody says so
