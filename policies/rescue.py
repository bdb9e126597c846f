"""What becomes of a far candidate that is late: it is given up for another while that one can still be in time.

The router keeps enough of the deadline for the quickest of the others (`room_s`), and asks that one when a far
candidate has not answered until then. So a cheap one that is slow one time in ten is not late one time in ten: it costs
the other's price that often, and is late as often as both are. Near answers are not given up.

    P(chain)     =  P(T <= room) + P(T > room) * P(T' <= time - room)
    cost(chain)  =  cost + P(T > room) * cost'          T', cost': of the quickest of the others

Both latencies are taken as independent, and one that was given up as paid for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from policies.base import known
from policies.chances import chance_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Constraints, Estimate

SPARED = 1.5  # times what the next candidate should take: so much of the time is kept for it


NOTE = " Who is late is given up for the quickest other in time; that is counted in."


class Chain(NamedTuple):
    """A candidate with whoever takes over when it is late: the chance of an answer in time, and what both cost."""

    chance: float
    cost_usd: float


def room_s(time_s: float, next_s: float | None) -> float:
    """Of the time there is, what a candidate may take: less what the next one needs, but half at least."""
    return time_s if next_s is None else max(time_s - SPARED * next_s, time_s / 2)


def chains(slate: Sequence[Estimate], constraints: Constraints) -> dict[str, Chain]:
    """By candidate id, for every candidate of a slate; each alone where nobody may take over."""
    time_s = constraints.deadline_s
    if time_s is None:
        return {e.candidate_id: Chain(1.0, known(e.cost_usd) or 0.0) for e in slate}
    quickest = sorted(slate, key=lambda e: e.latency_s)[:2] if constraints.gives_up else []
    takers = [_Taker(e, time_s) for e in quickest]
    found = {}
    for e in slate:
        taker = next((taker for taker in takers if taker.candidate_id != e.candidate_id), None)
        found[e.candidate_id] = _chain(e, time_s, None if e.near else taker)
    return found


class _Taker:
    """Who takes over: from when on, and how likely it is in time then."""

    def __init__(self, e: Estimate, time_s: float) -> None:
        self.candidate_id = e.candidate_id
        self.room_s = room_s(time_s, e.latency_s)
        self.chance = chance_within(e, time_s - self.room_s)
        self.cost_usd = known(e.cost_usd) or 0.0


def _chain(e: Estimate, time_s: float, taker: _Taker | None) -> Chain:
    cost_usd = known(e.cost_usd) or 0.0
    if taker is None:
        return Chain(chance_within(e, time_s), cost_usd)
    there = chance_within(e, taker.room_s)
    return Chain(there + (1 - there) * taker.chance, cost_usd + (1 - there) * taker.cost_usd)
