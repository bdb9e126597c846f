"""Every policy by the name users write: one table, one line each."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from policies.budget import Budget
from policies.cascade import Cascade
from policies.cost import Cheapest
from policies.hardware import LocalFirst, LocalOnly, RemoteFirst
from policies.latency import Fastest
from policies.slo import Slo
from policies.types import Parameters, Weights
from policies.weighted import Balanced

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.base import Policy

POLICIES: dict[str, Callable[[Parameters], Policy]] = {
    "balanced": lambda p: Balanced(p.weights),
    "cheapest": lambda _: Cheapest(),
    "fastest": lambda _: Fastest(),
    "slo": lambda p: Slo(p.slo_target),
    "budget": lambda p: Budget(p.second_usd, p.quality_usd, p.pacing_gain),
    "local-first": lambda _: LocalFirst(),
    "remote-first": lambda _: RemoteFirst(),
    "local-only": lambda _: LocalOnly(),
    "cascade": lambda _: Cascade(),
}


class UnknownPolicy(ValueError):
    """No policy has that name; `alternatives` are the names that exist."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alternatives = names()
        close = get_close_matches(name, self.alternatives, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        super().__init__(f"unknown policy {name!r}: {hint}there are {', '.join(self.alternatives)}")


def create(name: str, given: Parameters | Weights | None = None) -> Policy:
    """The policy of that name with these parameters; weights alone leave all others as they are by default.

    Raises:
        UnknownPolicy: There is none of that name.
        ValueError: A parameter that it looks at is not usable.
    """
    if name not in POLICIES:
        raise UnknownPolicy(name)
    return POLICIES[name](Parameters(weights=given) if isinstance(given, Weights) else given or Parameters())


RANKS_BY_COST = frozenset({"balanced", "cheapest", "slo", "budget", "cascade"})
"""These reject what has no known price."""


def names() -> tuple[str, ...]:
    """The names of all policies, in the order users should read them."""
    return tuple(POLICIES)
