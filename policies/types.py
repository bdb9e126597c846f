"""The values a policy sees and gives back. Plain Python: nothing third-party, nothing of the router or the backends."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

RejectionCode = Literal[
    "offline",
    "private",
    "excluded",
    "unavailable",
    "does_not_fit",
    "unsupported",
    "budget",
    "too_dear",
    "too_slow",
    "price_unknown",
    "quality_unknown",
    "quality_too_low",
    "queue",
    "overloaded",
    "policy",
]

Scale = Literal["ratio", "grouped"]
_NONE: Mapping[str, float] = MappingProxyType({})


class Quantiles(NamedTuple):
    """A predictive distribution of seconds, by four of its points; they never fall."""

    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float


class Pacing(NamedTuple):
    """How a budget stands in its present period: which shares of its money are `spent`, of its time `elapsed`."""

    spent: float
    elapsed: float


class Estimate(NamedTuple):
    """What is predicted of one candidate for one request, and where each figure comes from.

    A tuple, as ten of them are made for each request: that takes a third of the time of a frozen dataclass.

    Attributes:
        candidate_id: The candidate's id, unique in one slate.
        backend: `local`, `remote`, `fake`, `cache` or `browser`.
        provider: Who would serve it (`local`, `hf-inference`, ...).
        near: True when the request would not leave this machine, or its sender's own.
        accelerated: True when the near device is a GPU.
        latency_s: Expected seconds from now to the complete answer: load_s + queue_s + service_s.
        latency_source: `observed`, `calibrated`, `warm-up` or `prior`; `reported` where a page says it of itself.
        load_s: Seconds of `latency_s` spent loading a cold model; 0 when it is loaded.
        queue_s: Seconds of `latency_s` spent waiting behind other requests.
        service_s: Seconds of `latency_s` the request itself takes, the network included.
        cost_usd: Expected cost in US dollars; None when the price is unknown (never 0 for unknown).
        cost_source: How `cost_usd` came about: `occupancy`, `marginal`, `priced`, `cached`, `client` or `unknown`.
        quality: Prior quality in 0..1; None when unknown.
        latency: The distribution of `latency_s`, kept calibrated; None where nothing was ever observed.
        first_token: Likewise of the seconds to the first piece of a streamed answer; None where there is none.
        correction: What the sum of the parts was multiplied by, because it was off by so much of late.
        quality_source: How `quality` came about: `prior`, `feedback`, `agreement` or a mixture; None when unknown.
        unavailable: Why it cannot serve at all right now; None when it can.
        does_not_fit: Why the model does not fit this machine; None when it does.
        unsupported: What of the request it cannot do at all; None when it can do everything.
        over_budget: Which budget asking it would overspend, with the figures; None when none.
        overloaded: Why it takes no further request now (its admission limit is reached); None when it does.
        pacing: Of the daily budgets that asking it is charged to, the one spent fastest; None where there is none.
        accept_from: The confidence (0..1) from which its answer may be given; infinity accepts none; None when unknown.
        accept_why: What `accept_from` rests on, in words.
    """

    candidate_id: str
    backend: str
    provider: str
    near: bool
    latency_s: float
    latency_source: str
    service_s: float
    cost_usd: float | None
    cost_source: str
    load_s: float = 0.0
    queue_s: float = 0.0
    accelerated: bool = False
    quality: float | None = None
    unavailable: str | None = None
    does_not_fit: str | None = None
    unsupported: str | None = None
    over_budget: str | None = None
    overloaded: str | None = None
    latency: Quantiles | None = None
    first_token: Quantiles | None = None
    correction: float = 1.0
    quality_source: str | None = None
    pacing: Pacing | None = None
    accept_from: float | None = None
    accept_why: str = ""

    def paced(self, pacing: Pacing) -> Estimate:
        """This one with another `pacing`: as `_replace` makes it, in a third of the time."""
        figures = list(self)
        figures[_PACING] = pacing
        return Estimate._make(figures)


_PACING = Estimate._fields.index("pacing")


@dataclass(frozen=True, slots=True)
class Constraints:
    """Hard limits, applied before any scoring. An absent limit does not bind.

    Attributes:
        offline: Nothing may leave this machine, by configuration.
        private: This request may not leave this machine, by its sender's word.
        backend: Only this backend, or `any`.
        only: Only these providers (or backends), when not empty.
        ignore: None of these providers (or backends).
        order: Providers (or backends) to try first, in this order.
        max_cost_usd: No candidate whose expected cost is above this, or unknown.
        max_latency_s: No candidate whose expected latency is above this.
        min_quality: No candidate whose quality is below this, or unknown.
        deadline_s: Seconds from now in which the whole answer is wanted; None where nobody set any.
        queue_share: Share of the time there is (`deadline_s`, `max_latency_s`) that may be spent waiting for a turn; it
            binds only where there is such a time.
        within: Further sets like `only`, each of which must hold too: what a route of the configuration allows.
        gives_up: Whether a far candidate that is late is given up for another in time (`policies.rescue`).
    """

    offline: bool = False
    private: bool = False
    backend: str = "any"
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    max_latency_s: float | None = None
    min_quality: float | None = None
    deadline_s: float | None = None
    queue_share: float = 0.6
    within: tuple[tuple[str, ...], ...] = ()
    gives_up: bool = False


@dataclass(frozen=True, slots=True)
class Weights:
    """What `balanced` weighs: of the first three only the ratios matter; `lateness` is against all of them together."""

    latency: float = 1.0
    cost: float = 1.0
    quality: float = 1.0
    lateness: float = 4.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """What may be set of the policies, whichever of them looks at it.

    Attributes:
        weights: What `balanced` weighs.
        slo_target: The chance of an answer in time that `slo` asks for, in 0..1.
        second_usd: What `budget` takes a second less of waiting to be worth.
        quality_usd: What `budget` takes the whole way from quality 0 to 1 to be worth.
        pacing_gain: How sharply `budget` reacts to money that is spent faster than time passes.
    """

    weights: Weights = Weights()
    slo_target: float = 0.95
    second_usd: float = 0.001
    quality_usd: float = 0.01
    pacing_gain: float = 20.0


@dataclass(frozen=True, slots=True)
class Rejection:
    """One candidate that may not serve this request, with the reason in words."""

    candidate_id: str
    code: RejectionCode
    reason: str


class Decision(NamedTuple):
    """A policy's answer: whom to try, in which order, and why. A tuple, like an estimate.

    Attributes:
        ranked: Candidate ids, best first; empty when nothing is eligible.
        scores: Score of each ranked candidate; lower is better, its unit is the policy's own.
        rejections: Every candidate that is not in `ranked`, with its reason.
        reason: One sentence for a person.
        policy: The policy's name.
        version: Version of the policy's code and parameters.
        explore_rate: Share of decisions that an explorer leaves to chance; 0 without one.
        draw: What chance said, in 0..1; None where it was not asked.
        explored: Whether chance put another candidate first than the policy would have.
        propensities: For each ranked candidate the probability with which it was put first; empty when that is
            certain for the first of `ranked`.
        scale: How scores compare: `ratio`, where half the score is twice as good; `grouped`, where the whole number is
            a group that nothing outweighs and the fraction x / (1 + x) of such an x; None where only the order counts.
        escalate_below: The confidence below which an answer of the first near candidate that is judged has the next far
            one asked as well; every other near one is judged by its own `accept_from`. None where none is judged.
    """

    ranked: tuple[str, ...]
    reason: str
    policy: str
    version: str
    scores: Mapping[str, float] = _NONE
    rejections: tuple[Rejection, ...] = ()
    explore_rate: float = 0.0
    draw: float | None = None
    explored: bool = False
    propensities: Mapping[str, float] = _NONE
    scale: Scale | None = None
    escalate_below: float | None = None

    @property
    def propensity(self) -> float | None:
        """The probability with which the first of `ranked` was put there; None where nothing was."""
        return self.propensity_of(self.ranked[0]) if self.ranked else None

    def propensity_of(self, candidate_id: str) -> float | None:
        """The probability with which this one was put first; None for whoever was rejected."""
        if candidate_id not in self.ranked:
            return None
        return self.propensities.get(candidate_id, float(candidate_id == self.ranked[0]))
