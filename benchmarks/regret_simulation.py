"""A trace through the places of `policy_regret.py`, event by event: arrivals, one near queue, far answers, learning.

A chooser names the place of each request when it comes, and hears of every answer when it has ended. Near, a request
that is not begun by its deadline is dropped, and one that is running then is stopped, as the near side does.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from regret_world import Place, Request, World

LEARNT_WEIGHT = 0.2  # of the last request, in the near side's own seconds per unit of work (backends/local/worker.py)


@dataclass(frozen=True, kw_only=True)
class Done:
    """How one request ended: `latency_s` until its answer or its deadline; `service_s` without the queue."""

    request: Request
    place: Place
    latency_s: float
    queue_s: float
    service_s: float
    cost_usd: float
    in_time: bool
    given_up_s: float | None = None
    rescuer: Place | None = None
    rescuer_s: float = 0.0


@dataclass
class Machine:
    """What a chooser may know of the places at one instant.

    Attributes:
        under_way: Requests at each place that have not ended.
        s_per_token: What the near place took for a token it wrote, lately; None before its first answer.
    """

    under_way: dict[str, int] = field(default_factory=dict)
    s_per_token: float | None = None
    waiting_tokens: float = 0.0

    def near_queue_s(self) -> float | None:
        """The near side's own expectation of its queue."""
        return None if self.s_per_token is None else self.s_per_token * self.waiting_tokens


class Chooser(Protocol):
    """Names a place for each request."""

    def choose(self, index: int, request: Request, machine: Machine) -> Place:
        """The place for the index-th request."""
        ...

    def rescue(self, request: Request, place: Place, service_s: float, machine: Machine) -> tuple[float, Place] | None:
        """When this place is given up for that one, if it takes so long there."""
        ...

    def learn(self, done: Done) -> None:
        """An answer ended."""
        ...


def simulate(world: World, chooser: Chooser, *, deadline_s: float, max_tokens: int) -> list[Done]:
    """Every request of the world through the chooser, in the order in which they came."""
    machine, near_free_s = Machine(), 0.0
    answers: list[Done] = []
    ends: list[tuple[float, int, Done]] = []
    for index, request in enumerate(world.requests):
        while ends and ends[0][0] <= request.at_s:
            _, _, done = heapq.heappop(ends)
            _end(machine, chooser, done, max_tokens)
        place = chooser.choose(index, request, machine)
        service_s = world.service_s(place, index)
        starts_s = max(request.at_s, near_free_s) if place.near else request.at_s
        done = _done(request, place, starts_s, service_s, deadline_s)
        rescue = chooser.rescue(request, place, service_s, machine)
        if rescue is not None:
            after_s, other = rescue
            done = _rescued(done, after_s, other, world.service_s(other, index), deadline_s)
        if place.near:
            near_free_s = max(near_free_s, starts_s + done.service_s)
            machine.waiting_tokens += max_tokens
        machine.under_way[place.name] = machine.under_way.get(place.name, 0) + 1
        heapq.heappush(ends, (request.at_s + done.latency_s, index, done))
        answers.append(done)
    return answers


def _done(request: Request, place: Place, starts_s: float, service_s: float, deadline_s: float) -> Done:
    last_s = request.at_s + deadline_s
    ends_s = starts_s + service_s
    held_s = min(max(0.0, last_s - starts_s), service_s) if place.near else service_s
    return Done(
        request=request,
        place=place,
        latency_s=min(ends_s, last_s) - request.at_s if place.near else ends_s - request.at_s,
        queue_s=starts_s - request.at_s,
        service_s=held_s,
        cost_usd=place.cost_usd(request, held_s),
        in_time=ends_s <= last_s,
    )


def _rescued(done: Done, after_s: float, other: Place, service_s: float, deadline_s: float) -> Done:
    """The same request, given up after so long and answered by another place, which is not seen as busy with it."""
    second = _done(done.request, other, done.request.at_s + after_s, service_s, deadline_s)
    return replace(
        done,
        latency_s=second.latency_s,
        cost_usd=done.cost_usd + second.cost_usd,
        in_time=second.in_time,
        given_up_s=after_s,
        rescuer=other,
        rescuer_s=service_s,
    )


def _end(machine: Machine, chooser: Chooser, done: Done, max_tokens: int) -> None:
    machine.under_way[done.place.name] -= 1
    if done.place.near:
        machine.waiting_tokens -= max_tokens
        if done.in_time:
            seen = done.service_s / max_tokens
            old = machine.s_per_token
            machine.s_per_token = seen if old is None else old + LEARNT_WEIGHT * (seen - old)
    chooser.learn(done)
