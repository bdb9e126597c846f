"""What the log can say of a target, request by request: its weights, and what each request cost, failed and was worth.

A fallback belongs to the policy that let the first choice fail: costs and errors are of the whole request (intention to
treat). A request that its sender gave up neither failed nor succeeded. What the log does not know is missing: it is
counted, and the estimators widen the interval by all it could have been.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from router.replay.targets import Choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.replay.logged import Logged, Shown, Traffic

Quantity = Literal["price", "errors", "quality"]
QUANTITIES: tuple[Quantity, ...] = ("price", "errors", "quality")
FAILED = {"ok": 0.0, "error": 1.0, "refused": 1.0}


class Weighed(Struct, frozen=True, kw_only=True):
    """A target's choices against those that were made.

    Attributes:
        choices: What the target would have done, for each request.
        weights: The target's probability of what was done over the log's.
        unseen: The target's probability of candidates that the log can never have chosen, on average.
        agrees: Whether it does at every request surely what was done.
        mean_se: Standard error of the mean weight, were the logged propensities right; None where they are not known.
        expected_ess: Effective sample size that the propensities lead to expect; None where they are not known. A log
            that happens to hold none of the rare choices that weigh most looks richer than it is.
    """

    choices: list[Choice]
    weights: list[float]
    unseen: float
    agrees: bool
    mean_se: float | None
    expected_ess: float | None

    @property
    def mean(self) -> float:
        """The mean weight: 1 but for chance, when the propensities are right."""
        return sum(self.weights) / len(self.weights) if self.weights else 0.0

    def ess(self, weights: Sequence[float]) -> float:
        """Kish's effective sample size of these weights: how many requests of equal weight say as much.

        Not more than the propensities lead to expect, where these are among the weights.
        """
        squares = sum(weight * weight for weight in weights)
        kish = sum(weights) ** 2 / squares if squares else 0.0
        if self.expected_ess is None or not self.weights:
            return kish
        return min(kish, self.expected_ess * len(weights) / len(self.weights))


def weigh(requests: Sequence[Logged], choices: list[Choice]) -> Weighed:
    """The weights of a target's choices. A request without a propensity weighs as if its choice had been certain."""
    weights, squares, variance, unseen, agrees, known = [], 0.0, 0.0, 0.0, True, True
    for request, choice in zip(requests, choices, strict=True):
        weights.append(_weight(request, choice))
        agrees = agrees and does(request, choice) == 1.0
        if request.chosen is None or not choice:
            unseen += float(bool(choice) != (request.chosen is not None))
            squares += 1.0
            continue
        logged = _propensities(request)
        seen = square = 0.0
        for arm, share in choice.items():
            before = logged.get(arm, 0.0)
            known = known and before is not None
            seen += share if before != 0.0 else 0.0
            square += share * share / before if before else 0.0
        squares += square
        variance += square - seen * seen
        unseen += 1 - seen
    n = len(weights)
    return Weighed(
        choices=choices,
        weights=weights,
        unseen=unseen / n if n else 0.0,
        agrees=agrees and n > 0,
        mean_se=sqrt(max(0.0, variance)) / n if n and known else None,
        expected_ess=n * n / squares if squares and known else None,
    )


def _propensities(request: Logged) -> dict[str, float | None]:
    """Of each eligible candidate; of what was ruled out 0, unless the log is older than propensities."""
    return {
        c.candidate_id: (request.propensity if c.candidate_id == request.chosen else c.propensity)
        for c in request.slate
        if c.eligible
    }


def does(request: Logged, choice: Choice) -> float:
    """The target's probability of what was done: somebody asked, or nobody."""
    return float(not choice) if request.chosen is None else choice.get(request.chosen, 0.0)


def _weight(request: Logged, choice: Choice) -> float:
    certain = request.chosen is None or request.propensity is None
    return does(request, choice) / (1.0 if certain else request.propensity or 1.0)


def values(requests: Sequence[Logged], quantity: Quantity) -> list[float | None]:
    """What each request says of a quantity; None where the log does not know."""
    if quantity == "price":
        return [None if one.status is None else one.cost_usd for one in requests]
    if quantity == "errors":
        return [FAILED.get(one.status or "") for one in requests]
    return [one.score for one in requests]


def predicted(shown: Shown, quantity: Quantity) -> float | None:
    """What was predicted of a candidate; nothing is, of errors."""
    return {"price": shown.cost_usd, "errors": None, "quality": shown.quality}[quantity]


def drifted(traffic: Traffic) -> list[str]:
    """The policies of which more than one version decided in this window: they learnt, or were changed."""
    versions: dict[str, set[str]] = {}
    for one in traffic.requests:
        if one.policy is not None and one.version is not None:
            versions.setdefault(one.policy, set()).add(one.version)
    return sorted(name for name, seen in versions.items() if len(seen) > 1)
