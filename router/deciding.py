"""A policy's decision within the budgets: what would overspend one is no candidate, and the decision says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from policies.base import known
from policies.types import Decision, Estimate, Rejection
from router.charges import charge_of
from router.errors import BudgetExceeded
from router.pricing import asked_usd, most_used

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.types import InferenceRequest
    from policies.types import Pacing
    from router.budgets import Budgets, Exceeded
    from router.charges import Asked
    from router.slate import Candidate, Size

Explored = Callable[[Decision, list[Estimate]], Decision]
"""A decision as chance has it, made of these estimates."""


class Decided(NamedTuple):
    """A decision, the estimates with what the budgets say of them, and why the request is refused, if it is."""

    decision: Decision
    estimates: list[Estimate]
    refusal: BudgetExceeded | None


def asked_of(
    request: InferenceRequest, size: Size, candidates: Sequence[Candidate], estimates: Sequence[Estimate]
) -> Asked:
    """What the far candidates of a slate ask of the budgets; the near ones ask nothing."""
    most = most_used(size)
    return {
        candidate.id: (charge_of(request, candidate), asked_usd(candidate, most, estimate))
        for candidate, estimate in zip(candidates, estimates, strict=True)
        if not candidate.near
    }


def decide(
    choose: Callable[[Sequence[Estimate]], Decision],
    estimates: Sequence[Estimate],
    budgets: Budgets,
    asked: Asked,
    *,
    paced: bool = True,
    explore: Explored = lambda decision, _: decision,
) -> Decided:
    """Decide among what the budgets can pay for; `choose` is the policy's word on a slate, `explore` chance's on that.

    Without `paced` nobody looks at how the budgets stand against the clock, and the estimates do not say it.

    Where that leaves nothing far and the request would have gone far, a budget that refuses (`on_exceeded`) refuses it,
    unless it is only that nobody knows the price; else what is near serves it. Reserves nothing.
    """
    over = budgets.refusals(asked)
    told = _paced(estimates, budgets.pacings(asked)) if paced else list(estimates)
    marked = _marked(told, over) if over else told
    decision = choose(marked)
    if over and asked.keys().isdisjoint(decision.ranked):
        wanted = next(iter(choose(told).ranked), "")
        refusing = over.get(wanted)
        if refusing is not None and refusing.on_exceeded == "refuse" and known(asked[wanted][1]) is not None:
            refused = explore(_refused(decision, refusing), marked)
            return Decided(refused, marked, BudgetExceeded(_sentence(refusing.reason)))
    return Decided(_noted(explore(decision, marked), over, budgets, asked), marked, None)


def _marked(estimates: list[Estimate], over: dict[str, Exceeded]) -> list[Estimate]:
    found = ((e, over.get(e.candidate_id)) for e in estimates)
    return [e if exceeded is None else e._replace(over_budget=exceeded.reason) for e, exceeded in found]


def _paced(estimates: Sequence[Estimate], pacings: dict[str, Pacing]) -> list[Estimate]:
    found = ((e, pacings.get(e.candidate_id)) for e in estimates)
    return [e if pacing is None else e.paced(pacing) for e, pacing in found]


def _noted(decision: Decision, over: dict[str, Exceeded], budgets: Budgets, asked: Asked) -> Decision:
    """Say in the reason what the budgets ruled out, once a budget, and what the soft ones say of the first choice."""
    rejected = [over[r.candidate_id] for r in decision.rejections if r.code == "budget"]
    notes = list({(said.scope, said.period): said.reason for said in reversed(rejected)}.values())[::-1]
    if decision.ranked and decision.ranked[0] in asked:
        notes += budgets.warnings(*asked[decision.ranked[0]])
    return decision._replace(reason=" ".join((decision.reason, *map(_sentence, notes)))) if notes else decision


def _refused(decision: Decision, exceeded: Exceeded) -> Decision:
    """The decision that nothing is tried, also what could have served the request near."""
    why = f"this request is refused: {exceeded.reason}"
    refused = [Rejection(candidate_id, "budget", why) for candidate_id in decision.ranked]
    rejections = sorted((*decision.rejections, *refused), key=lambda r: r.candidate_id)
    return decision._replace(ranked=(), scores={}, reason=_sentence(exceeded.reason), rejections=tuple(rejections))


def _sentence(fragment: str) -> str:
    return f"{fragment[:1].upper()}{fragment[1:]}."
