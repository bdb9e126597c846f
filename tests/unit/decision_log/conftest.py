"""Rows as the router would make them, and a log in a temporary directory."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from router.decision_log.log import DecisionLog
from router.decision_log.record import AttemptRow, CandidateRow, DecisionRow, OutcomeRow

NOON_US = 1_760_011_200_000_000  # 2025-10-09 12:00 UTC


def make_candidate(candidate_id: str = "near", **other: Any) -> CandidateRow:
    fields: dict[str, Any] = {
        "candidate_id": candidate_id, "backend": "local", "provider": "local", "model": "mini", "device": "cpu",
        "eligible": True, "reason": None, "warm": True, "queued": 0, "load_ms": 0.0, "queue_ms": 0.0, "pred_ms": 10.0,
        "pred_source": "history", "pred_cost_usd": None, "pred_cost_source": "unknown", "pred_quality": None,
        "score": 1.0,
    }  # fmt: skip
    return CandidateRow(**{**fields, **other})


def make_decision(nth: int = 1, **other: Any) -> DecisionRow:
    fields: dict[str, Any] = {
        "decision_id": str(uuid.uuid4()), "ts_us": NOON_US + nth, "seq": nth, "surface": "/v1/embeddings",
        "request_id": None, "mode": "policy", "policy": "latency", "policy_version": "p1", "price_book": "b1",
        "reason": "near is faster", "task": "feature-extraction", "model": "mini", "input_tokens": 3, "input_bytes": 12,
        "output_tokens_est": None, "batch_items": 1, "stream": False, "deadline_ms": None, "max_cost_usd": None,
        "max_latency_ms": None, "min_quality": None, "private": False, "payload_hash": None,
        "candidates": [make_candidate(), make_candidate("far", backend="remote")], "chosen": "near", "decide_us": 50,
    }  # fmt: skip
    return DecisionRow(**{**fields, **other})


def make_attempt(decision_id: str, **other: Any) -> AttemptRow:
    fields: dict[str, Any] = {
        "decision_id": decision_id, "attempt": 1, "ts_us": NOON_US, "role": "primary", "candidate_id": "near",
        "backend": "local", "provider": "local", "model": "mini", "device": "cpu", "status": "ok", "error_class": None,
        "error": None, "censored": False, "won": True, "total_ms": 20.0, "queue_ms": None, "load_ms": None,
        "service_ms": None, "first_token_ms": None, "batch_size": None, "prompt_tokens": 3, "completion_tokens": None,
        "occupancy_ms": None, "cost_usd": None, "cost_source": "unknown", "provider_request_id": None,
    }  # fmt: skip
    return AttemptRow(**{**fields, **other})


def make_outcome(decision_id: str, **other: Any) -> OutcomeRow:
    fields: dict[str, Any] = {
        "decision_id": decision_id, "ts_us": NOON_US, "status": "ok", "error_class": None, "error": None,
        "backend": "local", "provider": "local", "model_served": "mini", "device": "cpu", "attempts": 1,
        "latency_ms": 21.0, "overhead_ms": 1.0, "first_token_ms": None, "prompt_tokens": 3, "completion_tokens": None,
        "cost_usd": None, "cost_source": "unknown",
    }  # fmt: skip
    return OutcomeRow(**{**fields, **other})


@pytest.fixture
def rows() -> dict[str, Callable[..., Any]]:
    return {"decision": make_decision, "candidate": make_candidate, "attempt": make_attempt, "outcome": make_outcome}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nearfar.duckdb"


@pytest.fixture
def log(path: Path) -> Iterator[DecisionLog]:
    log = DecisionLog.open(path)
    yield log
    log.close()
