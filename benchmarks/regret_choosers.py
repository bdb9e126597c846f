"""Who chooses in `policy_regret.py`: Nearfar's own policies on its own estimates, what others do, and an oracle.

The product's parts are the product's: candidates, sizes, estimator, constraints and policies; only the clock and the
machine are simulated.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING

from backends.types import Status, Target, Task, Timings, Usage
from policies.registry import create
from policies.types import Constraints
from router.estimates import Estimator
from router.pricing import LocalRates, local_rates
from router.sections import Price
from router.sizes import PRIOR_OUTPUT_TOKENS
from router.slate import Candidate, Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regret_simulation import Done, Machine
    from regret_world import Place, Request, World

SAMPLES = 10  # of the mean that lowest-latency routers keep


class Product:
    """One of Nearfar's policies, learning from what it sends."""

    def __init__(
        self, policy: str, places: Sequence[Place], *, deadline_s: float, max_tokens: int, cores: float
    ) -> None:
        self._policy = create(policy)
        self._places = {place.name: place for place in places}
        self._deadline_s = deadline_s
        self._max_tokens = max_tokens
        self._estimator = Estimator(local_rates(None, cores), runtime_started=lambda: True)

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        """As `router.planning` does, on a slate of these places."""
        candidates = [self._candidate(place, machine) for place in self._places.values()]
        estimates = self._estimator.estimate(self._size(request), candidates, lambda _: None)
        decision = self._policy.decide(estimates, Constraints(deadline_s=self._deadline_s))
        return self._places[decision.ranked[0]]

    def learn(self, done: Done) -> None:
        """As `router.lessons` does: of answers; what was stopped or dropped at its deadline teaches nothing."""
        if not done.in_time and done.place.near:
            return
        usage = Usage(prompt_tokens=done.request.input_tokens, completion_tokens=done.request.output_tokens)
        timings = Timings(queue_s=done.queue_s, service_s=done.service_s, device_s=done.service_s)
        self._estimator.observe(
            self._candidate(done.place, None),
            self._size(done.request),
            usage,
            timings if done.place.near else Timings(),
            done.latency_s,
        )

    def _candidate(self, place: Place, machine: Machine | None) -> Candidate:
        target = Target(
            backend="local" if place.near else "remote", provider=place.name, model="m", task=Task.TEXT_GENERATION
        )
        queue_s = machine.near_queue_s() if machine is not None and place.near else None
        queued = machine.under_way.get(place.name, 0) if machine is not None else 0
        price = Price(input_per_1m_usd=place.input_per_1m_usd, output_per_1m_usd=place.output_per_1m_usd)
        return Candidate(
            id=place.name,
            target=target,
            near=place.near,
            status=Status(loaded=True, device="cpu" if place.near else "remote", queued=queued, queue_s=queue_s),
            price=None if place.near else price,
            listed_as="m",
        )

    def _size(self, request: Request) -> Size:
        """Nobody knows how long the answer will be: only how long it may be."""
        return Size(
            items=1,
            input_tokens=request.input_tokens,
            output_tokens=min(self._max_tokens, PRIOR_OUTPUT_TOKENS),
            max_output_tokens=self._max_tokens,
        )


class Fixed:
    """Always the same place."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        return self._place

    def learn(self, done: Done) -> None:
        """Nothing to learn."""


class Random:
    """Any place, by chance."""

    def __init__(self, places: Sequence[Place], seed: int) -> None:
        self._places, self._chance = places, random.Random(seed)

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        return self._chance.choice(self._places)

    def learn(self, done: Done) -> None:
        """Nothing to learn."""


class RoundRobin:
    """Each place in turn."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        return self._places[index % len(self._places)]

    def learn(self, done: Done) -> None:
        """Nothing to learn."""


class LeastBusy:
    """The place with the fewest requests under way; ties by chance."""

    def __init__(self, places: Sequence[Place], seed: int) -> None:
        self._places, self._chance = places, random.Random(seed)

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        return min(self._places, key=lambda place: (machine.under_way.get(place.name, 0), self._chance.random()))

    def learn(self, done: Done) -> None:
        """Nothing to learn."""


class LowestMeanLatency:
    """The smallest mean of the last ten answers; who has none is tried first."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._seen: dict[str, deque[float]] = {place.name: deque(maxlen=SAMPLES) for place in places}

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        return min(self._places, key=lambda place: self._mean(place, machine))

    def learn(self, done: Done) -> None:
        """The time of every answer counts, also of one that came too late."""
        self._seen[done.place.name].append(done.latency_s)

    def _mean(self, place: Place, machine: Machine) -> float:
        seen = self._seen[place.name]
        if not seen:
            return 0.0 if not machine.under_way.get(place.name, 0) else 1e9  # one at a time, until it has answered
        return sum(seen) / len(seen)


class LowestListPrice(Fixed):
    """The lowest price per token, in and out, as the list says; the near place has none, so it costs nothing there."""

    def __init__(self, places: Sequence[Place]) -> None:
        super().__init__(min(places, key=lambda place: place.input_per_1m_usd + place.output_per_1m_usd))


class Clairvoyant:
    """Knows what every place would take for every request, and a price of near time; greedy with both.

    With the best such price in hindsight it is the oracle: near time that a later request needs more is left to it.
    """

    def __init__(self, world: World, *, deadline_s: float, value_usd: float, near_usd_per_s: float) -> None:
        self._world = world
        self._deadline_s, self._value_usd, self._near_usd_per_s = deadline_s, value_usd, near_usd_per_s
        self._near_free_s = 0.0

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        place = max(self._world.places, key=lambda place: self._utility(place, index, request))
        if place.near:
            starts_s = max(request.at_s, self._near_free_s)
            self._near_free_s = starts_s + self._world.service_s(place, index)
        return place

    def learn(self, done: Done) -> None:
        """It knew."""

    def _utility(self, place: Place, index: int, request: Request) -> float:
        service_s = self._world.service_s(place, index)
        queue_s = max(0.0, self._near_free_s - request.at_s) if place.near else 0.0
        in_time = queue_s + service_s <= self._deadline_s
        price_usd = self._near_usd_per_s * service_s if place.near else 0.0
        if place.near and not in_time:
            return -1.0
        return self._value_usd * in_time - place.cost_usd(request, service_s) - price_usd


def near_rates(cores: float) -> LocalRates:
    """The published default price of a machine with so many cores."""
    return local_rates(None, cores)
