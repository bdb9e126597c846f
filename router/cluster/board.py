"""Where a router's breaker that opened or closed is news to the others. The clock is passed in.

Who saw a candidate fail probes it first. The others hear of a later end, each of another one: where the first learns
nothing because nobody asks it, they follow one by one, and never all at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from router.cluster.wire import News

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

STAGGER_S = 5.0
MAX_NEWS = 10_000


class _Posted(Struct):
    number: int
    by: str
    until: float | None
    why: str


class Board:
    """The last news of every breaker, numbered.

    Attributes:
        number: Of the newest.
    """

    def __init__(self) -> None:
        self.number = 0
        self._posted: dict[str, _Posted] = {}

    def post(self, by: str, news: Sequence[News], now: float) -> None:
        """A router has news."""
        for each in news:
            self.number += 1
            self._posted.pop(each.breaker, None)
            until = None if each.open_s is None else now + each.open_s
            self._posted[each.breaker] = _Posted(self.number, by, until, each.why)
        while len(self._posted) > MAX_NEWS:
            del self._posted[next(iter(self._posted))]

    def since(self, number: int, holder: str, holders: Collection[str], now: float) -> list[News]:
        """What is new to this router; its own news are none."""
        found = []
        for breaker, posted in self._posted.items():
            if posted.number <= number or posted.by == holder:
                continue
            open_s = None
            if posted.until is not None:
                others = sorted(name for name in holders if name != posted.by)
                turn = 1 + others.index(holder) if holder in others else len(others)
                open_s = max(0.0, posted.until - now) + turn * STAGGER_S
            found.append(News(breaker, open_s, posted.why))
        return found
