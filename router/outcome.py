"""What happened: one attempt at one candidate, and the end of a whole request. Values only."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from backends.energy import EnergySource
from backends.errors import BackendError
from backends.types import InferenceResult
from router.errors import RouterError
from router.slate import Plan, Size

CostSource = Literal["measured", "declared", "priced", "estimated", "cached", "client", "unknown"]
Role = Literal["primary", "retry", "fallback", "hedge", "continuation", "escalation", "shadow"]
Status = Literal["ok", "error", "refused", "cancelled"]


class Bases(Struct, frozen=True, kw_only=True):
    """What a near attempt cost on each basis, in US dollars, and the energy it took; None where it cannot be told.

    Attributes:
        occupancy_usd: Its device-seconds at the device's rate.
        marginal_usd: Its energy alone.
        amortised_usd: Its share of every hour of the device, idle ones included. For reports: no policy sees it.
        energy_source: `rapl` or `nvml` where a meter counted, `watts` where it is power times device-seconds.
    """

    occupancy_usd: float | None = None
    marginal_usd: float | None = None
    amortised_usd: float | None = None
    energy_j: float | None = None
    energy_source: EnergySource | None = None


class Cost(Struct, frozen=True):
    """US dollars and how they are known; None and `unknown` go together. `bases` says more of a near attempt."""

    usd: float | None
    source: CostSource
    bases: Bases | None = None


class Said(Struct, frozen=True, kw_only=True):
    """What is known of an attempt that gave no answer.

    Attributes:
        busy_s: Seconds of device time it is known to have held, near; None where it may never have had its turn.
        pieces: Pieces of text that came before it ended.
        size: Of the request it carried.
    """

    busy_s: float | None
    pieces: int
    size: Size


class Attempt(Struct, frozen=True, kw_only=True):
    """One call of a backend, finished. Exactly one of `result` and `error` is set, or neither when cancelled.

    Attributes:
        total_s: From asking to the end, with what the reader of a stream took between two pieces.
        waited_s: What of it was spent waiting for the candidate; None where nobody read: all of it.
    """

    candidate_id: str
    backend: str
    provider: str
    model: str
    device: str
    started_us: int
    total_s: float
    cost: Cost
    role: Role = "primary"
    from_char: int | None = None  # where its text begins in an answer that several attempts gave
    result: InferenceResult | None = None
    error: BackendError | None = None
    first_token_s: float | None = None
    waited_s: float | None = None
    confidence: float | None = None  # how sure the model is of its answer, where it tells
    replica: str | None = None  # which of the candidate's servers it was, where there are several

    @property
    def candidates_s(self) -> float:
        """The candidate's part of `total_s`: a slow reader makes nobody slow."""
        return self.total_s if self.waited_s is None else self.waited_s

    @property
    def status(self) -> Literal["ok", "error", "cancelled"]:
        """`ok`, `error` or `cancelled`."""
        if self.result is not None:
            return "ok"
        return "cancelled" if self.error is None else "error"


class Begun(Struct, frozen=True, kw_only=True):
    """A stream's first piece exists: who serves it, on which attempt, and what is known before it ends.

    It comes again where another candidate goes on with the answer: `from_char` is where that begins.
    """

    plan: Plan
    backend: str
    provider: str
    model: str
    attempts: int
    from_char: int = 0


class Answered(Struct, frozen=True, kw_only=True):
    """A complete answer: the attempt that gave it or its end, the whole of it, and when the sender heard the first.

    `note` says what became of an answer before it that was not sure enough.
    """

    attempt: Attempt
    result: InferenceResult
    first_token_s: float | None = None
    note: str = ""


class Outcome(Struct, frozen=True, kw_only=True):
    """How a request ended. Exactly one of `result` and `error` is set, or neither when its sender went away.

    Attributes:
        winner: The attempt whose answer was returned, or which brought it to its end; set with `result`.
        result: The whole answer. Where several attempts gave it, its usage is the winner's.
        note: What became of a near answer that was not sure enough; empty where there was none.
    """

    plan: Plan
    status: Status
    attempts: tuple[Attempt, ...]
    latency_s: float
    overhead_s: float
    cost: Cost
    winner: Attempt | None = None
    result: InferenceResult | None = None
    error: RouterError | None = None
    first_token_s: float | None = None
    note: str = ""

    @property
    def reason(self) -> str:
        """Why it was decided so, and what became of it where that is more than was decided."""
        return f"{self.plan.decision.reason} {self.note}".rstrip()

    @property
    def decision_id(self) -> str:
        """The id of its rows in the log."""
        return self.plan.decision_id

    @property
    def splices(self) -> tuple[Attempt, ...]:
        """The attempts that went on with an answer that others had begun."""
        return tuple(attempt for attempt in self.attempts if attempt.from_char is not None)


def total_cost(costs: tuple[Cost, ...]) -> Cost:
    """All attempts together. One unknown makes the sum unknown, else one estimate makes it an estimate.

    No attempt at all cost nothing, which is measured.
    """
    amounts = [cost.usd for cost in costs]
    known = [amount for amount in amounts if amount is not None]
    if len(known) < len(amounts):
        return Cost(None, "unknown")
    if any(cost.source == "estimated" for cost in costs):
        return Cost(sum(known), "estimated")
    return Cost(sum(known), costs[-1].source if costs else "measured")
