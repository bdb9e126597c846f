"""The logged traffic once more, event by event: arrivals, decisions that see the simulated queues, service, failures.

Requests meet in queues, so what one of them would have taken depends on where all others went: estimators that look at
one at a time are confidently wrong there. The policy is asked again at each arrival, with the load and queue that the
simulation has at that moment in the place of those that were logged. Hedges are not replayed; a failed attempt goes on
to the next candidate, as in the house; a sender leaves at the request's own deadline.
"""

from __future__ import annotations

import heapq
from collections import deque
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from router.replay.targets import LOGGED, ORACLE, RANDOM, constraints_of, estimate_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.replay.logged import Logged, Shown
    from router.replay.stations import Served, Station
    from router.replay.targets import Target

MAX_ATTEMPTS = 4  # routing.max_attempts as it is set by default


class Ran(Struct, kw_only=True):
    """How each request would have fared: milliseconds, None where it was not answered; and whom it would ask first."""

    latency_ms: list[float | None]
    first: list[str | None]
    held_ms: dict[str, float]  # by near candidate, how long its servers were busy


class _Job(NamedTuple):
    number: int
    shown: Shown
    ranked: tuple[str, ...]  # who is left after this one
    served: Served


class _Queue:
    """A near candidate while the simulation runs."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.waiting: deque[_Job] = deque()
        self.busy_until: list[float] = []
        self.warm = station.warm
        self.expected_ms = 0.0  # of what waits, as predicted
        self.actual_ms = 0.0  # likewise, as it will be
        self.held_ms = 0.0

    def wait_ms(self, now_ms: float, work_ms: float) -> float:
        """How long one that comes now waits for its turn, when what waits already takes `work_ms` one by one."""
        station = self.station
        if len(self.busy_until) < station.servers and not self.waiting:
            return 0.0
        together = min(station.batch, len(self.waiting) + 1)
        running = sum(max(0.0, end - now_ms) for end in self.busy_until)
        return (running + work_ms * station.grown(together) / together) / station.servers


class _Run:
    def __init__(self, requests: Sequence[Logged], stations: dict[str, Station], target: Target, salt: int) -> None:
        self.requests, self.stations, self.target, self.salt = requests, stations, target, salt
        self.queues = {name: _Queue(station) for name, station in stations.items() if station.near}
        self.events: list[tuple[float, int, str, tuple[_Job, ...]]] = []
        self.serial = 0
        count = len(requests)
        self.ran = Ran(latency_ms=[None] * count, first=[None] * count, held_ms={})

    def run(self, tick: Callable[[], None]) -> Ran:
        for number, request in enumerate(self.requests):
            tick()
            self._until(request.at_ms)
            slate = {shown.candidate_id: shown for shown in request.slate}
            ranked = self._ranked(number, request)[:MAX_ATTEMPTS]
            if ranked:
                self.ran.first[number] = ranked[0]
                self._ask(number, ranked, slate, request.at_ms)
        self._until(inf)
        self.ran.held_ms = {name: queue.held_ms for name, queue in self.queues.items()}
        return self.ran

    def _until(self, now_ms: float) -> None:
        while self.events and self.events[0][0] <= now_ms:
            at_ms, _, name, jobs = heapq.heappop(self.events)
            if name in self.queues:
                self.queues[name].busy_until.remove(at_ms)
            for job in jobs:
                self._ended(job, at_ms)
            if name in self.queues:
                self._start(name, at_ms)

    def _ranked(self, number: int, request: Logged) -> tuple[str, ...]:
        """Whom the target tries, in which order."""
        if self.target.name == LOGGED:
            asked = [attempt.candidate_id for attempt in request.own]
            return tuple(dict.fromkeys(([request.chosen] if request.chosen else []) + asked))
        estimates = [
            estimate_of(shown, *self._state(shown, request.at_ms))
            if shown.queues
            else estimate_of(shown, shown.load_ms, shown.queue_ms)
            for shown in request.slate
        ]
        ranked = self.target.ranked(estimates, constraints_of(request))
        if self.target.name == RANDOM and ranked:
            turn = ((number + 1) * 2246822519 ^ self.salt * 3266489917) // 8 % len(ranked)
            return ranked[turn:] + ranked[:turn]
        if self.target.name == ORACLE:
            slate = {shown.candidate_id: shown for shown in request.slate}
            return tuple(sorted(ranked, key=lambda name: self._truth(number, request, slate[name])))
        return ranked

    def _state(self, shown: Shown, now_ms: float) -> tuple[float, float]:
        """Load and queue of a near candidate now, as a house would predict them."""
        queue = self.queues[shown.candidate_id]
        return 0.0 if queue.warm else queue.station.load_ms, queue.wait_ms(now_ms, queue.expected_ms)

    def _truth(self, number: int, request: Logged, shown: Shown) -> float:
        """What asking this candidate will really take."""
        served = self.stations[shown.candidate_id].serve(request, number, shown, self.salt)
        if served.failed:
            return inf
        queue = self.queues.get(shown.candidate_id)
        before = 0.0
        if queue is not None:
            load_ms = 0.0 if queue.warm else queue.station.load_ms
            before = load_ms + queue.wait_ms(request.at_ms, queue.actual_ms)
        return before + served.hold_ms + served.rest_ms

    def _ask(self, number: int, ranked: tuple[str, ...], slate: dict[str, Shown], now_ms: float) -> None:
        name, request = ranked[0], self.requests[number]
        if name not in slate:
            return
        served = self.stations[name].serve(request, number, slate[name], self.salt)
        job = _Job(number, slate[name], ranked[1:], served)
        queue = self.queues.get(name)
        if queue is None:
            self._later(now_ms + served.hold_ms + served.rest_ms, name, (job,))
            return
        queue.waiting.append(job)
        queue.expected_ms += slate[name].service_ms
        queue.actual_ms += served.hold_ms
        self._start(name, now_ms)

    def _start(self, name: str, now_ms: float) -> None:
        """Let free servers take what waits. Whose deadline has passed has left."""
        queue = self.queues[name]
        station = queue.station
        while queue.waiting and len(queue.busy_until) < station.servers:
            batch: list[_Job] = []
            while queue.waiting and len(batch) < station.batch:
                job = queue.waiting.popleft()
                queue.expected_ms = max(0.0, queue.expected_ms - job.shown.service_ms)
                queue.actual_ms = max(0.0, queue.actual_ms - job.served.hold_ms)
                if now_ms - self.requests[job.number].at_ms <= _patience(self.requests[job.number]):
                    batch.append(job)
            if batch:
                each_ms = sum(job.served.hold_ms for job in batch) / len(batch)
                took_ms = each_ms * station.grown(len(batch)) + (0.0 if queue.warm else station.load_ms)
                queue.warm = True
                queue.held_ms += took_ms
                queue.busy_until.append(now_ms + took_ms)
                self._later(now_ms + took_ms, name, tuple(batch))

    def _later(self, at_ms: float, name: str, jobs: tuple[_Job, ...]) -> None:
        self.serial += 1
        heapq.heappush(self.events, (at_ms, self.serial, name, jobs))

    def _ended(self, job: _Job, now_ms: float) -> None:
        request = self.requests[job.number]
        if job.served.failed and job.ranked:
            self._ask(job.number, job.ranked, {s.candidate_id: s for s in request.slate}, now_ms)
            return
        rest_ms = job.served.rest_ms if job.shown.queues else 0.0
        took_ms = now_ms - request.at_ms + rest_ms + (request.overhead_ms or 0.0)
        if not job.served.failed and took_ms <= _patience(request):
            self.ran.latency_ms[job.number] = took_ms


def run(
    requests: Sequence[Logged], stations: dict[str, Station], target: Target, salt: int, tick: Callable[[], None]
) -> Ran:
    """Replay requests, in the order in which they came, under a target. `salt` varies what chance says."""
    return _Run(requests, stations, target, salt).run(tick)


def _patience(request: Logged) -> float:
    return inf if request.deadline_ms is None else request.deadline_ms
