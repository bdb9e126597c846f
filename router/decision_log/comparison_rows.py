"""The rows that a comparison of candidates leaves: one for the run, again when it ends, and one for each trial.

What was asked and answered is in neither; a trial's `decision_id` leads to its decision, attempts and cost.
"""

from __future__ import annotations

from msgspec import Struct


class CompareRunRow(Struct, frozen=True, kw_only=True, tag="compare_run"):
    """A run of a suite. Written when it begins and whenever that changes; the newest counts."""

    run_id: str
    ts_us: int
    tenant: str | None
    suite: str
    digest: str  # keyed hash of the suite, its inputs and whom it asks: what another one is told apart by
    task: str
    metric: str | None
    reference: str | None
    seed: int
    loads: str  # JSON
    repeats: int
    warm_up: int
    inputs: int
    candidates: str  # JSON
    budget_usd: float | None
    planned: int
    started_us: int
    ended_us: int | None
    stopped: str | None
    machine: str  # JSON


class CompareTrialRow(Struct, frozen=True, kw_only=True, tag="compare_trial"):
    """One input asked of one candidate once. Written when it ends, and again once it is scored; the newest counts."""

    run_id: str
    ts_us: int
    tenant: str | None
    number: int
    load: int
    block: int
    repeat: int
    input: int
    candidate: str
    warm_up: bool
    due_s: float
    sent_s: float
    first_token_s: float | None
    total_s: float | None
    queue_s: float | None
    service_s: float | None
    status: str
    error: str | None
    truncated: bool
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    cost_source: str | None
    decision_id: str | None
    score: float | None
