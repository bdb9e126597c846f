"""Make router/providers_snapshot.json: what the Hugging Face router's providers charge for chat models, as of a date.

The prices are genai-prices', a data package on PyPI (MIT licence, Pydantic Services Inc.) that collects them from the
router's own listing. Fetch its wheel with `pip download --no-deps genai-prices`, then:

    python .ci/provider_prices.py WHEEL RELEASED

WHEEL is that file, RELEASED the date of its release as it stands on PyPI (2026-11-22, or a month where that is all one
knows). Nothing is installed; reading the data needs pydantic and httpx2, which genai-prices imports.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from backends.remote.listing import ListedModel, ListedProvider
from backends.remote.provider import SUB_PROVIDERS
from router.catalog import BUILTIN_PROVIDERS
from router.listings import SHIPPED, Listing

PREFIX = "huggingface_"
ENOUGH_DECIMALS = 6


def main(wheel: str, released: str) -> None:
    """Read the wheel, write the snapshot, and say what is in it."""
    sys.path.insert(0, wheel)
    from genai_prices.data import providers  # noqa: PLC0415 -- comes with the wheel

    models: dict[str, list[ListedProvider]] = {}
    for provider in providers:
        name = provider.id.removeprefix(PREFIX)
        if provider.id != name and name in SUB_PROVIDERS:
            for model in provider.models:
                if (listed := _listed(name, model)) is not None:
                    models.setdefault(model.id, []).append(listed)
    listing = Listing(
        base_url=BUILTIN_PROVIDERS[0].base_url,
        as_of=released,
        source=f"genai-prices {Path(wheel).name.split('-')[1]}",
        notice="Prices collected by genai-prices (MIT licence, copyright Pydantic Services Inc. 2025 to present).",
        models=tuple(ListedModel(id=key, providers=tuple(models[key])) for key in sorted(models)),
    )
    target = Path(__file__).parents[1] / "router" / SHIPPED
    target.write_bytes(_line_by_line(msgspec.json.encode(listing)))
    print(
        f"{target.name}: {len(models)} models, {sum(map(len, models.values()))} prices, {target.stat().st_size} bytes"
    )


def _line_by_line(document: bytes) -> bytes:
    """A model a line, so that a change of prices can be read as one."""
    return document.replace(b'{"id":', b'\n{"id":').replace(b"]}],", b"]}\n],") + b"\n"


def _listed(name: str, model: Any) -> ListedProvider | None:
    """What one provider charges for one model; None where that depends on more than tokens in and out."""
    prices = {k: v for k, v in vars(model.get_prices(datetime.now(UTC))).items() if v is not None}
    if model.deprecated or model.price_variants or set(prices) != {"input_mtok", "output_mtok"}:
        return None
    return ListedProvider(
        provider=name,
        input_per_1m_usd=round(float(prices["input_mtok"]), ENOUGH_DECIMALS),
        output_per_1m_usd=round(float(prices["output_mtok"]), ENOUGH_DECIMALS),
        context_length=model.context_window,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
