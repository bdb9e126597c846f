"""What happened after a decision, and how that compares with what was predicted: in words and as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.base import apart, dollars
from router.explanation.values import AttemptWords, Happened, Prediction
from router.explanation.words import ENDS, FAILURES, ROLES, SOURCES, ms, named

if TYPE_CHECKING:
    from router.explanation.facts import Facts, Seen, Tried
    from router.explanation.values import Within


def happened(facts: Facts) -> Happened:
    """The end of a request and the way there."""
    return Happened(
        status=facts.status,
        words=_end(facts),
        attempts=[_attempt(tried) for tried in facts.tried],
        latency_ms=facts.latency_ms if facts.status != "open" else None,
        cost_usd=facts.cost_usd,
        cost_source=facts.cost_source,
        error_class=facts.error_class,
    )


def _end(facts: Facts) -> str:
    if facts.status == "open":
        return "It has not ended: it is still running, or was lost with its process."
    if facts.status == "refused":
        return f"The request was refused: {named(facts.error_class, ENDS)}."
    waited = "" if facts.latency_ms is None else f" after {ms(facts.latency_ms)}"
    cost = "what it cost is not known" if facts.cost_usd is None else f"it cost {dollars(facts.cost_usd)}"
    failed = [each for each in facts.tried if each.status == "error" and each.role != "shadow"]
    before = "" if not failed else f" {_failures(failed)}"
    if facts.status == "cancelled":
        return f"Its sender went away{waited}; {cost}.{before}"
    if facts.status == "error":
        return f"There was no answer{waited}: {named(facts.error_class, ENDS)}; {cost}.{before}"
    who = "It" if facts.answer is None else facts.answer.candidate_id
    return f"{who} answered{waited}; {cost}.{before}{_others(facts)}"


def _failures(failed: list[Tried]) -> str:
    said = list(dict.fromkeys(f"{each.candidate_id}: {named(each.error_class, FAILURES)}" for each in failed))
    return f"Failed on the way: {'; '.join(said)}."


def _others(facts: Facts) -> str:
    """What the answer took besides one attempt: who went on with it, who was asked in doubt, who ran beside."""
    parts = [each.candidate_id for each in facts.tried if each.role == "continuation" and each.status == "ok"]
    joined = f" The answer was continued by {', '.join(parts)}." if parts else ""
    risen = next((each for each in facts.tried if each.role == "escalation"), None)
    unsure = next((each.confidence for each in facts.tried if each.confidence is not None), None)
    doubt = "" if unsure is None else f", which was {unsure:.0%} sure"
    escalated = "" if risen is None else f" {risen.candidate_id} was asked to better the first answer{doubt}."
    shadows = [each.candidate_id for each in facts.tried if each.role == "shadow"]
    compared = f" For comparison alone: {', '.join(shadows)}." if shadows else ""
    return joined + escalated + compared


def _attempt(tried: Tried) -> AttemptWords:
    return AttemptWords(
        attempt=tried.number,
        candidate=tried.candidate_id,
        role=tried.role,
        status=tried.status,
        won=tried.won,
        words=_attempt_words(tried),
        start_ms=tried.start_ms,
        took_ms=tried.total_ms,
        first_token_ms=tried.first_token_ms,
        cost_usd=tried.cost_usd,
        cost_source=tried.cost_source,
        error_class=tried.error_class,
        confidence=tried.confidence,
    )


def _attempt_words(tried: Tried) -> str:
    role = ROLES.get(tried.role, f"was asked as {tried.role}")
    after = "" if tried.total_ms is None else f" after {ms(tried.total_ms)}"
    sure = "" if tried.confidence is None else f", {tried.confidence:.0%} sure of it"
    if tried.status == "ok":
        use = "its answer was given" if tried.won else "its answer was not given"
        end = f"and answered{after}{sure}; {use}"
    elif tried.status == "cancelled":
        end = f"and was stopped{after}"
    else:
        begun = " in the middle of its answer" if tried.first_token_ms is not None else ""
        end = f"and failed{begun}{after}: {named(tried.error_class, FAILURES)}"
    return f"{tried.candidate_id} {role}, {end}."


def prediction(facts: Facts) -> Prediction | None:
    """What was predicted of whoever answered (else was asked first); None where nobody on the slate was asked."""
    subject = facts.answer or next((each for each in facts.tried if each.role == "primary"), None)
    seen = None if subject is None else facts.candidate(subject.candidate_id)
    if subject is None or seen is None:
        return None
    whole = subject.role != "continuation"  # what went on with another's answer did a part of the work
    observed_ms = subject.total_ms if whole and (subject.status == "ok" or subject.censored) else None
    within = None if observed_ms is None or subject.censored else _within(observed_ms, seen)
    return Prediction(
        candidate=seen.id,
        words=_prediction_words(seen, subject, observed_ms, within),
        source=seen.source,
        predicted_ms=seen.pred_ms,
        p90_ms=seen.p90_ms,
        p95_ms=seen.p95_ms,
        p99_ms=seen.p99_ms,
        observed_ms=observed_ms,
        at_least=observed_ms is not None and subject.censored,
        within=within,
        off_by=observed_ms / seen.pred_ms - 1 if observed_ms is not None and seen.pred_ms else None,
        first_token_predicted_ms=seen.first_token_ms,
        first_token_p95_ms=seen.first_token_p95_ms,
        first_token_observed_ms=subject.first_token_ms,
        predicted_cost_usd=seen.cost_usd,
        cost_usd=subject.cost_usd,
        cost_source=subject.cost_source,
    )


def _within(observed_ms: float, seen: Seen) -> Within | None:
    """The first quantile that was not exceeded; None without a distribution."""
    points: list[tuple[Within, float | None]] = [
        ("p50", seen.pred_ms),
        ("p90", seen.p90_ms),
        ("p95", seen.p95_ms),
        ("p99", seen.p99_ms),
    ]
    if seen.p95_ms is None:
        return None
    return next((name for name, point in points if point is not None and observed_ms <= point), "beyond")


def _prediction_words(seen: Seen, tried: Tried, observed_ms: float | None, within: Within | None) -> str:
    if seen.pred_ms is None:
        return f"Nothing was predicted of {seen.id}."
    source = f" ({SOURCES.get(seen.source, f'from {seen.source}')})" if seen.source else ""
    said = f"{seen.id} was expected to take {ms(seen.pred_ms)}{source}"
    if observed_ms is None:
        return f"{said}; it gave {'only a part of the' if tried.status == 'ok' else 'no'} answer to compare."
    took = f"took {'more than ' if tried.censored else ''}{ms(observed_ms)}"
    where = {
        None: "",
        "p50": ", within the middle of its prediction",
        "p90": ", within its 90 % bound",
        "p95": ", within its 95 % bound",
        "p99": ", within its 99 % bound but beyond the 95 % one",
        "beyond": ", beyond its 99 % bound",
    }[within]
    return f"{said} and {took}{where}.{_cost_words(seen, tried)}"


def _cost_words(seen: Seen, tried: Tried) -> str:
    if seen.cost_usd is None or tried.cost_usd is None:
        return ""
    if abs(seen.cost_usd - tried.cost_usd) <= tried.cost_usd * 1e-9:  # floats
        return f" It cost what was expected, {dollars(tried.cost_usd)}."
    return " Its cost was expected to be {} and was {}.".format(*apart(dollars, seen.cost_usd, tried.cost_usd))
