"""What would have been best, with what is known once a request has ended.

The candidate that answered is worth what was observed: the time all attempts took together, less the router's own
overhead, and what they cost. Every other eligible candidate is worth what was predicted of it at the decision, or what
an answered attempt of it measured where there is one (a shadow, a hedge that came second): a prediction stays one, and
is called so. A candidate that was asked and failed, or whose answer was not sure enough to be kept, would have been no
better choice, and is left out. One that was stopped would have taken longer than it had: its prediction counts where
that is longer, else the time it had. Time and cost are compared, and not how good the answers are.

    regret_s   = max(0, observed latency - the least latency of another)
    regret_usd = max(0, observed cost - the least cost of another)

Which candidate is best is for the policy to say: it is asked again, with these values for predictions.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Literal

from policies.base import dollars, seconds
from policies.registry import UnknownPolicy, create
from policies.types import Constraints, Estimate, Parameters, Quantiles, Weights
from router.explanation.values import Alternative, Hindsight
from router.explanation.words import difference, less, ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.base import Policy
    from router.explanation.facts import Facts, Seen, Tried

_PARAMETER = re.compile(r"\b(\w+)=([0-9.]+(?:e[+-]?[0-9]+)?)\b")
_WEIGHTS = tuple(field.name for field in fields(Weights))
_NAMES = {"target": "slo_target", "second_usd": "second_usd", "quality_usd": "quality_usd", "gain": "pacing_gain"}
"""How the policies call what may be set of them, as the log has it -> `Parameters`."""


def hindsight(facts: Facts) -> Hindsight:
    """What would have been best. Without an answer there is nothing to compare, and every figure is None."""
    answer, others = facts.answer, alternatives(facts)
    if facts.status != "ok" or answer is None:
        return Hindsight(words=_unanswered(facts, others), by="nothing: there is no answer to compare")
    if not others:
        late = _late(facts, answer)
        return Hindsight(
            words=f"There was no other choice to compare with.{_lost(late)}",
            by="being the only one",
            best=answer.candidate_id,
            basis="measured",
            regret_s=None if facts.observed_ms is None else 0.0,
            regret_usd=None if facts.cost_usd is None else 0.0,
            late_s=late,
        )
    return _compared(facts, answer, others)


def alternatives(facts: Facts) -> list[Alternative]:
    """What every eligible candidate other than the one that answered would have meant."""
    answered = None if facts.answer is None else facts.answer.candidate_id
    found = (_worth(seen, facts) for seen in facts.eligible if seen.id != answered)
    return [each for each in found if each is not None]


def _worth(seen: Seen, facts: Facts) -> Alternative | None:
    """None where it was no choice. What went on with another's answer did a part of the work: that measures nothing."""
    tried = facts.of(seen.id)
    doubted = any(each.role == "escalation" for each in facts.tried)
    whole = [each for each in tried if each.role != "continuation" and each.total_ms is not None]
    answered = next((each for each in whole if each.status == "ok"), None)
    if answered is not None and answered.role != "shadow" and doubted:
        return None
    if answered is not None:
        return Alternative(
            candidate=seen.id,
            latency_ms=answered.total_ms,
            cost_usd=answered.cost_usd,  # a prediction is no measure of what nobody knows
            basis="measured",
        )
    if any(each.status == "error" and each.role != "shadow" for each in tried):
        return None
    had_ms = max((each.total_ms for each in whole if each.total_ms is not None), default=None)
    stopped = had_ms is not None and (seen.pred_ms is None or had_ms > seen.pred_ms)
    return Alternative(
        candidate=seen.id,
        latency_ms=had_ms if stopped else seen.pred_ms,
        cost_usd=seen.cost_usd,
        basis="measured" if stopped else "predicted",
        at_least=stopped,
    )


def _compared(facts: Facts, answer: Tried, others: list[Alternative]) -> Hindsight:
    fastest, cheapest = _least(others, "latency_ms"), _least(others, "cost_usd")
    sooner_ms = _regret(facts.observed_ms, None if fastest is None else fastest.latency_ms)
    regret_s = None if sooner_ms is None else sooner_ms / 1000
    regret_usd = _regret(facts.cost_usd, None if cheapest is None else cheapest.cost_usd)
    best, by = _best(facts, answer.candidate_id, others)
    other = next((each for each in others if each.candidate == best), None)
    late = _late(facts, answer)
    said = [_verdict(facts, best, other, by)]
    if fastest is not None and fastest is not other and _worth_saying(sooner_ms, facts.observed_ms):
        said.append(f"{fastest.candidate} would have been {seconds(regret_s or 0.0)} sooner, {_on(fastest)}.")
    if cheapest is not None and cheapest is not other and _worth_saying(regret_usd, facts.cost_usd):
        said.append(f"{cheapest.candidate} would have been {dollars(regret_usd or 0.0)} cheaper, {_on(cheapest)}.")
    return Hindsight(
        words=" ".join(said) + _lost(late),
        by=by,
        best=best,
        basis=None if best is None else "measured" if other is None else other.basis,
        regret_s=regret_s,
        regret_usd=regret_usd,
        fastest=fastest,
        cheapest=cheapest,
        late_s=late,
    )


def _late(facts: Facts, answer: Tried) -> float | None:
    """Seconds between the beginning of the first attempt and of the one that answered; None where it was the first."""
    first = next(iter(facts.tried), None)
    if first is None or first is answer or first.start_ms is None or answer.start_ms is None:
        return None
    return max(0.0, answer.start_ms - first.start_ms) / 1000


def _lost(late_s: float | None) -> str:
    return f" {seconds(late_s)} had passed when it was asked." if late_s else ""


def _least(others: Sequence[Alternative], what: Literal["latency_ms", "cost_usd"]) -> Alternative | None:
    known = [(value, each.candidate, each) for each in others if (value := getattr(each, what)) is not None]
    return min(known, key=lambda found: found[:2])[2] if known else None


def _regret(observed: float | None, other: float | None) -> float | None:
    return None if observed is None or other is None else max(0.0, observed - other)


def _worth_saying(regret: float | None, observed: float | None) -> bool:
    """Sums of floats differ in their last digits: less than a thousandth is no difference for people."""
    return bool(regret and observed and regret >= observed / 1000)


def _best(facts: Facts, answered: str, others: Sequence[Alternative]) -> tuple[str | None, str]:
    """Whom the policy would put first now, and in which terms; nobody where it cannot rank who answered."""
    policy = _policy(facts)
    if policy is None:
        return None, f"nothing: the policy {facts.policy or 'of this decision'} is not known here"
    if facts.observed_ms is None:
        return None, "nothing: how long the answer took is not known"
    own = _estimate(facts.candidate(answered), answered, facts.observed_ms, facts.cost_usd)
    known = [each for each in others if each.latency_ms is not None]
    slate = [own, *(_estimate_of(facts.candidate(each.candidate), each) for each in known)]
    deadline_s = None if facts.deadline_ms is None else facts.deadline_ms / 1000
    ranked = policy.decide(slate, Constraints(deadline_s=deadline_s)).ranked
    if answered not in ranked:
        return None, f"nothing: {policy.name} cannot rank an answer with these figures"
    return ranked[0], f"the terms of {policy.name}"


def _policy(facts: Facts) -> Policy | None:
    """The policy that decided, with the parameters it had then."""
    try:
        found = {name: float(value) for name, value in _PARAMETER.findall(facts.parameters)}
        weights = Weights(**{name: found[name] for name in _WEIGHTS if name in found})
        others = {ours: found[theirs] for theirs, ours in _NAMES.items() if theirs in found}
        return create(facts.policy or "", Parameters(weights=weights, **others))
    except (UnknownPolicy, ValueError):  # another version's policy, or parameters that nobody could use
        return None


def _estimate_of(seen: Seen | None, value: Alternative) -> Estimate:
    predicted = value.basis == "predicted"
    return _estimate(seen, value.candidate, value.latency_ms or 0.0, value.cost_usd, predicted=predicted)


def _estimate(
    seen: Seen | None, candidate_id: str, latency_ms: float, cost_usd: float | None, *, predicted: bool = False
) -> Estimate:
    """A candidate with what is known of it now; what was observed has no distribution but itself."""
    points = [latency_ms] * 4
    if predicted and seen is not None:
        for place, tail_ms in enumerate((seen.p90_ms, seen.p95_ms, seen.p99_ms), start=1):
            points[place] = max(points[place - 1], tail_ms or 0.0)
    return Estimate(
        candidate_id=candidate_id,
        backend="unnamed" if seen is None else seen.backend,
        provider="unnamed" if seen is None else seen.provider,
        near=seen is not None and seen.near is True,
        latency_s=latency_ms / 1000,
        latency_source="observed",
        service_s=latency_ms / 1000,
        queue_s=(seen.queue_ms or 0.0) / 1000 if predicted and seen is not None else 0.0,
        cost_usd=cost_usd,
        cost_source="unknown" if cost_usd is None else "priced",
        quality=None if seen is None else seen.quality,
        latency=Quantiles(*(point / 1000 for point in points)),
    )


def _verdict(facts: Facts, best: str | None, other: Alternative | None, by: str) -> str:
    if best is None:
        return f"Which choice would have been best cannot be said: {by.removeprefix('nothing: ')}."
    if other is None:
        return f"In hindsight {best} was the best choice, by {by}."
    gained = [
        difference(less(facts.observed_ms, other.latency_ms), ms, "sooner", "later", "as soon"),
        difference(less(facts.cost_usd, other.cost_usd), dollars, "cheaper", "dearer", ""),
    ]
    how = " and ".join(filter(None, gained))
    return f"In hindsight {best} would have been the better choice, by {by}: {how}, {_on(other)}."


def _on(other: Alternative) -> str:
    """How good the word on another candidate is."""
    if other.at_least:
        return "by an attempt that was stopped"
    return "as measured" if other.basis == "measured" else "if what was predicted of it is right"


def _unanswered(facts: Facts, others: Sequence[Alternative]) -> str:
    if facts.status == "open":
        return "The request has not ended, so there is nothing to compare yet."
    asked = {each.candidate_id for each in facts.tried}
    left = [each.candidate for each in others if each.candidate not in asked]
    why = "There is no answer to compare with."
    return f"{why} Eligible, but never asked: {', '.join(left)}." if left else why
