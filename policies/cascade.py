"""`cascade`: the near answer first, a far one where the near model is not sure (FrugalGPT; Chen et al., 2023).

Near before far, the faster near one first. A far candidate whose quality is known to be no better than the near one's
comes last: an answer that is no better is not worth its price. The others by price. The decision carries the confidence
below which whoever walks the ranking goes on to the next far candidate, the near answer at hand; where that fails too,
the near answer is given. It does so whoever goes first: near may come first or second by an order, a session or chance,
and is judged by its own model's threshold. Where none of the near model's answers is sure to hold the target quality,
far goes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, ClassVar

from policies.base import conclude, figures, known
from policies.constraints import apply, unpriced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Constraints, Decision, Estimate

NEAR, BETTER, NEAR_BUT_UNSURE, NO_BETTER = range(4)


@dataclass(frozen=True, slots=True)
class Cascade:
    """Ranks by the groups above; within one by latency (near) or price (far), squeezed below 1."""

    name: ClassVar[str] = "cascade"
    version: ClassVar[str] = "1"

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """Rank the eligible candidates whose price is known, and say when to go on."""
        slate = apply(estimates, constraints, unpriced)
        near = [quality for e in slate[0] if e.near and (quality := known(e.quality)) is not None]
        bar = max(near, default=None)
        scores = {e.candidate_id: _score(e, bar) for e in slate[0]}

        def because(first: Estimate, second: Estimate) -> str:
            if first.near:
                further = _further(first, second, doubted=_doubted(first, slate[0]))
                return f"{first.candidate_id} goes first, near: {figures(first)}; {further}."
            shown = f"{first.candidate_id} goes first, far: {figures(first)}"
            unsure = next((e for e in slate[0] if e.near and _never(e)), None)
            return f"{shown}; {unsure.candidate_id} is not asked first: {unsure.accept_why}." if unsure else f"{shown}."

        decision = conclude(self, slate, scores, constraints.order, because)
        by_id = {e.candidate_id: e for e in slate[0]}
        ranked = (by_id[candidate_id] for candidate_id in decision.ranked)
        below = next((e.accept_from for e in ranked if _doubted(e, slate[0])), None)
        return decision._replace(escalate_below=below)


def _doubted(e: Estimate, slate: Sequence[Estimate]) -> bool:
    """Whether an answer of this candidate is judged: near, its threshold known, and a far one may know better."""
    return e.near and e.accept_from is not None and any(_may_better(other, known(e.quality)) for other in slate)


def _may_better(e: Estimate, bar: float | None) -> bool:
    quality = known(e.quality)
    return not e.near and (quality is None or bar is None or quality > bar)


def _further(first: Estimate, second: Estimate, *, doubted: bool) -> str:
    if first.accept_from is None:
        return "it is not known from which confidence on its answers are right, so none is escalated"
    if second.near:
        return f"next is {second.candidate_id}, near too"
    if not doubted:
        return f"nobody far is known to be better, so no answer is escalated; next is {second.candidate_id}"
    return f"below a confidence of {first.accept_from:.2f} {second.candidate_id} is asked ({first.accept_why})"


def _score(e: Estimate, bar: float | None) -> float:
    amount = e.latency_s if e.near else known(e.cost_usd) or 0.0
    return _group(e, bar) + (1 - 1 / (1 + amount))


def _group(e: Estimate, bar: float | None) -> int:
    if e.near:
        return NEAR_BUT_UNSURE if _never(e) else NEAR
    return BETTER if _may_better(e, bar) else NO_BETTER


def _never(e: Estimate) -> bool:
    return e.accept_from is not None and not isfinite(e.accept_from)
