"""Two queues of a large fleet, event by event: requests at the cores of its nodes, leases at the owner of its budgets.

Both are exact for what they are told: arrivals are Poisson's, a core serves one request after the other, and so does
the owner with the messages of the nodes. Times are seconds; the same seed gives the same figures.
"""

from __future__ import annotations

import heapq
import math
import random
from itertools import accumulate
from typing import NamedTuple

from router.cluster.leases import HALF_LIFE_S
from router.cluster.member import EVERY_S

Z99 = 2.326  # of the normal distribution


class Waits(NamedTuple):
    """How long requests waited for a core."""

    p50_ms: float
    p99_ms: float


class Owned(NamedTuple):
    """What the owner of the budgets had to do.

    Attributes:
        messages_per_s: Of all nodes; each sends some however little happens.
        utilisation: Of the one core that the owner is.
        waiting_share: Of the requests that cost money: those that came where too little was held for them.
        wait_ms_p99: How long these waited; None where nothing bounds it. A node sends no second message before the
            first is answered, so the owner never has more of them waiting than there are nodes.
    """

    messages_per_s: float
    utilisation: float
    waiting_share: float
    wait_ms_p99: float | None


def waits(utilisation: float, cpu_s: float, spread: float, *, requests: int, seed: int) -> Waits:
    """At a core that is busy for this share of the time, with service times whose p99 is so many times their p50."""
    found = sorted(waited_s(utilisation, cpu_s, spread, requests=requests, seed=seed))
    return Waits(1000 * found[requests // 2], 1000 * found[requests * 99 // 100])


def waited_s(utilisation: float, cpu_s: float, spread: float, *, requests: int, seed: int) -> list[float]:
    """What each of so many requests waited, in their order."""
    draw, sigma = random.Random(seed), math.log(spread) / Z99
    mu = math.log(cpu_s) - sigma * sigma / 2
    wait = 0.0
    found = []
    for _ in range(requests):
        found.append(wait)
        served = draw.lognormvariate(mu, sigma)
        wait = max(0.0, wait + served - draw.expovariate(utilisation / cpu_s))
    return found


def zipf(tenants: int) -> list[float]:
    """The shares of tenants of which the first asks twice as often as the second, and so on."""
    weights = [1 / place for place in range(1, tenants + 1)]
    return [weight / sum(weights) for weight in weights]


class Fleet(NamedTuple):
    """Who spends. `at` is at how many of the nodes a tenant's requests arrive: all, where nothing gathers them."""

    nodes: int
    far_per_s: float
    tenants: int
    at: int


class _Lease:
    """What one node holds of one budget, in requests, and how many of them it has a second lately."""

    __slots__ = ("at", "held", "rate")

    def __init__(self, rate: float = 0.0, held: float = 0.0) -> None:
        self.held, self.rate, self.at = held, rate, 0.0

    def seen(self, now: float) -> None:
        self.rate, self.at = self.lately(now) + math.log(2) / HALF_LIFE_S, now

    def lately(self, now: float) -> float:
        return self.rate * 0.5 ** ((now - self.at) / HALF_LIFE_S)


class _Node:
    """One router: what it holds, and since when requests wait here for more."""

    __slots__ = ("asking", "leases", "talks", "waiting")

    def __init__(self) -> None:
        self.leases: dict[int, _Lease] = {}
        self.waiting: list[float] = []
        self.asking: list[float] = []  # for whom a message is under way
        self.talks = False

    def hold(self, now: float, hold_s: float) -> None:
        """The owner has answered: of each budget is held what is spent in `hold_s`; too little of it is given back."""
        for tenant, lease in list(self.leases.items()):
            lease.held = hold_s * lease.lately(now)
            if lease.held < 1:
                del self.leases[tenant]


def owned(fleet: Fleet, hold_s: float, op_s: float, *, seconds: float, seed: int) -> Owned:
    """What the owner does in so many seconds, after four times as many to warm up.

    A node sends a message every half second, and one at once when a request comes for which it holds too little; one
    after the other, so whoever comes while one is under way waits for the next. Without any hold each request asks, and
    tells what it cost.
    """
    if not hold_s:
        rate = 2 * fleet.far_per_s
        return Owned(rate, rate * op_s, 1.0, None if rate * op_s >= 1 else 0.0)
    return _Owner(fleet, hold_s, op_s, random.Random(seed)).run(seconds)


class _Owner:
    """The simulation: one heap of what happens next."""

    def __init__(self, fleet: Fleet, hold_s: float, op_s: float, draw: random.Random) -> None:
        self._fleet, self._hold_s, self._op_s, self._draw = fleet, hold_s, op_s, draw
        self._nodes = [_Node() for _ in range(fleet.nodes)]
        self._busy_until, self._counts, self._messages = 0.0, False, 0
        self._waited: list[float] = []
        self._next = [(draw.random() * EVERY_S, number, True) for number in range(fleet.nodes)]
        heapq.heapify(self._next)

    def run(self, seconds: float) -> Owned:
        fleet, draw = self._fleet, self._draw
        tenants, shares = range(fleet.tenants), list(accumulate(zipf(fleet.tenants)))
        now, requests = 0.0, 0
        while now < 5 * seconds:
            now += draw.expovariate(fleet.far_per_s)
            self._until(now)
            if not self._counts and now >= 4 * seconds:
                self._counts, self._busy_until = True, min(self._busy_until, now)  # the rush of the beginning is over
            [tenant] = draw.choices(tenants, cum_weights=shares)
            self._asked(now, (tenant + draw.randrange(fleet.at) * fleet.nodes // fleet.at) % fleet.nodes, tenant)
            requests += self._counts
        return self._told(seconds, requests)

    def _told(self, seconds: float, requests: int) -> Owned:
        rate, waited = self._messages / seconds, sorted(self._waited)
        p99 = 1000 * waited[len(waited) * 99 // 100] if waited else 0.0
        return Owned(rate, min(1.0, rate * self._op_s), len(waited) / max(1, requests), p99)

    def _asked(self, now: float, number: int, tenant: int) -> None:
        node = self._nodes[number]
        lease = node.leases.get(tenant)
        if lease is None:
            lease = node.leases[tenant] = _Lease()
        lease.seen(now)
        if lease.held >= 1:
            lease.held -= 1
            return
        node.waiting.append(now)
        if not node.talks:
            self._talk(now, number)

    def _talk(self, now: float, number: int) -> None:
        node = self._nodes[number]
        node.talks, node.asking, node.waiting = True, node.waiting, []
        self._messages += self._counts
        self._busy_until = max(self._busy_until, now) + self._op_s
        heapq.heappush(self._next, (self._busy_until, number, False))

    def _until(self, now: float) -> None:
        while self._next[0][0] <= now:
            at, number, due = heapq.heappop(self._next)
            node = self._nodes[number]
            if due:
                heapq.heappush(self._next, (at + EVERY_S, number, True))
                if not node.talks:
                    self._talk(at, number)
                continue
            node.talks = False
            node.hold(at, self._hold_s)
            if self._counts:
                self._waited += [at - since for since in node.asking]
            if node.waiting:
                self._talk(at, number)
