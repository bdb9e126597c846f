"""Logs for replay: rows as the router writes them, through the real decision log."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from router.decision_log.log import DecisionLog
from router.decision_log.record import AttemptRow, CandidateRow, DecisionRow, FeedbackRow, OutcomeRow, ShadowRow

NOON_US = 1_760_011_200_000_000  # 2025-10-09 12:00 UTC


def candidate(name: str, **other: Any) -> CandidateRow:
    fields: dict[str, Any] = {
        "candidate_id": name, "backend": "local" if name.startswith("near") else "remote", "provider": name,
        "model": "m", "device": "cpu", "eligible": True, "reason": None, "warm": True, "queued": 0, "load_ms": 0.0,
        "queue_ms": 0.0, "pred_ms": 100.0, "pred_source": "observed", "pred_cost_usd": 0.001,
        "pred_cost_source": "priced", "pred_quality": None, "score": 1.0, "near": name.startswith("near"),
    }  # fmt: skip
    return CandidateRow(**{**fields, **other})


def decision(at_ms: float, slate: list[CandidateRow], chosen: str | None, **other: Any) -> DecisionRow:
    fields: dict[str, Any] = {
        "decision_id": str(uuid.uuid4()), "ts_us": NOON_US + round(at_ms * 1000), "seq": round(at_ms),
        "surface": "test", "request_id": None, "mode": "policy", "reason": "because", "price_book": "b",
        "task": "text-generation", "model": "m", "input_bytes": None, "policy": "fastest", "policy_version": "1",
        "candidates": slate, "chosen": chosen, "propensity": None if chosen is None else 1.0, "deadline_ms": 60_000.0,
    }  # fmt: skip
    return DecisionRow(**{**fields, **other})


def attempt(of: DecisionRow, name: str, **other: Any) -> AttemptRow:
    fields: dict[str, Any] = {
        "decision_id": of.decision_id, "attempt": 1, "ts_us": of.ts_us, "role": "primary", "candidate_id": name,
        "backend": "local" if name.startswith("near") else "remote", "provider": name, "model": "m", "device": "cpu",
        "status": "ok", "error_class": None, "error": None, "censored": False, "won": True, "total_ms": 100.0,
        "queue_ms": None, "load_ms": None, "service_ms": None, "first_token_ms": None, "batch_size": None,
        "prompt_tokens": None, "completion_tokens": None, "occupancy_ms": None, "cost_usd": 0.001,
        "cost_source": "priced", "provider_request_id": None,
    }  # fmt: skip
    return AttemptRow(**{**fields, **other})


def outcome(of: DecisionRow, **other: Any) -> OutcomeRow:
    fields: dict[str, Any] = {
        "decision_id": of.decision_id, "ts_us": of.ts_us, "status": "ok", "error_class": None, "error": None,
        "cost_usd": 0.001, "cost_source": "priced", "attempts": 1, "latency_ms": 101.0, "overhead_ms": 1.0,
    }  # fmt: skip
    return OutcomeRow(**{**fields, **other})


def feedback(of: DecisionRow, value: float) -> FeedbackRow:
    return FeedbackRow(decision_id=of.decision_id, ts_us=of.ts_us, source="user", metric="score", value=value)


def shadow(of: DecisionRow, name: str, agreement: float, number: int = 2) -> ShadowRow:
    assert of.chosen is not None
    return ShadowRow(
        decision_id=of.decision_id, attempt=number, ts_us=of.ts_us, candidate_id=name, reference=of.chosen,
        metric="cosine", agreement=agreement,
    )  # fmt: skip


def filled(rows: list[Any]) -> DecisionLog:
    """A log in memory that holds these rows."""
    log = DecisionLog.open(Path(":memory:"))
    for row in rows:
        log.append(row)
    log.flush()
    return log
