"""Which part of a tenant's rate limits each router gives: as it is asked, compared with the others, most of all lately.

Every router keeps a small part of its own, so that whoever comes there first is not sent away. The clock is passed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

HALF_LIFE_S = 10.0
FLOOR = 0.1  # of the limits, shared evenly whoever asks where
FORGOTTEN = 0.01  # requests
MAX_TENANTS = 10_000


class Demand:
    """Requests by tenant and router, fading."""

    def __init__(self) -> None:
        self._asked: dict[str, dict[str, float]] = {}
        self._at = 0.0

    def note(self, holder: str, asked: Mapping[str, int], now: float) -> None:
        """So often did tenants ask there since the last time."""
        self._fade(now)
        for tenant, count in asked.items():
            at = self._asked.pop(tenant, {})
            at[holder] = at.get(holder, 0.0) + max(0, count)
            self._asked[tenant] = at
        while len(self._asked) > MAX_TENANTS:
            del self._asked[next(iter(self._asked))]

    def parts(self, holder: str, holders: Collection[str]) -> dict[str, float]:
        """The part of each tenant that has asked there lately; they are one altogether, or less."""
        even = FLOOR / max(1, len(holders))
        found = {}
        for tenant, at in self._asked.items():
            if holder in at:
                whole = sum(count for name, count in at.items() if name in holders)
                found[tenant] = even + (1 - FLOOR) * at[holder] / whole if whole else even
        return found

    def _fade(self, now: float) -> None:
        share, self._at = 0.5 ** ((now - self._at) / HALF_LIFE_S), now
        for tenant, at in list(self._asked.items()):
            left = {holder: count * share for holder, count in at.items() if count * share > FORGOTTEN}
            if left:
                self._asked[tenant] = left
            else:
                del self._asked[tenant]
