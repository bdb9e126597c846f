"""What a far side says it serves: its models and, behind a router, who serves each of them and on what terms.

Reads `GET {base_url}/models` of any OpenAI-compatible server; most say ids only, the Hugging Face router says all.
Absent is None: an unknown price is not 0. Opens no connection.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from backends.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterable

PATH = "/models"
MAX_BYTES = 4 * 1024 * 1024  # many times what the longest public listing has; all of it is compared and priced
MAX_MODELS = 2_000
MAX_PROVIDERS = 50
MAX_CONTEXT = 10**9

_ID = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]{1,300}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


NonNegative = Annotated[float, Meta(ge=0)]  # a listing that was kept on disk is checked as one that comes


class ListedProvider(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One who serves a model behind a router.

    Attributes:
        live: Whether it answers now; None where nobody says.
        tools: Whether it takes tools.
        structured_output: Whether it answers in a given schema.
        first_token_ms: As the router measured it.
        tokens_per_s: As the router measured it.
    """

    provider: str
    live: bool | None = None
    input_per_1m_usd: NonNegative | None = None
    output_per_1m_usd: NonNegative | None = None
    context_length: Annotated[int, Meta(gt=0)] | None = None
    tools: bool | None = None
    structured_output: bool | None = None
    first_token_ms: NonNegative | None = None
    tokens_per_s: NonNegative | None = None

    @property
    def priced(self) -> bool:
        """True when both ways have a price: half of one would make answers look cheaper than they are."""
        return self.input_per_1m_usd is not None and self.output_per_1m_usd is not None


class ListedModel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model that a far side lists; without `providers` it serves it itself, or does not say."""

    id: str
    providers: tuple[ListedProvider, ...] = ()


def parse(payload: Any, provider: str) -> tuple[ListedModel, ...]:
    """The models of an answer, each id once. What is malformed in one entry leaves the others alone.

    Raises:
        RemoteError: It is no list of models at all, or an absurdly long one.
    """
    entries = payload.get("data") if isinstance(payload, dict) else None
    if not isinstance(entries, list):
        msg = f"provider {provider}: the answer is no list of models"
        raise RemoteError(msg)
    if len(entries) > MAX_MODELS:
        msg = f"provider {provider}: lists more than {MAX_MODELS} models"
        raise RemoteError(msg)
    found = {model.id: model for model in map(_model, reversed(entries)) if model is not None}
    return tuple(found[model_id] for model_id in sorted(found))


def _model(entry: Any) -> ListedModel | None:
    if not isinstance(entry, dict):
        return None
    model_id, providers = entry.get("id"), entry.get("providers")
    if not isinstance(model_id, str) or not _ID.fullmatch(model_id):
        return None
    return ListedModel(id=model_id, providers=_providers(providers if isinstance(providers, list) else ()))


def _providers(entries: Iterable[Any]) -> tuple[ListedProvider, ...]:
    found: dict[str, ListedProvider] = {}
    for entry in entries:
        name = entry.get("provider") if isinstance(entry, dict) else None
        if isinstance(name, str) and _NAME.fullmatch(name) and len(found) < MAX_PROVIDERS:
            found.setdefault(name, _provider(name, entry))
    return tuple(found.values())


def _provider(name: str, entry: dict[str, Any]) -> ListedProvider:
    status, pricing = entry.get("status"), entry.get("pricing")
    prices = pricing if isinstance(pricing, dict) else {"input": 0.0, "output": 0.0} if entry.get("is_free") else {}
    return ListedProvider(
        provider=name,
        live=status == "live" if isinstance(status, str) else None,
        input_per_1m_usd=_number(prices.get("input")),
        output_per_1m_usd=_number(prices.get("output")),
        context_length=_tokens(entry.get("context_length")),
        tools=_flag(entry.get("supports_tools")),
        structured_output=_flag(entry.get("supports_structured_output")),
        first_token_ms=_number(entry.get("first_token_latency_ms")),
        tokens_per_s=_number(entry.get("throughput")),
    )


def _number(value: Any) -> float | None:
    """A finite number that is not negative; everything else is not known."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON's integers have no end
        return None
    return number if number >= 0 and math.isfinite(number) else None


def _tokens(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 1 <= number <= MAX_CONTEXT else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
