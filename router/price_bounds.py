"""Refuses prices of tokens that no price list has: written by the token instead of by the million, or the reverse.

What 47 providers charged for a million tokens in November 2026 lies between $0.0011 (cached input) and $600 (output):
more than 5,000 positive prices of genai-prices 0.2.3, the hub's own in providers_snapshot.json among them ($0.01 to
$15). The bounds are a million apart, and that is on purpose: whatever lies between them is outside, by a million, on
the one side or the other. 0 is a price: free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.errors import CatalogError
from router.toml_lines import place_of

if TYPE_CHECKING:
    from router.sections import CandidateEntry, ModelEntry, Settings

LEAST_PER_1M_USD = 0.001
MOST_PER_1M_USD = 1000.0
BY_TOKEN = ("input_per_1m_usd", "cached_input_per_1m_usd", "output_per_1m_usd")
MILLION = 1_000_000


def check_prices(settings: Settings) -> None:
    """See that every configured price of tokens can be one.

    Raises:
        CatalogError: naming line, model, candidate and price, and what was probably meant.
    """
    for number, model in enumerate(settings.models):
        for place, candidate in enumerate(model.candidates):
            for unit in BY_TOKEN:
                usd = getattr(candidate.price, unit, None)
                if usd and not LEAST_PER_1M_USD <= usd <= MOST_PER_1M_USD:
                    where = place_of(settings, "models", number, "candidates", place, "price", unit)
                    raise CatalogError(f"{where}{_named(model, candidate)}: {unit} = {usd:g} {_meant(usd)}")


def _named(model: ModelEntry, candidate: CandidateEntry) -> str:
    return f"models: {model.id}: {candidate.provider or candidate.backend}:{candidate.model or model.id}"


def _meant(usd: float) -> str:
    if usd < LEAST_PER_1M_USD:
        told, other = "is less than anybody charges for a million tokens", usd * MILLION
        question = "is it the price of one token? Then write"
    else:
        told, other = "is more than anybody charges for a million tokens", usd / MILLION
        question = "was a price of a million tokens multiplied by a million? Then write"
    hint = f"{question} {other:g}." if LEAST_PER_1M_USD <= other <= MOST_PER_1M_USD else "look at its unit."
    return f"{told} (${LEAST_PER_1M_USD:g} to ${MOST_PER_1M_USD:g}): {hint} 0 says that it is free."
