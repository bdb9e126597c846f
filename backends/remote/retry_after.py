"""How long a far side asks to wait, in whichever of its five ways it says so. Reads no clock but for HTTP dates."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_WAIT_S = 24 * 3600.0
"""A longer wish is cut to this: a broken clock over there must not close a provider for years."""


def retry_after_s(headers: Mapping[str, str], payload: Any = None) -> float | None:
    """Seconds to wait, or None when nothing was said. `headers` has lower-case names, `payload` is the decoded body."""
    millis = _number(headers.get("retry-after-ms"))
    candidates = (
        None if millis is None else millis / 1000,
        _retry_after(headers.get("retry-after")),
        _rate_limit(headers.get("ratelimit")),
        _number(payload.get("estimated_time")) if isinstance(payload, dict) else None,
    )
    return next((min(wait, MAX_WAIT_S) for wait in candidates if wait is not None), None)


def _retry_after(value: str | None) -> float | None:
    """Seconds, or an HTTP date."""
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        then = parsedate_to_datetime(value)
        return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def _rate_limit(value: str | None) -> float | None:
    """The longest `t` among the exhausted policies of `RateLimit: "api";r=0;t=55`."""
    waits = []
    for policy in (value or "").split(","):
        parameters = dict(part.strip().partition("=")[::2] for part in policy.split(";"))
        wait = _number(parameters.get("t"))
        if wait is not None and _number(parameters.get("r", "0")) == 0:
            waits.append(wait)
    return max(waits, default=None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
