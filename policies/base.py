"""What a policy is: a name, a version and one pure function. It does no I/O and reads no clock.

Below the protocol stands what all policies end with: one way to rank, and one way to write figures for people.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from math import floor, isfinite, log10
from typing import TYPE_CHECKING, Protocol

from policies.types import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from policies.types import Constraints, Estimate, Rejection

    Slate = tuple[list[Estimate], tuple[Rejection, ...]]  # the eligible, and the others with their reasons


class Policy(Protocol):
    """Ranks the candidates of one request. The same arguments always give the same decision.

    A policy may say with an attribute `scale` how its scores compare (`Decision.scale`); else only their order counts.
    """

    @property
    def name(self) -> str:
        """The name users write in `routing.policy`."""
        ...

    @property
    def version(self) -> str:
        """Changes when the code or a parameter changes, so that logged decisions stay comparable."""
        ...

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """Rank the eligible candidates; an empty `ranked` means nothing may serve the request."""
        ...


def conclude(
    policy: Policy,
    slate: Slate,
    scores: dict[str, float],
    order: Sequence[str],
    because: Callable[[Estimate, Estimate], str],
) -> Decision:
    """Rank by the request's `order`, then score, then latency, then id, so that the input order never matters.

    Args:
        policy: Whose decision this is.
        slate: The eligible candidates and the rejections.
        scores: One score for each eligible candidate; lower is better.
        order: Providers (or backends) to put first; they outrank the scores.
        because: One sentence on why the winner precedes the runner-up; not asked when `order` had a say.
    """
    eligible, rejections = slate

    def place(e: Estimate) -> int:
        return placed(e, order) if order else 0

    ranked = sorted(eligible, key=lambda e: (place(e), scores[e.candidate_id], e.latency_s, e.candidate_id))
    if not ranked:
        reason = _nothing(rejections)
    elif len(ranked) == 1:
        reason = f"{ranked[0].candidate_id} is the only eligible candidate: {figures(ranked[0])}."
    elif place(ranked[0]) < place(ranked[-1]):
        asked, other = order[place(ranked[0])], f"{ranked[1].candidate_id}: {figures(ranked[1])}"
        reason = f"{ranked[0].candidate_id} leads as the request orders {asked} first: {figures(ranked[0])} ({other})."
    else:
        reason = because(ranked[0], ranked[1])
    return Decision(
        ranked=tuple([e.candidate_id for e in ranked]),
        reason=reason,
        policy=policy.name,
        version=policy.version,
        scores=scores,
        rejections=tuple(sorted(rejections, key=lambda r: r.candidate_id)),
        scale=getattr(policy, "scale", None),
    )


def placed(e: Estimate, order: Sequence[str]) -> int:
    """Where the request's `order` puts a candidate: the place of its backend or provider there, or behind all."""
    for i, name in enumerate(order):
        if name in {e.backend, e.provider}:
            return i
    return len(order)


@lru_cache(maxsize=256)
def versioned(code: str, **parameters: float) -> str:
    """The version of a policy with parameters: its code's version and a hash of their names and values."""
    return f"{code}-{blake2b(repr(sorted(parameters.items())).encode(), digest_size=4).hexdigest()}"


def known(figure: float | None) -> float | None:
    """The figure if it is one; None for None, NaN, an infinity and anything below 0."""
    return figure if figure is not None and isfinite(figure) and figure >= 0 else None


def seconds(value: float, digits: int = 3) -> str:
    """A duration for people: `2.31 s`, `48.1 ms`."""
    return f"{significant(value, digits)} s" if value >= 1 else f"{significant(value * 1000, digits)} ms"


def dollars(value: float, digits: int = 3) -> str:
    """An amount for people, never in powers of ten: `$0.0000003`, `$12.5`."""
    text = significant(value, digits)
    return f"${text.rstrip('0').rstrip('.') if '.' in text else text}"


def apart(show: Callable[[float, int], str], one: float, other: float) -> tuple[str, str]:
    """Both figures, with as many digits as it takes to tell them apart."""
    for digits in (3, 6, 9):
        mine, theirs = show(one, digits), show(other, digits)
        if one == other or mine != theirs:
            return mine, theirs
    return show(one, 17), show(other, 17)


def tie_break(first: Estimate, second: Estimate) -> str:
    """What decided between two candidates of equal score: `latency, 12.0 ms against 80.0 ms`, or `name`."""
    if first.latency_s == second.latency_s:
        return "name"
    return "latency, {} against {}".format(*apart(seconds, first.latency_s, second.latency_s))


def figures(e: Estimate) -> str:
    """What is expected of a candidate, in a few words: `48.1 ms, $0.0000003`."""
    cost = known(e.cost_usd)
    return f"{seconds(e.latency_s)}, {'price unknown' if cost is None else dollars(cost)}"


def significant(value: float, digits: int = 3) -> str:
    """A number with that many significant digits: `0.0421`, `12.5`, `1599`."""
    if not 1e-12 <= abs(value) < 1e15:  # 0, or beyond anything real: powers of ten are honest there
        return f"{value:.{digits}g}"
    return f"{value:.{max(0, digits - 1 - floor(log10(abs(value))))}f}"


def _nothing(rejections: Sequence[Rejection]) -> str:
    if not rejections:
        return "Nothing is eligible: there is no candidate at all."
    codes = sorted(Counter(r.code for r in rejections).items())
    return f"Nothing is eligible: every candidate is rejected ({', '.join(f'{n} {code}' for code, n in codes)})."
