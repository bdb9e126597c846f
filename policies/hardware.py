"""Policies that choose the side first: `local-first` (hardware-aware), `remote-first` and `local-only`.

Their score is a place: the group's number plus 1 - 1 / (1 + latency), which stays below 1: groups do not mix,
and within a group the faster is lower. An unknown price is no obstacle to any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, ClassVar, Literal

from policies.base import conclude, figures, seconds, versioned
from policies.constraints import apply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from policies.types import Constraints, Decision, Estimate, Scale

GPU, CPU, FAR, QUEUED = range(4)  # the groups of `local-first`, in its order


@dataclass(frozen=True, slots=True)
class LocalFirst:
    """This machine before any other, its GPU before its CPU, until its queue is out of proportion.

    A near candidate whose queue alone is longer than `spill_factor` times the fastest far answer goes behind the far
    ones: preferring near whatever its queue lets the queue grow for as long as more arrives than is served. A hard cap
    (0.6 of the deadline) took a utility policy on the Azure conversation trace from 53 % of requests late to 10 %; the
    cap here is relative, as a request may have no deadline, and its default of 4 is a choice, not a measurement.

    Raises:
        ValueError: `spill_factor` is negative or NaN; infinity switches the cap off.
    """

    name: ClassVar[str] = "local-first"
    scale: ClassVar[Scale] = "grouped"
    spill_factor: float = 4.0

    def __post_init__(self) -> None:
        if not self.spill_factor >= 0:
            raise ValueError(f"spill_factor of local-first must be 0 or more, but is {self.spill_factor}")

    @property
    def version(self) -> str:
        """Changes with `spill_factor`."""
        return versioned("1", spill_factor=self.spill_factor)

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """Rank GPU, CPU, far, and last what is near but queued too long; within each the faster first."""
        slate = apply(estimates, constraints)
        fastest_far = min((e.latency_s for e in slate[0] if not e.near), default=inf)
        longest_queue = self.spill_factor * fastest_far

        def group(e: Estimate) -> int:
            if not e.near:
                return FAR
            if e.queue_s > longest_queue:
                return QUEUED
            return GPU if e.accelerated else CPU

        def because(first: Estimate, second: Estimate) -> str:
            near = [e for e in slate[0] if e.near]
            if not near or first.near:
                return _leads(first, second)
            least = min(near, key=lambda e: (e.queue_s, e.candidate_id))
            return (
                f"{first.candidate_id} goes first although it is far: {least.candidate_id} has a queue of "
                f"{seconds(least.queue_s)}, more than {self.spill_factor:g} times the fastest far answer, "
                f"{seconds(fastest_far)}."
            )

        return conclude(self, slate, _places(slate[0], group), constraints.order, because)


@dataclass(frozen=True, slots=True)
class RemoteFirst:
    """The far side, fastest first; this machine only as the way out when that fails."""

    name: ClassVar[str] = "remote-first"
    scale: ClassVar[Scale] = "grouped"
    version: ClassVar[str] = "1"

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """Rank the far candidates by latency, then the near ones by latency."""
        slate = apply(estimates, constraints)
        return conclude(self, slate, _places(slate[0], lambda e: int(e.near)), constraints.order, _leads)


@dataclass(frozen=True, slots=True)
class LocalOnly:
    """This machine or nothing."""

    name: ClassVar[str] = "local-only"
    scale: ClassVar[Scale] = "grouped"
    version: ClassVar[str] = "1"

    def decide(self, estimates: Sequence[Estimate], constraints: Constraints) -> Decision:
        """Rank the near candidates by latency and reject every far one."""

        def far(e: Estimate) -> tuple[Literal["policy"], str] | None:
            return None if e.near else ("policy", f"{e.provider} is not on this machine, and local-only uses no other")

        slate = apply(estimates, constraints, far)
        return conclude(self, slate, _places(slate[0], lambda _: 0), constraints.order, _leads)


def _places(eligible: Sequence[Estimate], group: Callable[[Estimate], int]) -> dict[str, float]:
    return {e.candidate_id: group(e) + (1 - 1 / (1 + e.latency_s)) for e in eligible}


def _leads(first: Estimate, second: Estimate) -> str:
    where = ("on this machine's GPU" if first.accelerated else "on this machine's CPU") if first.near else "far"
    if first.backend == "browser":
        where = "in its sender's browser"
    runner_up = f"{second.candidate_id} ({figures(second)})"
    return f"{first.candidate_id} goes first, {where}: {figures(first)}; next is {runner_up}."
