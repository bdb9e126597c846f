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

from functools import partial
from typing import TYPE_CHECKING

from policies.base import apart, dollars, known, seconds
from policies.types import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from policies.base import Slate
    from policies.types import Constraints, Estimate, RejectionCode

    Objection = tuple[RejectionCode, str]
    Check = Callable[[Estimate], Objection | None]

_CHOOSE = "or choose a policy that does not rank by cost (fastest, local-first, remote-first)"
_PRICE = "give it a price in the catalogue"
_POWER = "nobody knows what power its device takes; set local.watts"
PRICE_HINT = f"price unknown: {_PRICE} {_CHOOSE}"
POWER_HINT = f"price unknown: {_POWER} {_CHOOSE}"  # this machine's rate has a default, and is unknown by power alone


def apply(estimates: Sequence[Estimate], constraints: Constraints, *own: Check) -> Slate:
    """The candidates that may serve the request, in input order, and the others, each with its first objection.

    Args:
        estimates: The slate.
        constraints: The request's limits.
        own: What the policy itself objects to. Given here and not sifted out afterwards, so that the queue cap knows
            who is left when it asks whether anybody is.
    """
    checks = (*_places(constraints), _unable, *_limits(constraints), *own, _overloaded)

    def first_objection(e: Estimate) -> Objection | None:
        for check in checks:  # a loop, as this is asked of every candidate of every request
            objection = check(e)
            if objection is not None:
                return objection
        return None

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


def sift(slate: Slate, objection: Check) -> Slate:
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
    crowded = sum(waiting_s(e) > cap_s for e in slate[0])
    if not crowded:
        return slate

    def objection(e: Estimate) -> Objection | None:
        if waiting_s(e) <= cap_s:
            return None
        if crowded < len(slate[0]) or (e.queue_s > cap_s and too_late(e, c)):
            return "queue", _crowded(e, cap_s, allowed_s, c.queue_share)
        return None

    return sift(slate, objection)


def _crowded(e: Estimate, cap_s: float, allowed_s: float, share: float) -> str:
    wait, cap = apart(seconds, waiting_s(e), cap_s)
    loading = f" ({seconds(e.load_s)} of it loading)" if e.load_s > 0 else ""
    return f"a wait of {wait}{loading} before it begins, over {cap}: {share:g} of the {seconds(allowed_s)} there is"


def _places(c: Constraints) -> Iterator[Check]:
    """What the limits that bind say of where a request may run."""
    if c.offline:
        yield lambda e: None if e.near else ("offline", f"{_abroad(e)}, and in offline mode nothing may leave it")
    if c.private:
        yield (
            lambda e: None if e.near else ("private", f"{_abroad(e)}, and this request is private: it may not leave it")
        )
    if c.backend != "any":
        yield _outside((c.backend,), f"is not the backend asked for, {c.backend}")
    if c.only:
        yield _outside(c.only, f"is not among those allowed (only: {', '.join(c.only)})")
    for allowed in c.within:
        yield _outside(allowed, f"is not among those the route allows ({', '.join(allowed)})")
    if c.ignore:
        excluded = f"is among those ruled out (ignore: {', '.join(c.ignore)})"
        yield lambda e: ("excluded", f"{_naming(e)} {excluded}") if _among(e, c.ignore) else None


def _outside(allowed: Collection[str], why: str) -> Check:
    return lambda e: None if _among(e, allowed) else ("excluded", f"{_naming(e)} {why}")


def _among(e: Estimate, names: Collection[str]) -> bool:
    return e.backend in names or e.provider in names


def _unable(e: Estimate) -> Objection | None:
    if e.unavailable is not None:
        return "unavailable", f"unavailable: {e.unavailable}"
    if e.unsupported is not None:
        return "unsupported", e.unsupported
    if e.does_not_fit is not None:
        return "does_not_fit", f"does not fit this machine: {e.does_not_fit}"
    if known(e.latency_s) is None:
        return "unavailable", f"unavailable: its expected latency, {e.latency_s} s, is not a duration"
    return None if e.over_budget is None else ("budget", e.over_budget)


def _overloaded(e: Estimate) -> Objection | None:
    return None if e.overloaded is None else ("overloaded", e.overloaded)


def _limits(c: Constraints) -> Iterator[Check]:
    """What the limits that bind say of cost, latency and quality."""
    if c.max_cost_usd is not None:
        yield partial(_too_dear, limit_usd=c.max_cost_usd)
    if c.max_latency_s is not None:
        yield partial(_too_slow, limit_s=c.max_latency_s)
    if c.min_quality is not None:
        yield partial(_too_poor, limit=c.min_quality)


def _too_dear(e: Estimate, limit_usd: float) -> Objection | None:
    cost = known(e.cost_usd)
    if cost is None:
        hint = _POWER if e.backend == "local" else _PRICE
        return "price_unknown", f"price unknown and the limit is {dollars(limit_usd)}: {hint}"
    return ("too_dear", _above(dollars, cost, limit_usd)) if cost > limit_usd else None


def _too_slow(e: Estimate, limit_s: float) -> Objection | None:
    return ("too_slow", _above(seconds, e.latency_s, limit_s)) if e.latency_s > limit_s else None


def _too_poor(e: Estimate, limit: float) -> Objection | None:
    quality = known(e.quality)
    if quality is None:
        return "quality_unknown", f"quality unknown, but {limit} is asked for: give it one in the catalogue"
    if quality >= limit:
        return None
    return "quality_too_low", "quality {}, less than the limit of {}".format(*apart(_share, quality, limit))


def _share(value: float, digits: int) -> str:
    return f"{value:.{digits}g}"


def _abroad(e: Estimate) -> str:
    return f"{e.provider} is not on this machine"


def _naming(e: Estimate) -> str:
    return e.backend if e.backend == e.provider else f"{e.provider} ({e.backend})"


def _above(show: Callable[[float, int], str], value: float, limit: float) -> str:
    shown, allowed = apart(show, value, limit)
    return f"expected {shown}, more than the limit of {allowed}"
