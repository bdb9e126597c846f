"""What an adaptive admission limit is worth: requests answered in time with it and without, on a simulated far side.

The far side takes 20 requests at once and queues the rest; a service time is lognormal, a second on average. Requests
arrive at random (Poisson), at a share of what it can take, and are given up at their deadline, as the router does;
whoever is refused by the limit is refused at once, while there is time to go elsewhere. The limit is the router's own
(`router.admission.Limit`); only the far side and the clock are simulated.

    python benchmarks/admission.py [--seconds 600] [--deadline 5] [--json]
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from math import exp
from statistics import mean, quantiles
from typing import Any

from router.admission import FIRST, Limit

PLACES, SIGMAS, SEEDS = 20, (0.5, 1.0, 1.5), (1, 2, 3)
LOADS = (0.5, 0.9, 1.2, 2.0, 4.0)


@dataclass
class Request:
    """One request: when it came, how long it takes once it is served, and how many were under way then."""

    came: float
    service_s: float
    in_flight: int
    gone: bool = False


@dataclass
class FarSide:
    """Places, and a queue before them; events are ends of service, and of patience."""

    deadline_s: float
    limit: Limit | None
    under_way: int = 0
    busy: int = 0
    queue: deque[Request] = field(default_factory=deque)
    events: list[tuple[float, int, str, Request]] = field(default_factory=list)
    number: count[int] = field(default_factory=count)
    answered_s: list[float] = field(default_factory=list)
    refused: int = 0
    given_up: int = 0

    def arrives(self, now: float, service_s: float) -> None:
        """Refuse it, or give it a place or a turn."""
        self.until(now)
        if self.under_way >= (FIRST if self.limit is None else int(self.limit.limit)) and self.limit is not None:
            self.refused += 1
            return
        self.under_way += 1
        request = Request(now, service_s, self.under_way)
        self._at(now + self.deadline_s, "gives up", request)
        self.queue.append(request)
        self._serve(now)

    def until(self, now: float) -> None:
        """Let everything happen that does before `now`."""
        while self.events and self.events[0][0] <= now:
            at, _, what, request = heapq.heappop(self.events)
            if what == "ends":
                self.busy -= 1
                self._left(request, at, in_vain=False)
                self._serve(at)
            else:
                self._left(request, at, in_vain=True)

    def _left(self, request: Request, now: float, *, in_vain: bool) -> None:
        if request.gone:
            return
        request.gone = True
        self.under_way -= 1
        took_s = now - request.came
        if in_vain:
            self.given_up += 1
        else:
            self.answered_s.append(took_s)
        if self.limit is not None:
            self.limit.observe(took_s, request.in_flight, in_vain=in_vain)

    def _serve(self, now: float) -> None:
        while self.queue and self.busy < PLACES:
            request = self.queue.popleft()
            if not request.gone:  # one that is served is finished, whether or not anybody still waits
                self.busy += 1
                self._at(now + request.service_s, "ends", request)

    def _at(self, when: float, what: str, request: Request) -> None:
        heapq.heappush(self.events, (when, next(self.number), what, request))


def run(load: float, sigma: float, seed: int, options: argparse.Namespace, *, limited: bool) -> dict[str, float]:
    """One arm: shares of all requests, and how long the answered took."""
    rng = random.Random(seed)
    far = FarSide(options.deadline, Limit() if limited else None)
    now, arrived = 0.0, 0
    while now < options.seconds:
        now += rng.expovariate(load * PLACES)
        far.arrives(now, rng.lognormvariate(-sigma * sigma / 2, sigma))
        arrived += 1
    far.until(now + options.deadline + 1)
    return {
        "in_time": len(far.answered_s) / arrived,
        "in_vain": far.given_up / arrived,
        "refused": far.refused / arrived,
        "p95_s": quantiles(far.answered_s, n=20)[-1],
    }


def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every load and tail, each with the limit and without, the same arrivals in both."""
    rows = []
    for sigma in SIGMAS:
        for load in LOADS:
            row: dict[str, Any] = {"sigma": sigma, "load": load, "tail": exp(2.326 * sigma - sigma * sigma / 2)}
            for name, limited in (("without", False), ("with", True)):
                arms = [run(load, sigma, seed, options, limited=limited) for seed in SEEDS]
                row[name] = {key: mean(arm[key] for arm in arms) for key in arms[0]}
            rows.append(row)
    return rows


def main() -> None:
    """Print a table, or the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="simulated, of arrivals")
    parser.add_argument("--deadline", type=float, default=5.0, help="seconds until a request is given up")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measured(options)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("sigma  load   in time: without   with    in vain: without   with   refused   p95: without   with")
    for row in rows:
        a, b = row["without"], row["with"]
        print(
            f"{row['sigma']:5.1f} {row['load']:5.1f} {a['in_time']:18.1%} {b['in_time']:6.1%} {a['in_vain']:18.1%}"
            f" {b['in_vain']:6.1%} {b['refused']:9.1%} {a['p95_s']:13.2f}s {b['p95_s']:5.2f}s"
        )


if __name__ == "__main__":
    main()
