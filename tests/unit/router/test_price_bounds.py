"""Prices by the wrong unit are refused at start, with the line and what was probably meant."""

import json
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.checks import checked
from router.errors import CatalogError, SettingsError
from router.price_bounds import BY_TOKEN, LEAST_PER_1M_USD, MILLION, MOST_PER_1M_USD, check_prices
from router.sections import CandidateEntry, ModelEntry, Price, Settings
from router.settings import load

TEXT = """\
[[models]]
id = "org/one"
task = "text-generation"
  [[models.candidates]]
  backend = "remote"
  provider = "huggingface"
  price = { input_per_1m_usd = 0.1, output_per_1m_usd = 0.0 }

[[models]]
id = "org/two"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  [[models.candidates]]
  backend = "remote"
  provider = "huggingface"
  model = "two-large"
    [models.candidates.price]
    input_per_1m_usd = 0.5
    output_per_1m_usd = OUTPUT
"""
genuine = st.floats(LEAST_PER_1M_USD, MOST_PER_1M_USD)


def priced(**units: float) -> Settings:
    candidate = CandidateEntry(backend="fake", price=Price(**units))
    return Settings(models=(ModelEntry(id="m", task="text-generation", candidates=(candidate,)),))


def refusal(output: str) -> str:
    path = Path("nearfar.toml")
    path.write_text(TEXT.replace("OUTPUT", output), encoding="utf-8")
    with pytest.raises(CatalogError) as caught:
        checked(load(path, {}))
    return str(caught.value)


def test_a_price_by_the_token_is_refused_with_its_line_and_the_price_meant() -> None:
    """The model, the candidate and the key are named, and the million is put in."""
    said = refusal("0.0000001")

    assert said.startswith("nearfar.toml, line 20: models: org/two: huggingface:two-large: output_per_1m_usd = 1e-07 ")
    assert "the price of one token? Then write 0.1." in said
    assert "0 says that it is free" in said


def test_a_price_that_was_multiplied_by_a_million_is_refused_with_the_price_meant() -> None:
    """The reverse of the same slip."""
    said = refusal("100000")

    assert "nearfar.toml, line 20" in said
    assert "multiplied by a million? Then write 0.1." in said


def test_a_price_that_no_million_puts_right_is_refused_without_a_guess() -> None:
    """Nobody knows what 1e-15 was to be."""
    assert "look at its unit" in refusal("1e-15")
    assert "look at its unit" in refusal("1e15")


@pytest.mark.parametrize("output", ["0.0", "0", "0.001", "1000", "15.0"])
def test_genuine_prices_are_taken(output) -> None:
    """And so is nothing to pay."""
    path = Path("nearfar.toml")
    path.write_text(TEXT.replace("OUTPUT", output), encoding="utf-8")

    assert checked(load(path, {})).find("org/two") is not None


def test_a_negative_price_is_refused_where_it_stands() -> None:
    """It never comes as far as the bounds."""
    path = Path("nearfar.toml")
    path.write_text(TEXT.replace("OUTPUT", "-0.5"), encoding="utf-8")

    with pytest.raises(SettingsError, match=r"candidates\[1\]\.price\.output_per_1m_usd: .*>= 0.*\(line 20\)"):
        load(path, {})


@given(genuine, st.sampled_from(BY_TOKEN))
def test_every_genuine_price_passes_and_is_refused_when_it_is_off_by_a_million(usd, unit) -> None:
    """The bounds are a million apart: there is no price that slips through on the other side."""
    check_prices(priced(**{unit: usd}))
    for wrong in (usd / MILLION, usd * MILLION):
        if not LEAST_PER_1M_USD < usd < MOST_PER_1M_USD:
            continue  # the bounds themselves are each other's slip
        with pytest.raises(CatalogError, match=f"{unit} = "):
            check_prices(priced(**{unit: wrong}))


def test_all_prices_that_came_with_us_are_within_the_bounds() -> None:
    """The hub's own list, hundreds of them."""
    listed = json.loads(resources.files("router").joinpath("providers_snapshot.json").read_text(encoding="utf-8"))
    prices = [of[unit] for model in listed["models"] for of in model["providers"] for unit in BY_TOKEN if of.get(unit)]

    assert len(prices) > 300
    assert LEAST_PER_1M_USD < min(prices)
    assert max(prices) < MOST_PER_1M_USD


def test_other_units_have_no_bounds() -> None:
    """What an image or a minute costs was looked up in no list."""
    check_prices(priced(per_request_usd=1e6, per_image_usd=1e-9, per_second_usd=1e-9, per_audio_minute_usd=1e-9))
