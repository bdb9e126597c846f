"""A run as rows of the log, and back. Values in, values out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from router.compare.run import Run, Trial
from router.compare.votes import Opinion, Vote, votes_of
from router.decision_log.comparison_rows import CompareRunRow, CompareTrialRow
from router.errors import InvalidRequest, NoSuchResource
from router.ledger import now_us

if TYPE_CHECKING:
    from router.decision_log.queries import LogReader

encode = msgspec.json.encode


class Before(Struct, frozen=True):
    """A run that is gone on with.

    Attributes:
        billed: Every trial that was sent, by number, also one that was sent again or cut off; None: at an unknown cost.
    """

    run: Run
    billed: tuple[tuple[int, float | None], ...]


def before(reader: LogReader, run_id: str, digest: str) -> Before:
    """What the log knows of a run of this suite. Blocks.

    Raises:
        NoSuchResource: there is none to see.
        InvalidRequest: it is another suite's, or that has changed since.
    """
    row = reader.comparison(run_id)
    if row is None:
        raise NoSuchResource("run", run_id)
    if row["digest"] != digest:
        raise InvalidRequest(
            f"{run_id}: is a run of {row['suite']!r} as it was then; this suite, its inputs or who of it can be asked "
            "here are others: begin a new run.",
            param="resume",
        )
    return Before(run_of(row), tuple(reader.compared(run_id)))


def run_row(run: Run, tenant: str, digest: str) -> CompareRunRow:
    """The run as it is now, without its trials."""
    return CompareRunRow(
        run_id=run.run_id,
        ts_us=now_us(),
        tenant=tenant or None,
        suite=run.suite,
        digest=digest,
        task=run.task,
        metric=run.metric,
        reference=run.reference,
        seed=run.seed,
        loads=encode(run.loads).decode(),
        repeats=run.repeats,
        warm_up=run.warm_up,
        inputs=run.inputs,
        candidates=encode(run.candidates).decode(),
        budget_usd=run.budget_usd,
        planned=run.planned,
        started_us=_us(run.started_at),
        ended_us=None if run.ended_at is None else _us(run.ended_at),
        stopped=run.stopped,
        machine=encode(run.machine).decode(),
    )


def trial_row(trial: Trial, run_id: str, tenant: str) -> CompareTrialRow:
    """A trial as it is now."""
    return CompareTrialRow(run_id=run_id, ts_us=now_us(), tenant=tenant or None, **msgspec.structs.asdict(trial))


def run_of(row: dict[str, Any]) -> Run:
    """The run that the log tells of; its trials where it tells of them."""
    lists = {name: msgspec.json.decode(row[name]) for name in ("loads", "candidates", "machine")}
    whole = row | lists | {"started_at": row["started"], "ended_at": row["ended"]}
    return msgspec.convert(whole, Run)


def votes_in(row: dict[str, Any]) -> list[Vote]:
    """What people said of the answers of the run that the log tells of."""
    return votes_of(Opinion(*opinion) for opinion in row["opinions"])


def _us(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1_000_000)
