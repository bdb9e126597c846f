"""The direct method: what was done where the target does the same, and shadows where it would have done the other.

A shadow is a request that went one way and was run the other way too. Where the target disagrees with the log, the
shadows among those requests stand for all of them: that is only right if shadowing drew them without looking, which the
figure's warning says. It needs no propensities, so it speaks where the log left nothing to chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from router.replay.estimators import Evidence, mean_change, observed, refused, weighted
from router.replay.evidence import FAILED, QUANTITIES, Quantity, Weighed
from router.replay.targets import ORACLE

if TYPE_CHECKING:
    from router.replay.logged import Logged, Traffic
    from router.replay.targets import Choice
    from router.replay.verdict import Figure

MIN_PAIRS = 30
FAIR = "shadows stand for all requests at which this policy would have chosen otherwise, as if drawn without looking"


class _Pair(NamedTuple):
    value: float | None
    agrees: bool
    shadowed: bool


def figures(traffic: Traffic, choices: list[Choice], name: str) -> list[Figure]:
    """Price, errors and quality over paired data; empty where no request was ever shadowed.

    Empty also for a target that draws its first choice: a pair shows one candidate, not what a draw would give.
    """
    if any(choice and max(choice.values()) < 1 for choice in choices):
        return []
    if not any(one.role == "shadow" for request in traffic.requests for one in request.attempts):
        return []
    return [_figure(traffic, choices, name, quantity) for quantity in QUANTITIES]


def _figure(traffic: Traffic, choices: list[Choice], name: str, quantity: Quantity) -> Figure:
    pairs = [
        _pair(request, _first(request, choice, name, quantity), quantity)
        for request, choice in zip(traffic.requests, choices, strict=True)
    ]
    apart = sum(not pair.agrees for pair in pairs)
    shadowed = sum(pair.shadowed and pair.value is not None for pair in pairs if name == ORACLE or not pair.agrees)
    scale = apart / shadowed if shadowed else 0.0
    if name == ORACLE:  # only where both are known can the better one be known
        pairs = [pair._replace(agrees=False) for pair in pairs]
        scale = 1.0
    weights = [1.0 if pair.agrees else scale * (pair.shadowed and pair.value is not None) for pair in pairs]
    kept = [n for n, weight in enumerate(weights) if weight > 0]
    weighed = Weighed(choices=choices, weights=weights, unseen=0.0, agrees=False, mean_se=None, expected_ess=None)
    case = Evidence(
        quantity=quantity,
        requests=[traffic.requests[n] for n in kept],
        weights=[weights[n] for n in kept],
        rewards=[pairs[n].value for n in kept],
        clusters=[traffic.clusters[n] for n in kept],
        weighed=weighed,
        kept=kept,
    )
    if not case.known:
        return refused(case, "no shadow shows what it would have chosen", "paired")
    if apart and shadowed < MIN_PAIRS:
        return refused(case, f"too few shadows: {shadowed} where it disagrees, and {MIN_PAIRS} are needed", "paired")
    seen = _log(traffic, quantity)
    changes = [
        None if value is None or (given := _given(request, quantity)) is None else value - given
        for request, value in zip(case.requests, case.rewards, strict=True)
    ]
    change = mean_change(case._replace(rewards=changes))
    return replace(
        weighted(case), warnings=(FAIR,), mean_weight=None, observed=seen.observed, observed_low=seen.observed_low,
        observed_high=seen.observed_high, difference=change.estimate, difference_low=change.low,
        difference_high=change.high,
    )  # fmt: skip


def _log(traffic: Traffic, quantity: Quantity) -> Figure:
    """What the log itself shows of the quantity as it is defined here: an answer agrees with itself."""
    count = len(traffic.requests)
    alike = Weighed(choices=[], weights=[1.0] * count, unseen=0.0, agrees=True, mean_se=None, expected_ess=None)
    rewards = [_given(one, quantity) for one in traffic.requests]
    return observed(
        Evidence(quantity, traffic.requests, alike.weights, rewards, traffic.clusters, alike, list(range(count)))
    )


def _first(request: Logged, choice: Choice, name: str, quantity: Quantity) -> str | None:
    """Whom the target would ask: of the oracle, whoever was better of those that were both tried."""
    if name != ORACLE:
        return max(choice, key=lambda arm: choice[arm]) if choice else None
    known = {a.candidate_id: _value(request, a.candidate_id, quantity) for a in request.attempts}
    rated = {arm: value for arm, value in known.items() if value is not None}
    best = max if quantity == "quality" else min
    return best(rated, key=lambda arm: rated[arm]) if rated else request.chosen


def _pair(request: Logged, first: str | None, quantity: Quantity) -> _Pair:
    if first == request.chosen:
        return _Pair(_given(request, quantity), agrees=True, shadowed=_shadowed(request))
    shadowed = any(one.role == "shadow" and one.candidate_id == first for one in request.attempts)
    return _Pair(_value(request, first, quantity) if shadowed else None, agrees=False, shadowed=shadowed)


def _shadowed(request: Logged) -> bool:
    return any(one.role == "shadow" for one in request.attempts)


def _given(request: Logged, quantity: Quantity) -> float | None:
    """Of what was really answered: by definition it agrees with itself."""
    if quantity == "price":
        return request.cost_usd
    if quantity == "errors":
        return FAILED.get(request.status or "")
    return 1.0 if request.status == "ok" else None


def _value(request: Logged, arm: str | None, quantity: Quantity) -> float | None:
    if arm == request.chosen:
        return _given(request, quantity)
    if quantity == "quality":
        return next((one.agreement for one in request.shadows if one.candidate_id == arm), None)
    shadow = next((one for one in request.attempts if one.role == "shadow" and one.candidate_id == arm), None)
    if shadow is None or shadow.status == "cancelled":
        return None
    return shadow.cost_usd if quantity == "price" else FAILED[shadow.status]
