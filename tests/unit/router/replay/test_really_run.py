"""Event replay against the policy that was then really run: a real house whose near side serves one at a time.

On a clock of its own (`virtual.py`), as what a busy machine adds to each sleep is no property of a policy.
"""

import asyncio
import random
import sys
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from backends.fake import FakeBackend
from backends.types import InferenceRequest, InferenceResult, Status, Target, Timings
from policies import registry
from policies.constraints import apply
from policies.hardware import LocalFirst
from policies.types import Decision
from router.decision_log.windows import Window
from router.replay import estimators
from router.replay.evidence import weigh
from router.replay.logged import Logged, read, traffic
from router.replay.replayed import Asked, Clock, replay
from router.replay.targets import target
from router.replay.verdict import Figure, Replay
from router.sections import Price
from tests.unit.router.house import chat, chat_model, fake, opened
from tests.unit.router.virtual import run

NEAR_MS, FAR_MS = 60.0, 120.0
GAP_S = 0.025  # between arrivals: all of them are 2.4 times what the near side serves
NEAR_SHARE = 0.3


class OneAtATime(FakeBackend):
    """Its near targets serve one request at a time, as a device does; the others wait, and say how long."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._rng = random.Random(seed)

    def status(self, target: Target) -> Status:
        status = super().status(target)
        return replace(status, queued=self._waiting) if dict(target.script)["near"] else status

    async def infer(self, request: InferenceRequest, target: Target) -> InferenceResult:
        if not dict(target.script)["near"]:
            await asyncio.sleep(FAR_MS / 1000 * self._rng.uniform(0.8, 1.2))
            return await super().infer(request, target)
        self._waiting += 1
        came = time.perf_counter()
        try:
            async with self._turn:
                began = time.perf_counter()
                await asyncio.sleep(NEAR_MS / 1000 * self._rng.uniform(0.8, 1.2))
                result = await super().infer(request, target)
                ended = time.perf_counter()
        finally:
            self._waiting -= 1
        return replace(result, timings=Timings(queue_s=began - came, load_s=0.0, service_s=ended - began))


@dataclass(frozen=True)
class Coin:
    """Near first with a known probability, and says so."""

    rng: random.Random
    name: ClassVar[str] = "coin"
    version: ClassVar[str] = "1"

    def decide(self, estimates: Any, constraints: Any) -> Decision:
        eligible, rejections = apply(estimates, constraints)
        near, far = (next(e.candidate_id for e in eligible if e.near is side) for side in (True, False))
        draw = self.rng.random()
        ranked = (near, far) if draw < NEAR_SHARE else (far, near)
        return Decision(
            ranked=ranked, reason="a coin", policy="coin", version="1", rejections=rejections, explore_rate=1.0,
            draw=draw, propensities={near: NEAR_SHARE, far: 1 - NEAR_SHARE},
        )  # fmt: skip


async def lived(policy: str, gaps: list[float], *targets: str) -> tuple[float, dict[str, Figure], float | None]:
    """Mean latency (ms) under a policy that is really run; what event replay of its log and IPS of it say of others."""
    models = chat_model(fake("near-side", near=True, tokens=2), fake("far-side", near=False, tokens=2))
    async with opened(models, backend=OneAtATime(7), policy=policy) as house:
        began = asyncio.get_running_loop().time()
        asked, due = [], 0.0
        for gap in gaps:
            due += gap
            await asyncio.sleep(began + due - asyncio.get_running_loop().time())
            asked.append(asyncio.create_task(house.dispatcher.infer(chat(order=()))))
        outcomes = await asyncio.gather(*asked)
        log = house.services.log
        log.flush()
        found = {}
        for target_ in targets:
            answer = replay(log.reader(), Window(), Asked(policy=target_), Clock())
            found[target_] = next(f for f in answer.verdicts[0].figures if f.quantity == "latency_mean")
        logged = read(log.reader(), Window(), lambda: None).requests
    assert all(outcome.status == "ok" for outcome in outcomes)
    return 1000 * sum(o.latency_s for o in outcomes) / len(outcomes), found, ips(logged) if targets else None


def ips(logged: list[Logged]) -> float:
    """What a per-request estimate makes of all-near's latency."""
    log = traffic([replace(one, cost_usd=one.latency_ms) for one in logged])
    weighed = weigh(logged, [target("all-near").choice(one) for one in logged])
    figures = estimators.figures(estimators.evidence(log, weighed, "price"), anytime=False)
    return figures[1].estimate


def test_event_replay_foretells_the_latency_of_a_policy_that_is_then_really_run(monkeypatch) -> None:
    """Within 10 %, from the log of a coin; what near requests of that log took themselves is many times off."""
    rng = random.Random(3)
    gaps = [rng.expovariate(1 / GAP_S) for _ in range(500)]
    monkeypatch.setitem(registry.POLICIES, "coin", lambda _: Coin(random.Random(5)))
    monkeypatch.setitem(registry.POLICIES, "near-always", lambda _: LocalFirst(spill_factor=float("inf")))
    _, told, per_request = run(lived("coin", gaps, "all-near", "fastest"))
    near, _, _ = run(lived("near-always", gaps))
    fastest, _, _ = run(lived("fastest", gaps))

    sys.stdout.write(
        f"{told['all-near'].estimate} for {near}, {told['fastest'].estimate} for {fastest}, {per_request}\n"
    )
    assert told["all-near"].estimate == pytest.approx(near, rel=0.1)
    assert told["fastest"].estimate == pytest.approx(fastest, rel=0.1)
    assert 10 * per_request < near


async def explored(count: int) -> Replay:
    """What a real house that explores logs, replayed under the other side's policy."""
    near = fake("near-side", near=True, tokens=2, price=Price(per_request_usd=0.001))
    far = fake("far-side", near=False, tokens=2, price=Price(per_request_usd=0.004))
    async with opened(chat_model(near, far), policy="remote-first", exploration=0.5) as house:
        for n in range(count):
            await asyncio.sleep(0.01)
            await house.dispatcher.infer(chat(order=(), prompt=f"hello {n}"))
        house.services.log.flush()
        return replay(house.services.log.reader(), Window(), Asked(policy="all-near"), Clock())


def test_what_a_real_house_logs_of_its_exploration_is_what_replay_needs() -> None:
    """Its propensities are believed, and the price of never going far is told from the requests left to chance."""
    [verdict] = run(explored(1000)).verdicts
    price, errors = verdict.figures[:2]

    assert ("dr", None) == (price.method, price.refusal)
    assert price.estimate == pytest.approx(0.001, rel=1e-3)
    assert price.observed > 0.003
    assert price.difference_high < -0.002
    assert 0 < price.ess < 300
    assert 0 == errors.estimate < errors.high < 0.03
