"""A run of a suite and its trials, as they are kept and reported: values only.

Every time is in seconds since the run's start, of a clock that never jumps, unless its name says `_at`.
`total_s` and `first_token_s` count from `due_s`: in an open loop a trial is due whatever the others do, so that
the wait for a busy candidate is seen; in a closed loop it is due when its turn comes. What is not known is None.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

TrialStatus = Literal["ok", "error", "refused"]
"""`refused`: nothing was sent, since the candidate was not eligible or had no room for it."""
Metric = Literal["exact_match", "label_accuracy", "cosine", "word_error_rate", "vote"]
"""How an output is scored: against the input's `expected`, or against what the reference candidate said to it."""


class Open(Struct, frozen=True, tag="open", tag_field="design", kw_only=True):
    """Arrivals at a rate, whatever is still running: all candidates of an input come one by one, in shuffled order."""

    rate_per_s: float
    process: Literal["poisson", "constant"] = "poisson"


class Closed(Struct, frozen=True, tag="closed", tag_field="design", kw_only=True):
    """So many callers, each with its next input once the last is answered.

    With one caller the candidates take turns input by input; with more, a candidate has the machine to itself for a
    block, so that what it gets done in a second is its own.
    """

    concurrency: int = 1


Load = Open | Closed


class Served(Struct, frozen=True, kw_only=True):
    """A candidate as it was served."""

    name: str  # in the suite
    candidate_id: str  # in the slate and the log
    model: str
    backend: str  # local | remote | fake | browser
    provider: str
    runtime: str | None = None  # near alone: torch, onnx, ...
    device: str | None = None
    revision: str | None = None

    @property
    def near(self) -> bool:
        """Whether it runs on this machine."""
        return self.backend == "local"


class Trial(Struct, frozen=True, kw_only=True):
    """One input, asked of one candidate, once."""

    number: int  # its place in the shuffled order, warm-up included
    load: int = 0  # which of the run's loads
    block: int = 0  # what was shuffled together; under Closed with several callers, a block has one candidate
    repeat: int  # 0, 1, ...; in the warm-up too
    input: int  # which of the suite's inputs
    candidate: str  # its name in the suite
    warm_up: bool = False
    due_s: float
    sent_s: float
    first_token_s: float | None = None  # streams alone, since due
    total_s: float | None = None  # to the answer's end, or to the failure, since due
    queue_s: float | None = None  # what the backend measured itself
    service_s: float | None = None
    status: TrialStatus
    error: str | None = None  # its class in the log: Timeout, RateLimited, ...
    truncated: bool = False  # the answer stopped at a limit of length
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None  # as the log has it, never guessed
    cost_source: str | None = None
    decision_id: str | None = None
    score: float | None = None  # by the run's metric, 0 worst to 1 best; None where it cannot be told


class Run(Struct, frozen=True, kw_only=True):
    """A suite, run once: what it was, where it ran, and every trial that ended."""

    run_id: str
    suite: str  # its name
    task: str
    metric: Metric | None = None
    reference: str | None = None  # the candidate whose outputs the others are scored against
    seed: int
    loads: tuple[Load, ...]  # mostly one; several give a curve of throughput
    repeats: int
    warm_up: int  # trials of each candidate that are not counted
    inputs: int
    candidates: tuple[Served, ...]
    budget_usd: float | None = None
    planned: int  # trials in the whole plan, warm-up included
    started_at: datetime
    ended_at: datetime | None = None  # None while it runs, and where it was cut off
    stopped: str | None = None  # why it ended before its plan did: the budget cap, Ctrl-C, ...
    machine: dict[str, str | int | float | bool | None] = {}
    trials: tuple[Trial, ...] = ()

    @property
    def counted(self) -> tuple[Trial, ...]:
        """The trials after the warm-up."""
        return tuple(trial for trial in self.trials if not trial.warm_up)
