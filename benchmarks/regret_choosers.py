# ruff: noqa: ARG002, D102 -- one protocol, of which few look at everything
"""Who chooses in `policy_regret.py`: Nearfar's own policies on its own estimates, what others do, and an oracle.

The product's parts are the product's: candidates, sizes, estimator, constraints and policies; only the clock and the
machine are simulated.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from regret_world import Request

from backends.reports import LoadReport, Measurement
from backends.types import Status, Target, Task, Timings, Usage
from policies.exploration import Explorer
from policies.registry import create
from policies.rescue import room_s
from policies.types import Constraints
from router.estimates import Asked, Estimator
from router.sections import Price
from router.sizes import PRIOR_OUTPUT_TOKENS
from router.slate import Candidate, Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regret_simulation import Done, Machine
    from regret_world import Place, World

    from policies.types import Estimate

NEAR_PARAMETERS = 134_515_008  # SmolLM2's
SAMPLES = 10  # of the mean that lowest-latency routers keep


class Product:
    """One of Nearfar's policies, learning from what it sends; a share of `explore` is left to chance.

    The near place begins with what a calibration measured, as `make run` has it; the far ones with nothing.
    """

    def __init__(
        self, policy: str, places: Sequence[Place], *, deadline_s: float, max_tokens: int, explore: float, seed: int
    ) -> None:
        self._policy = Explorer(create(policy), explore)
        self._chance = random.Random(seed)
        self._places = {place.name: place for place in places}
        self._deadline_s = deadline_s
        self._max_tokens = max_tokens
        self._predicted: dict[int, Estimate] = {}
        self._slates: dict[int, list[Estimate]] = {}
        near = next(place for place in places if place.near)
        self._estimator = Estimator(_Rates(near.usd_per_hour), runtime_started=lambda: True)
        self._estimator.learn_load(self._candidate(near, None), _calibration(near), "calibrated")

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        """As `router.planning` does, on a slate of these places."""
        candidates = [self._candidate(place, machine) for place in self._places.values()]
        estimates = self._estimator.estimate(self._size(request), candidates, lambda _: None)
        constraints = Constraints(deadline_s=self._deadline_s, gives_up=True)
        decision = self._policy.decide(estimates, constraints)
        decision = self._policy.explore(decision, estimates, constraints, self._chance.random())
        chosen = next(e for e in estimates if e.candidate_id == decision.ranked[0])
        self._predicted[request.number] = chosen
        self._slates[request.number] = estimates
        return self._places[chosen.candidate_id]

    def rescue(self, request: Request, place: Place, service_s: float, machine: Machine) -> tuple[float, Place] | None:
        """As `router.attempts` gives up a far candidate that is late, while the quickest other one can be in time."""
        others = [e for e in self._slates.pop(request.number) if e.candidate_id != place.name and not e.near]
        quickest = min(others, key=lambda e: e.latency_s)
        after_s = room_s(self._deadline_s, quickest.latency_s)
        if place.near or service_s <= after_s:
            return None
        return after_s, self._places[quickest.candidate_id]

    def learn(self, done: Done) -> None:
        """As `router.lessons` does; what was stopped or dropped at its deadline took longer than that."""
        if done.given_up_s is not None and done.rescuer is not None:
            asked = Asked(predicted=self._predicted.pop(done.request.number))
            size = self._size(done.request)
            self._estimator.outlasted(self._candidate(done.place, None), size, done.given_up_s, asked, silent=True)
            usage = Usage(prompt_tokens=done.request.input_tokens, completion_tokens=done.request.output_tokens)
            self._estimator.observe(
                self._candidate(done.rescuer, None), size, usage, Timings(), done.rescuer_s, Asked()
            )
            return
        candidate, size = self._candidate(done.place, None), self._size(done.request)
        asked = Asked(predicted=self._predicted.pop(done.request.number))
        if not done.in_time and done.place.near:
            self._estimator.outlasted(candidate, size, done.latency_s, asked, silent=True)
            return
        usage = Usage(prompt_tokens=done.request.input_tokens, completion_tokens=done.request.output_tokens)
        timings = Timings(queue_s=done.queue_s, service_s=done.service_s, device_s=done.service_s)
        self._estimator.observe(
            candidate, size, usage, timings if done.place.near else Timings(), done.latency_s, asked
        )

    def _candidate(self, place: Place, machine: Machine | None) -> Candidate:
        target = Target(
            backend="local" if place.near else "remote",
            provider=place.name,
            model="m",
            task=Task.TEXT_GENERATION,
            parameters=NEAR_PARAMETERS if place.near else None,
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


class Untaught:
    """What it sees makes no difference to it."""

    def learn(self, done: Done) -> None:
        """Nothing to learn."""

    def rescue(self, request: Request, place: Place, service_s: float, machine: Machine) -> tuple[float, Place] | None:
        """It waits."""
        return None


class Fixed(Untaught):
    """Always the same place."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        return self._place


class Random(Untaught):
    """Any place, by chance."""

    def __init__(self, places: Sequence[Place], seed: int) -> None:
        self._places, self._chance = places, random.Random(seed)

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        return self._chance.choice(self._places)


class RoundRobin(Untaught):
    """Each place in turn."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        return self._places[index % len(self._places)]


class LeastBusy(Untaught):
    """The place with the fewest requests under way; ties by chance."""

    def __init__(self, places: Sequence[Place], seed: int) -> None:
        self._places, self._chance = places, random.Random(seed)

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        return min(self._places, key=lambda place: (machine.under_way.get(place.name, 0), self._chance.random()))


class LowestMeanLatency(Untaught):
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


class Clairvoyant(Untaught):
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


class _Rates(NamedTuple):
    """The price of the near machine's time."""

    usd_per_hour: float

    def expected(self, seconds: float, device: str) -> tuple[float | None, str]:
        """As `router.near_costs` has it."""
        return self.usd_per_hour * seconds / 3600, "occupancy"


def _calibration(near: Place) -> LoadReport:
    """What `nearfar calibrate` would have measured of the near place: requests of several sizes on a good day."""
    sizes = ((32, 16), (256, 64), (1024, 128))
    return LoadReport(
        load_s=0.0,
        measured=tuple(
            Measurement(
                usage=Usage(prompt_tokens=read, completion_tokens=said),
                service_s=near.expected_s(Request(0, 0.0, read, said)),
            )
            for read, said in sizes
        ),
    )
