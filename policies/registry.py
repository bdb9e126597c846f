"""Every policy by the name users write: one table, one line each."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from policies.cascade import Cascade
from policies.cost import Cheapest
from policies.hardware import LocalFirst, LocalOnly, RemoteFirst
from policies.latency import Fastest
from policies.types import Weights
from policies.weighted import Balanced

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.base import Policy

POLICIES: dict[str, Callable[[Weights], Policy]] = {
    "balanced": Balanced,
    "cheapest": lambda _: Cheapest(),
    "fastest": lambda _: Fastest(),
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


def create(name: str, weights: Weights | None = None) -> Policy:
    """The policy of that name; only `balanced` looks at the weights.

    Raises:
        UnknownPolicy: There is none of that name.
        ValueError: The weights are not usable.
    """
    if name not in POLICIES:
        raise UnknownPolicy(name)
    return POLICIES[name](weights or Weights())


def names() -> tuple[str, ...]:
    """The names of all policies, in the order users should read them."""
    return tuple(POLICIES)
