"""The rows of one decision as typed facts. A row of another version, or a broken one, is read as far as it goes."""

from __future__ import annotations

from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping


class Seen(Struct, frozen=True, kw_only=True):
    """A candidate as the policy saw it."""

    id: str
    backend: str
    provider: str
    near: bool | None
    eligible: bool
    reason: str | None
    code: str | None
    source: str | None
    pred_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    load_ms: float | None
    queue_ms: float | None
    first_token_ms: float | None
    first_token_p95_ms: float | None
    cost_usd: float | None
    quality: float | None
    score: float | None
    propensity: float | None


class Tried(Struct, frozen=True, kw_only=True):
    """One attempt. `start_ms` counts from the decision."""

    number: int
    candidate_id: str
    role: str
    status: str
    error_class: str | None
    censored: bool
    won: bool
    start_ms: float | None
    total_ms: float | None
    first_token_ms: float | None
    cost_usd: float | None
    cost_source: str | None
    confidence: float | None


class Facts(Struct, frozen=True, kw_only=True):
    """One decision with all that belongs to it. `latency_ms` and `cost_usd` are the whole request's."""

    decision_id: str | None
    mode: str | None
    policy: str | None
    policy_version: str | None
    parameters: str
    reason: str
    route: str | None
    model: str | None
    chosen: str | None
    seen: tuple[Seen, ...]
    tried: tuple[Tried, ...]
    status: str
    error_class: str | None
    latency_ms: float | None
    overhead_ms: float | None
    cost_usd: float | None
    cost_source: str | None
    deadline_ms: float | None
    max_cost_usd: float | None
    max_latency_ms: float | None
    min_quality: float | None
    private: bool
    explore_rate: float | None
    draw: float | None
    explored: bool
    propensity: float | None

    @property
    def observed_ms(self) -> float | None:
        """How long its attempts took together: what the sender waited, less the router's own overhead."""
        return None if self.latency_ms is None else max(0.0, self.latency_ms - (self.overhead_ms or 0.0))

    @property
    def eligible(self) -> tuple[Seen, ...]:
        """The candidates that could have been chosen."""
        return tuple(seen for seen in self.seen if seen.eligible)

    @property
    def first(self) -> Seen | None:
        """The candidate that was put first."""
        return self.candidate(self.chosen)

    @property
    def answer(self) -> Tried | None:
        """The attempt whose answer was given, or which brought it to its end."""
        return next((tried for tried in self.tried if tried.won), None)

    def candidate(self, candidate_id: str | None) -> Seen | None:
        """The candidate of this id, if it was on the slate."""
        return next((seen for seen in self.seen if seen.id == candidate_id), None)

    def of(self, candidate_id: str) -> tuple[Tried, ...]:
        """The attempts at one candidate."""
        return tuple(tried for tried in self.tried if tried.candidate_id == candidate_id)


def facts_of(row: Mapping[str, Any]) -> Facts:
    """What `LogReader.decision` says of one decision, with the types that the log gave its columns."""
    outcome = row.get("outcome")
    end = outcome if isinstance(outcome, dict) else row
    body = row.get("policy_body")
    decided = _moment(row.get("ts"))
    tried = (_tried(each, decided) for each in _dicts(row.get("attempts")))
    return Facts(
        decision_id=_text(row, "decision_id"),
        mode=_text(row, "mode"),
        policy=_text(row, "policy"),
        policy_version=_text(row, "policy_version"),
        parameters=(_text(body, "parameters") or "") if isinstance(body, dict) else "",
        reason=_text(row, "reason") or "",
        route=_text(row, "route"),
        model=_text(row, "model"),
        chosen=_text(row, "chosen"),
        seen=tuple(_seen(each) for each in _dicts(row.get("candidates"))),
        tried=tuple(sorted(tried, key=lambda each: each.number)),
        status=_text(end, "status") or "open",
        error_class=_text(end, "error_class"),
        latency_ms=_amount(end, "latency_ms"),
        overhead_ms=_amount(end, "overhead_ms"),
        cost_usd=_amount(end, "cost_usd"),
        cost_source=_text(end, "cost_source"),
        deadline_ms=_amount(row, "deadline_ms"),
        max_cost_usd=_amount(row, "max_cost_usd"),
        max_latency_ms=_amount(row, "max_latency_ms"),
        min_quality=_amount(row, "min_quality"),
        private=row.get("private") is True,
        explore_rate=_amount(row, "explore_rate"),
        draw=_amount(row, "draw"),
        explored=row.get("explored") is True,
        propensity=_amount(row, "propensity"),
    )


def _seen(row: Mapping[str, Any]) -> Seen:
    near = row.get("near")
    return Seen(
        id=_text(row, "candidate_id") or "unnamed",
        backend=_text(row, "backend") or "unnamed",
        provider=_text(row, "provider") or "unnamed",
        near=near if isinstance(near, bool) else None,
        eligible=row.get("eligible") is True,
        reason=_text(row, "reason"),
        code=_text(row, "code"),
        source=_text(row, "pred_source"),
        pred_ms=_amount(row, "pred_ms"),
        p90_ms=_amount(row, "p90_ms"),
        p95_ms=_amount(row, "p95_ms"),
        p99_ms=_amount(row, "p99_ms"),
        load_ms=_amount(row, "load_ms"),
        queue_ms=_amount(row, "queue_ms"),
        first_token_ms=_amount(row, "first_token_ms"),
        first_token_p95_ms=_amount(row, "first_token_p95_ms"),
        cost_usd=_amount(row, "pred_cost_usd"),
        quality=_amount(row, "pred_quality"),
        score=_number(row, "score"),
        propensity=_amount(row, "propensity"),
    )


def _tried(row: Mapping[str, Any], decided: datetime | None) -> Tried:
    began = _moment(row.get("ts"))
    number = row.get("attempt")
    return Tried(
        number=number if isinstance(number, int) else 0,
        candidate_id=_text(row, "candidate_id") or "unnamed",
        role=_text(row, "role") or "primary",
        status=_text(row, "status") or "error",
        error_class=_text(row, "error_class"),
        censored=row.get("censored") is True,
        won=row.get("won") is True,
        start_ms=(began - decided).total_seconds() * 1000 if began is not None and decided is not None else None,
        total_ms=_amount(row, "total_ms"),
        first_token_ms=_amount(row, "first_token_ms"),
        cost_usd=_amount(row, "cost_usd"),
        cost_source=_text(row, "cost_source"),
        confidence=_amount(row, "confidence"),
    )


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) and value else None


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond every float
        return None
    return number if isfinite(number) else None


def _amount(row: Mapping[str, Any], name: str) -> float | None:
    """A figure that cannot be negative."""
    number = _number(row, name)
    return None if number is None or number < 0 else number


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=None)  # the log's times are all UTC
