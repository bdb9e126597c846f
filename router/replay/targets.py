"""Whom another policy would have put first on a logged slate. Runs nothing and knows no outcome.

What was ruled out for a reason outside the policy (privacy, a breaker, the machine, a budget, the request's own word)
stays ruled out; what the policy or a limit on its predictions ruled out is decided anew. The log does not keep the
`order` a request asked for: a target goes by its own.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from msgspec import Struct

from policies import registry
from policies.base import Policy
from policies.constraints import apply
from policies.hardware import LocalFirst, RemoteFirst
from policies.types import Constraints, Estimate, Parameters, Quantiles, Weights
from router.errors import InvalidRequest
from router.slate import BROWSER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.replay.logged import Logged, Shown

HARD = frozenset({"offline", "private", "excluded", "unavailable", "does_not_fit", "unsupported", "budget"})
LOADED = frozenset({"overloaded"})
"""What was ruled out for the load of that moment: hard on the logged slate, open where the load is simulated."""

LOGGED, RANDOM, ORACLE = "logged", "random", "oracle"
ALL_NEAR = "all-near"
BASELINES = (ALL_NEAR, "all-far", "cheapest", "fastest", RANDOM, ORACLE)

Choice = dict[str, float]
"""With which probability each candidate is put first; empty where nobody may serve."""


class Target(Struct, frozen=True, kw_only=True):
    """A policy to replay. Without a `policy` it is `random`, `oracle` or `logged`."""

    name: str
    policy: Policy | None = None

    @property
    def version(self) -> str | None:
        """The policy's own version; None of what is no policy."""
        return None if self.policy is None else self.policy.version

    def ranked(self, estimates: Sequence[Estimate], limits: Constraints) -> tuple[str, ...]:
        """All eligible candidates, best first; of `random` and `oracle` in no order that means anything."""
        if self.policy is not None:
            ranked = self.policy.decide(estimates, limits).ranked
            if self.name != ALL_NEAR:
                return ranked
            pages = {e.candidate_id for e in estimates if e.backend == BROWSER}  # near is this machine
            return tuple(sorted(ranked, key=pages.__contains__))
        return tuple(e.candidate_id for e in apply(estimates, limits)[0])

    def choice(self, request: Logged) -> Choice:
        """What it would have done with the slate as it was logged."""
        if self.name == LOGGED:
            shares = {c.candidate_id: c.propensity for c in request.slate if c.propensity}
            return shares or ({request.chosen: 1.0} if request.chosen else {})
        ranked = self.ranked([estimate_of(shown) for shown in request.slate], constraints_of(request))
        if self.name == RANDOM:
            return dict.fromkeys(ranked, 1 / len(ranked)) if ranked else {}
        return {ranked[0]: 1.0} if ranked else {}


def target(name: str, given: Parameters | Weights | None = None) -> Target:
    """A policy or a named baseline: `all-near` and `all-far` prefer a side, and use the other where it must serve.

    Raises:
        InvalidRequest: there is none of that name, or its parameters are not usable.
    """
    if name in {LOGGED, RANDOM, ORACLE}:
        return Target(name=name)
    if name == ALL_NEAR:
        return Target(name=name, policy=LocalFirst(spill_factor=inf))
    if name == "all-far":
        return Target(name=name, policy=RemoteFirst())
    try:
        return Target(name=name, policy=registry.create(name, given))
    except registry.UnknownPolicy as error:
        raise InvalidRequest(f"{error}; and as baselines {', '.join((LOGGED, *BASELINES))}.", param="policy") from error
    except ValueError as error:
        raise InvalidRequest(str(error), param="weights") from error


def estimate_of(shown: Shown, load_ms: float | None = None, queue_ms: float | None = None) -> Estimate:
    """What was predicted of a candidate, in the policies' own type; with another load and queue where these are given.

    Its distribution moves with them. Then what was ruled out for its load alone may serve.
    """
    simulated = queue_ms is not None
    load = shown.load_ms if load_ms is None else load_ms
    queue = shown.queue_ms if queue_ms is None else queue_ms
    service = shown.service_ms
    moved_s = (load + queue - shown.load_ms - shown.queue_ms) / 1000 if simulated else 0.0
    return Estimate(
        candidate_id=shown.candidate_id,
        backend=shown.backend,
        provider=shown.provider,
        near=shown.near,
        accelerated=shown.near and shown.device not in {"cpu", "wasm"},
        latency_s=(load + queue + service) / 1000 if simulated else shown.pred_ms / 1000,
        latency_source="logged",
        service_s=service / 1000,
        cost_usd=shown.cost_usd,
        cost_source="logged",
        load_s=load / 1000,
        queue_s=queue / 1000,
        quality=shown.quality,
        unavailable=_ruled_out(shown, simulated=simulated),
        latency=_quantiles(shown, moved_s),
    )


def constraints_of(request: Logged) -> Constraints:
    """The limits a request set itself, as far as they are numbers; the others show in the rejections.

    Every candidate stands for itself: the log does not tell what whoever takes over from a late one would have taken.
    """
    return Constraints(
        private=request.private,
        max_cost_usd=request.max_cost_usd,
        max_latency_s=None if request.max_latency_ms is None else request.max_latency_ms / 1000,
        min_quality=request.min_quality,
        deadline_s=None if request.deadline_ms is None else request.deadline_ms / 1000,
    )


def _ruled_out(shown: Shown, *, simulated: bool) -> str | None:
    if shown.eligible:
        return None
    hard = shown.code is None or shown.code in HARD or (shown.code in LOADED and not simulated)
    return f"ruled out in the log ({shown.code or 'without a code'})" if hard else None


def _quantiles(shown: Shown, moved_s: float) -> Quantiles | None:
    if shown.p90_ms is None or shown.p95_ms is None or shown.p99_ms is None:
        return None
    points = (shown.pred_ms, shown.p90_ms, shown.p95_ms, shown.p99_ms)
    p50_s, p90_s, p95_s, p99_s = (max(0.0, point / 1000 + moved_s) for point in points)
    return Quantiles(p50_s=p50_s, p90_s=p90_s, p95_s=p95_s, p99_s=p99_s)
