"""How a line of a batch is routed: as it says itself, else as its batch says, else at the least cost, with patience."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_WAIT_S = 3600.0  # for one line: far sides have limits of their own, and near others go first


def with_wishes(body: Mapping[str, Raw], batch: Mapping[str, Any], left_usd: float | None, left_s: float) -> bytes:
    """The line's body as JSON, with its routing completed. One that is no object is left for the endpoint to refuse.

    Args:
        body: The line's fields.
        batch: The routing that its batch asks for.
        left_usd: What the batch may still spend; None where nothing limits that.
        left_s: Until the batch's time is over.
    """
    usual = {"policy": "cheapest", "deadline_ms": max(1.0, 1000 * min(left_s, LONGEST_WAIT_S))}
    own = _object(body.get("routing"))
    provider = _object(body.get("provider"))
    if own is None or provider is None:
        return msgspec.json.encode(body)
    if provider:  # OpenRouter's words instead of ours: a body may have one of them
        return msgspec.json.encode({**body, "provider": {"sort": "price", **provider}})
    routing = {**usual, **batch, **own}
    if left_usd is not None:
        limits = (routing.get("max_cost_usd"), left_usd)
        routing["max_cost_usd"] = min(limit for limit in limits if isinstance(limit, int | float))
    return msgspec.json.encode({**body, "routing": routing})


def _object(raw: Raw | None) -> dict[str, Any] | None:
    """The fields of a JSON object, none where nothing is given; None where it is something else."""
    if raw is None:
        return {}
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    return {} if value is None else value if isinstance(value, dict) else None
