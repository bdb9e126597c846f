"""The hard limits, applied before any policy scores anything: a score can be outweighed, a limit cannot."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from policies.base import apart, dollars, known, seconds
from policies.types import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from policies.base import Slate
    from policies.types import Constraints, Estimate, RejectionCode

    Objection = tuple[RejectionCode, str]

PRICE_HINT = (
    "price unknown: give it a price in the catalogue or choose a policy that does not rank by cost "
    "(fastest, local-first, remote-first)"
)


def apply(estimates: Sequence[Estimate], constraints: Constraints) -> Slate:
    """The candidates that may serve the request, in input order, and the others, each with its first objection."""

    def first_objection(e: Estimate) -> Objection | None:
        return next(chain(_place(e, constraints), _ability(e), _limits(e, constraints)), None)

    return sift((list(estimates), ()), first_objection)


def priced(slate: Slate) -> Slate:
    """Reject what has no known price, for policies that rank by cost. Unknown is never 0."""
    return sift(slate, lambda e: ("price_unknown", PRICE_HINT) if known(e.cost_usd) is None else None)


def sift(slate: Slate, objection: Callable[[Estimate], Objection | None]) -> Slate:
    """Move every eligible candidate that meets an objection to the rejections; both sides keep their order."""
    eligible, rejections = slate
    found = [(e, objection(e)) for e in eligible]
    moved = tuple(Rejection(e.candidate_id, *against) for e, against in found if against is not None)
    return [e for e, against in found if against is None], rejections + moved


def _place(e: Estimate, c: Constraints) -> Iterator[Objection]:
    names = {e.backend, e.provider}
    if c.offline and not e.near:
        yield "offline", f"{e.provider} is not on this machine, and in offline mode nothing may leave it"
    if c.private and not e.near:
        yield "private", f"{e.provider} is not on this machine, and this request is private: it may not leave it"
    if c.backend != "any" and c.backend not in names:
        yield "excluded", f"{_naming(e)} is not the backend asked for, {c.backend}"
    if c.only and names.isdisjoint(c.only):
        yield "excluded", f"{_naming(e)} is not among those allowed (only: {', '.join(c.only)})"
    if not names.isdisjoint(c.ignore):
        yield "excluded", f"{_naming(e)} is among those ruled out (ignore: {', '.join(c.ignore)})"


def _ability(e: Estimate) -> Iterator[Objection]:
    if known(e.latency_s) is None:
        yield "unavailable", f"unavailable: its expected latency, {e.latency_s} s, is not a duration"
    if e.unavailable is not None:
        yield "unavailable", f"unavailable: {e.unavailable}"
    if e.does_not_fit is not None:
        yield "does_not_fit", f"does not fit this machine: {e.does_not_fit}"
    if e.over_budget is not None:
        yield "budget", e.over_budget


def _limits(e: Estimate, c: Constraints) -> Iterator[Objection]:
    if c.max_cost_usd is not None:
        cost = known(e.cost_usd)
        if cost is None:
            limit = dollars(c.max_cost_usd)
            yield "price_unknown", f"price unknown and the limit is {limit}: give it a price in the catalogue"
        elif cost > c.max_cost_usd:
            yield "too_dear", _above(dollars, cost, c.max_cost_usd)
    if c.max_latency_s is not None and e.latency_s > c.max_latency_s:
        yield "too_slow", _above(seconds, e.latency_s, c.max_latency_s)
    if c.min_quality is not None:
        quality = known(e.quality)
        if quality is None:
            yield "quality_unknown", f"quality unknown, but {c.min_quality} is asked for: give it one in the catalogue"
        elif quality < c.min_quality:
            yield (
                "quality_too_low",
                "quality {}, less than the limit of {}".format(*apart(_share, quality, c.min_quality)),
            )


def _share(value: float, digits: int) -> str:
    return f"{value:.{digits}g}"


def _naming(e: Estimate) -> str:
    return e.backend if e.backend == e.provider else f"{e.provider} ({e.backend})"


def _above(show: Callable[[float, int], str], value: float, limit: float) -> str:
    shown, allowed = apart(show, value, limit)
    return f"expected {shown}, more than the limit of {allowed}"
