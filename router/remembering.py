"""Keeps what was learnt of candidates in the log, from time to time and at the end. Learns nothing itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from router.decision_log.record import PredictorRow
from router.ledger import now_us

if TYPE_CHECKING:
    from router.decision_log.taking import Log
    from router.estimates import Estimator

EVERY_S = 300.0  # a process that is killed forgets so much at most


def remember(estimator: Estimator, log: Log) -> None:
    """Write down what is new. A row of a few kilobytes for each candidate; it supersedes the candidate's last one."""
    for candidate_id, state in estimator.unsaved():
        log.append(PredictorRow(candidate_id=candidate_id, ts_us=now_us(), state=state))


async def remembering(estimator: Estimator, log: Log) -> None:
    """Write down what is new every five minutes, a candidate at a time, so that no request waits for it."""
    while True:
        await asyncio.sleep(EVERY_S)
        for candidate_id, state in estimator.unsaved():
            log.append(PredictorRow(candidate_id=candidate_id, ts_us=now_us(), state=state))
            await asyncio.sleep(0)
