"""What replay says: for each quantity a figure with interval and method, or why there is none. Values only."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Method = Literal["observed", "dr", "snips", "ips", "paired", "events"]
Unit = Literal["usd", "share", "score", "ms"]


class Figure(Struct, frozen=True, kw_only=True):
    """One quantity under the target policy, by one method: an estimate, or a `refusal` with the reason.

    Attributes:
        quantity: `price`, `errors`, `quality`, `latency_mean`, `latency_p50`, ..., `deadline_misses`.
        unit: `usd` per request, `share` of requests, `score` in 0..1, `ms`.
        method: How it was estimated; `observed` where the target does what the log did.
        low, high: The 95 % interval.
        anytime: Whether the interval holds at every moment at once (the policy learnt, or is watched).
        n: Requests it rests on.
        missing: Requests whose outcome is not known; the interval is as wide as all they could have been.
        clusters: Independent groups among them.
        ess: Effective sample size; None where nothing was weighed.
        mean_weight: Should be 1; None where nothing was weighed.
        observed: The same of the log itself.
        difference: Estimate less observed, with its interval.
    """

    quantity: str
    unit: Unit
    method: Method
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    anytime: bool = False
    n: int = 0
    missing: int = 0
    clusters: int = 0
    ess: float | None = None
    mean_weight: float | None = None
    observed: float | None = None
    observed_low: float | None = None
    observed_high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    refusal: str | None = None
    warnings: tuple[str, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """One policy replayed. `figures` has the best method for each quantity, `others` what the other methods say."""

    policy: str
    version: str | None
    agreement: float | None  # share of requests at which it puts first whom the log did
    figures: tuple[Figure, ...]
    others: tuple[Figure, ...] = ()


class Replay(Struct, frozen=True, kw_only=True):
    """The answer to one replay: the window, and a verdict for each policy.

    Attributes:
        since, until: When the first and the last decision was made that was replayed, ISO 8601; None without any.
        requests: Decisions that were replayed.
        held: Decisions in the window; where more than `requests`, the newest were taken.
        clustered_by: What belongs together: `session`, `tenant` or `request`.
    """

    since: str | None
    until: str | None
    requests: int
    held: int
    clustered_by: str
    verdicts: tuple[Verdict, ...]
    warnings: tuple[str, ...] = ()
