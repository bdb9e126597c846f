"""The hard limits, applied before any policy scores anything: a score can be outweighed, a limit cannot.

Last of them is the queue cap: whoever would keep the request waiting (for its turn, and for a cold model) longer than
`queue_share` of the time it has is no candidate while anybody else is. Under overload every place misses the deadline,
a bounded penalty for that is the same everywhere, and the cheapest queue wins for ever: on the Azure conversation trace
predicted utility alone missed 53 % of deadlines, and 10 % with a cap of 0.6.

The cap spills, it does not refuse what can still be served. Where it would leave nobody, the capped stay in as the last
resort, except whoever cannot answer in time because of its queue: that one is overloaded, and waiting for it helps
nobody. A cold model alone is no overload: loading it once is what makes the next request fast.
"""

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

_CHOOSE = "or choose a policy that does not rank by cost (fastest, local-first, remote-first)"
_PRICE = "give it a price in the catalogue"
_POWER = "nobody knows what power its device takes; set local.watts"
PRICE_HINT = f"price unknown: {_PRICE} {_CHOOSE}"
POWER_HINT = f"price unknown: {_POWER} {_CHOOSE}"  # this machine's rate has a default, and is unknown by power alone


def apply(
    estimates: Sequence[Estimate], constraints: Constraints, *own: Callable[[Estimate], Objection | None]
) -> Slate:
    """The candidates that may serve the request, in input order, and the others, each with its first objection.

    Args:
        estimates: The slate.
        constraints: The request's limits.
        own: What the policy itself objects to. Given here and not sifted out afterwards, so that the queue cap knows
            who is left when it asks whether anybody is.
    """

    def first_objection(e: Estimate) -> Objection | None:
        hard = chain(_place(e, constraints), _ability(e), _limits(e, constraints))
        found = next(hard, None) or next(filter(None, (objection(e) for objection in own)), None)
        return found or (("overloaded", e.overloaded) if e.overloaded is not None else None)

    return _capped(sift((list(estimates), ()), first_objection), constraints)


def unpriced(e: Estimate) -> Objection | None:
    """The objection to what has no known price, of policies that rank by cost. Unknown is never 0."""
    hint = POWER_HINT if e.backend == "local" else PRICE_HINT
    return ("price_unknown", hint) if known(e.cost_usd) is None else None


def waiting_s(e: Estimate) -> float:
    """Seconds before the candidate begins with the request: behind others, and while a cold model loads."""
    return e.queue_s + e.load_s


def time_s(c: Constraints) -> float | None:
    """The time the request has: its deadline or the longest it will wait, whichever is shorter; None for neither."""
    limits = [limit for limit in (c.deadline_s, c.max_latency_s) if limit is not None]
    return max(0.0, min(limits)) if limits else None


def too_late(e: Estimate, c: Constraints) -> bool:
    """Whether its answer is expected after the request's time."""
    allowed_s = time_s(c)
    return allowed_s is not None and e.latency_s > allowed_s


def sift(slate: Slate, objection: Callable[[Estimate], Objection | None]) -> Slate:
    """Move every eligible candidate that meets an objection to the rejections; both sides keep their order."""
    eligible, rejections = slate
    found = [(e, objection(e)) for e in eligible]
    moved = tuple(Rejection(e.candidate_id, *against) for e, against in found if against is not None)
    return [e for e, against in found if against is None], rejections + moved


def _capped(slate: Slate, c: Constraints) -> Slate:
    allowed_s = time_s(c)
    if allowed_s is None:
        return slate
    cap_s = c.queue_share * allowed_s
    within = any(waiting_s(e) <= cap_s for e in slate[0])

    def objection(e: Estimate) -> Objection | None:
        if waiting_s(e) <= cap_s:
            return None
        if within or (e.queue_s > cap_s and too_late(e, c)):
            return "queue", _crowded(e, cap_s, allowed_s, c.queue_share)
        return None

    return sift(slate, objection)


def _crowded(e: Estimate, cap_s: float, allowed_s: float, share: float) -> str:
    wait, cap = apart(seconds, waiting_s(e), cap_s)
    loading = f" ({seconds(e.load_s)} of it loading)" if e.load_s > 0 else ""
    return f"a wait of {wait}{loading} before it begins, over {cap}: {share:g} of the {seconds(allowed_s)} there is"


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
    for allowed in c.within:
        if names.isdisjoint(allowed):
            yield "excluded", f"{_naming(e)} is not among those the route allows ({', '.join(allowed)})"
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
            hint = _POWER if e.backend == "local" else _PRICE
            yield "price_unknown", f"price unknown and the limit is {limit}: {hint}"
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
