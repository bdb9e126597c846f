"""Nodes of a cluster as far as their logs go: each a real log on disk, and who ships it to the folder they share."""

import contextlib
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from router.decision_log.keeping import Keeper
from router.decision_log.log import DecisionLog
from router.decision_log.queries import LogReader
from router.decision_log.record import (
    CandidateRow,
    CompareRunRow,
    CompareTrialRow,
    DecisionRow,
    FeedbackRow,
    NodeRow,
    PolicyRow,
    PriceBookRow,
    ShadowRow,
)
from router.decision_log.retention import Retention
from router.sections import ShipSettings
from router.shipping.places import Place, place_of
from router.shipping.shipper import Shipper
from tests.unit.decision_log.conftest import NOON_US, make_attempt, make_candidate, make_decision, make_outcome

HOUR_US = 3_600_000_000
NOON = datetime(2025, 10, 9, 12)  # noqa: DTZ001 -- as the log keeps it
LATER = NOON + timedelta(days=30)
BOOK = '{"local": {"carbon_g_per_kwh": 100}}'


class Node:
    """One node: its log is at rest, and ships when it is told to."""

    def __init__(self, folder: Path, to: str | Place, *, retention: Retention | None = None, **ship: Any) -> None:
        self.path = folder / "nearfar.duckdb"
        self.log = DecisionLog.open(self.path, retention=retention or Retention(until_shipped=True))
        self.log._keeper._next_s = math.inf
        self.place = place_of(to) if isinstance(to, str) else to
        self.shipper = Shipper(self.log, self.place, ShipSettings(**ship))

    def ship(self) -> None:
        self.log.flush()
        self.shipper.ship()

    def settle(self, now: datetime = LATER) -> int:
        """Settle all that may be."""
        self.log.flush()
        with contextlib.closing(self.log.cursor()) as con:
            return Keeper(self.log.cursor, Retention(until_shipped=True)).settle(con, now, at_least=1)

    def count(self, table: str) -> int:
        with contextlib.closing(self.log.cursor()) as con:
            [(rows,)] = con.execute(f"SELECT count(*) FROM nearfar_log.{table}").fetchall()
        return int(rows)

    def decided(self, n: int = 3, *, hours: float = 0, tenants: Sequence[str | None] = (None,)) -> list[str]:
        """Decisions, with what was tried, how they ended and what was said of them; returns their ids."""
        ids = []
        for nth in range(n):
            at = NOON_US + round(hours * HOUR_US) + nth * 1000
            one = self.decision(at, tenants[nth % len(tenants)], nth)
            ids.append(one.decision_id)
            self.log.append(one)
            self.log.append(make_attempt(one.decision_id, ts_us=at, cost_usd=0.25 * nth, energy_j=3.6, confidence=0.5))
            if nth % 3:
                self.log.append(make_attempt(one.decision_id, ts_us=at + 1, attempt=2, role="shadow", won=False))
                self.log.append(
                    ShadowRow(
                        decision_id=one.decision_id, attempt=2, ts_us=at + 2, candidate_id="near", reference="far",
                        metric="cosine", agreement=0.5,
                    )
                )  # fmt: skip
            self.log.append(make_outcome(one.decision_id, ts_us=at + 3, cost_usd=0.25 * nth, latency_ms=20.0 + nth))
            self.say(one.decision_id, at + 4)
        return ids

    def decision(self, at: int, tenant: str | None = None, nth: int = 0) -> DecisionRow:
        return make_decision(
            nth, ts_us=at, seq=self.log.next_seq(), tenant=tenant, candidates=_slate(), session=f"s{nth % 2}",
            propensity=0.5, intent="hello", route="r" if nth % 2 else None,
        )  # fmt: skip

    def say(self, decision_id: str, at: int, value: float = 0.5) -> None:
        self.log.append(FeedbackRow(decision_id=decision_id, ts_us=at, source="user", metric="score", value=value))

    def began(self) -> None:
        """What a start writes, the same at every node but for the node itself."""
        self.log.append(PriceBookRow(price_book="b1", ts_us=NOON_US, body=BOOK))
        self.log.append(PolicyRow(policy_version="p1", policy="latency", ts_us=NOON_US, body="{}"))
        self.log.append(
            NodeRow(
                boot_id=self.log.boot_id, node_id=self.log.node_id, ts_us=NOON_US, hardware='{"cores": 2}',
                software="{}",
            )
        )  # fmt: skip

    def compared(self, tenant: str, run_id: str, decision_id: str) -> None:
        """A run and one trial, both written twice: the newest counts."""
        for nth in range(2):
            at = NOON_US + nth
            self.log.append(
                CompareRunRow(
                    run_id=run_id, ts_us=at, tenant=tenant, suite="s", digest="d", task="text-generation", metric=None,
                    reference=None, seed=1, loads="[]", repeats=1, warm_up=0, inputs=1, candidates="[]",
                    budget_usd=None, planned=1, started_us=NOON_US, ended_us=at if nth else None, stopped=None,
                    machine="{}",
                )
            )  # fmt: skip
            self.log.append(
                CompareTrialRow(
                    run_id=run_id, ts_us=at, tenant=tenant, number=0, load=0, block=0, repeat=0, input=0,
                    candidate="near", warm_up=False, due_s=0.0, sent_s=0.0, first_token_s=None, total_s=0.5 + nth,
                    queue_s=None, service_s=None, status="ok", error=None, truncated=False, input_tokens=None,
                    output_tokens=None, cost_usd=None, cost_source="unknown", decision_id=decision_id, score=None,
                )
            )  # fmt: skip

    def close(self) -> None:
        self.log.close()


def _slate() -> list[CandidateRow]:
    far = make_candidate(
        "far", backend="remote", provider="there", device="remote", pred_ms=40.0, pred_cost_usd=0.5, p95_ms=90.0,
        propensity=0.5,
    )  # fmt: skip
    return [make_candidate(near=True, pred_cost_usd=0.125, p90_ms=15.0, p95_ms=30.0, p99_ms=50.0, propensity=0.5), far]


def ids_of(reader: LogReader) -> list[str]:
    """The decisions that a reader sees, each as often as it sees it."""
    return sorted(row[0] for row in reader.sql("SELECT decision_id::VARCHAR FROM decisions", max_rows=10**6).rows)
