"""An explanation as values. Units: `_ms` milliseconds, `_s` seconds, `_usd` US dollars; None is not known, never 0."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Verdict = Literal["chosen", "eligible", "rejected"]
Within = Literal["p50", "p90", "p95", "p99", "beyond"]
Basis = Literal["predicted", "measured"]


class CandidateWords(Struct, frozen=True, kw_only=True):
    """Why one candidate was chosen, or not.

    Attributes:
        verdict: `chosen` was put first; `eligible` could have been; `rejected` could not.
        words: The same for people, with what became of it where it was asked.
        code: Which kind of rejection; None when there is none.
        slower_ms: Its predicted latency less that of the chosen one; negative where it was expected sooner.
        dearer_usd: Its predicted cost less that of the chosen one.
        score: In the policy's own unit, lower is better.
        score_behind: Its score less that of the chosen one.
        propensity: The probability with which it was put first.
        measured_ms: How long it took, where an attempt of it was answered.
        measured_usd: What that attempt cost.
    """

    candidate: str
    verdict: Verdict
    words: str
    code: str | None = None
    near: bool | None = None
    predicted_ms: float | None = None
    predicted_p95_ms: float | None = None
    predicted_cost_usd: float | None = None
    predicted_quality: float | None = None
    slower_ms: float | None = None
    dearer_usd: float | None = None
    score: float | None = None
    score_behind: float | None = None
    propensity: float | None = None
    measured_ms: float | None = None
    measured_usd: float | None = None


class AttemptWords(Struct, frozen=True, kw_only=True):
    """One attempt on the time line of its request; `start_ms` counts from the decision."""

    attempt: int
    candidate: str
    role: str
    status: str
    won: bool
    words: str
    start_ms: float | None = None
    took_ms: float | None = None
    first_token_ms: float | None = None
    cost_usd: float | None = None
    cost_source: str | None = None
    error_class: str | None = None
    confidence: float | None = None


class Happened(Struct, frozen=True, kw_only=True):
    """How the request ended, and every attempt in the order in which they began."""

    status: str
    words: str
    attempts: list[AttemptWords]
    latency_ms: float | None = None
    cost_usd: float | None = None
    cost_source: str | None = None
    error_class: str | None = None


class Prediction(Struct, frozen=True, kw_only=True):
    """What was predicted of the candidate that answered (else of the first one asked), against its own attempt.

    Attributes:
        within: The first of p50, p90, p95, p99 that the attempt did not exceed, `beyond` above all of them; None where
            no distribution was known or the attempt has no time of its own.
        at_least: The observed time is only a lower bound: the attempt was stopped.
        off_by: Observed over predicted latency, less 1.
    """

    candidate: str
    words: str
    source: str | None = None
    predicted_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    observed_ms: float | None = None
    at_least: bool = False
    within: Within | None = None
    off_by: float | None = None
    first_token_predicted_ms: float | None = None
    first_token_p95_ms: float | None = None
    first_token_observed_ms: float | None = None
    predicted_cost_usd: float | None = None
    cost_usd: float | None = None
    cost_source: str | None = None


class Alternative(Struct, frozen=True, kw_only=True):
    """What another eligible candidate would have meant; `basis` says whether that is a prediction or was measured.

    `at_least`: it was measured, but stopped, so that `latency_ms` is only a lower bound.
    """

    candidate: str
    latency_ms: float | None
    cost_usd: float | None
    basis: Basis
    at_least: bool = False


class Hindsight(Struct, frozen=True, kw_only=True):
    """What would have been best, with what is known now.

    Attributes:
        best: Whom the policy would put first, told what was observed of the one that answered; None where that cannot
            be said.
        by: In which terms it is best.
        basis: Whether what is said of `best` was measured or only predicted.
        regret_s: Seconds the attempts took more than the fastest other eligible candidate would have; at least 0.
        regret_usd: Dollars the request cost more than the cheapest other eligible candidate; at least 0.
        fastest: Whom `regret_s` is against.
        cheapest: Whom `regret_usd` is against.
        late_s: Seconds from the first attempt until the one that answered was asked; None where that was the first.
    """

    words: str
    by: str
    best: str | None = None
    basis: Basis | None = None
    regret_s: float | None = None
    regret_usd: float | None = None
    fastest: Alternative | None = None
    cheapest: Alternative | None = None
    late_s: float | None = None


class Exploration(Struct, frozen=True, kw_only=True):
    """Whether chance had a say, and how likely this choice was."""

    words: str
    rate: float | None = None
    draw: float | None = None
    explored: bool = False
    propensity: float | None = None


class LimitWords(Struct, frozen=True, kw_only=True):
    """One hard limit of the request; `kept` is None where it cannot be told."""

    limit: str
    words: str
    kept: bool | None = None


class Explanation(Struct, frozen=True, kw_only=True):
    """Everything there is to say about one decision."""

    decision_id: str | None
    summary: str
    status: str
    policy: str | None
    policy_version: str | None
    route: str | None
    chosen: str | None
    candidates: list[CandidateWords]
    happened: Happened
    prediction: Prediction | None
    hindsight: Hindsight
    exploration: Exploration
    limits: list[LimitWords]
