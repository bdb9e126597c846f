"""How often an address sent a credential that opens nothing. The clock is passed in.

What is limited is the noise and not the chance: a secret has 256 random bits. So whoever has a good one is let in even
from an address that is over the limit: behind a proxy it may be everybody's.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from router.access.limits import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ADDRESSES = 10_000


class Failures:
    """Failures by address. The longest silent address is forgotten first, beyond 10,000."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def note(self, address: str) -> float | None:
        """Count a failure. Seconds to wait where there were too many, else None."""
        place, now = _place(address), self._clock()
        bucket = self._buckets.pop(place, None) or Bucket(self._per_minute, now)
        self._buckets[place] = bucket
        if len(self._buckets) > MAX_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        wait_s = bucket.wait_s(1, now)
        if wait_s > 0:
            return wait_s
        bucket.take(1, now)
        return None


def _place(address: str) -> str:
    """Whose address it is, as far as one can tell: a whole /64 of IPv6 is one network's."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or (int(parsed) >> 64))
    return address
