"""What a candidate gets done in a second: answers, or their tokens. Trials in, a rate and its interval out.

* One caller: the inverse of the mean time of a trial, failed ones as well; inputs are what is independent.
* Several callers: a candidate has the machine to itself for a block, so a rate is what was done in its blocks over how
  long they took; blocks are what is independent.
* An open loop: others decide how much is asked, so the rate is what was done over how long it took, without interval.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from router.compare.intervals import FEW_INPUTS, Bounds, skewed
from router.compare.run import Closed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.compare.run import Load, Trial


def rate(load: Load, counted: Sequence[Trial], amount: Callable[[Trial], float]) -> Bounds | None:
    """So much in a second; None where nothing was done."""
    groups: defaultdict[int, list[Trial]] = defaultdict(list)
    for trial in counted:
        if trial.total_s is not None:
            groups[_group(load, trial)].append(trial)
    alone = isinstance(load, Closed) and load.concurrency == 1
    sums = [
        (
            sum(ended(trial) - trial.sent_s for trial in group) if alone else _span(group),
            sum(amount(trial) for trial in group if trial.status == "ok"),
        )
        for group in groups.values()
    ]
    return _inverse(sums)


def _group(load: Load, trial: Trial) -> int:
    """What is independent."""
    if isinstance(load, Closed):
        return trial.input if load.concurrency == 1 else trial.block
    return 0


def _inverse(groups: Sequence[tuple[float, float]]) -> Bounds | None:
    seconds, amount = (sum(column) for column in zip(*groups, strict=True)) if groups else (0.0, 0.0)
    if not amount or not seconds:
        return None
    if len(groups) < FEW_INPUTS:
        return Bounds(amount / seconds)
    found = skewed(groups)
    return Bounds(amount / seconds, 1 / found.high, 1 / found.low if found.low > 0 else None)


def ended(trial: Trial) -> float:
    """When a trial was over, in seconds since the run's start."""
    return trial.due_s + (trial.total_s or 0.0)


def _span(trials: Sequence[Trial]) -> float:
    return max(map(ended, trials)) - min(trial.sent_s for trial in trials)
