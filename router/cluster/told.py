"""What a router tells of its cluster: as data for System Health and the metrics, and the rule in force in words."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Rule = Literal["shared", "alone", "closed"]
"""All is shared; or the owner is away and this router lives on what it holds; or it has been away for too long."""

SAID: dict[Rule, str] = {
    "shared": "the owner answers: money, limits, breakers, keys and the catalogue are shared",
    "alone": (
        "the owner does not answer: far money only as far as it is held here, rate limits in the last known parts, "
        "keys and catalogue as last known; near goes on"
    ),
    "closed": (
        "the owner has not answered for longer than cluster.survive_s: nothing is spent far under a budget that "
        "limits, no API key opens anything, each router gives the whole rate limits by itself; near goes on"
    ),
}


class LeaseState(Struct, frozen=True, kw_only=True):
    """What is held of a budget, and what is spent and reserved of that here."""

    scope: str
    period: Literal["day", "month"]
    on_exceeded: Literal["near", "refuse", "warn"]
    held_usd: float
    spent_usd: float
    reserved_usd: float


class ClusterState(Struct, frozen=True, kw_only=True):
    """A router's part in its cluster. `silent_s` and `away_since` are null where they do not apply, or nobody knows.

    Attributes:
        owner: Its address.
        silent_s: Seconds since the owner was heard; null where it never was.
        away_since: Since when it does not answer: ISO 8601, UTC.
        routers: How many there are, as the owner said last.
        versions: Of the keys and the catalogue that are in force here; 0 is a copy from before this start, or none.
        problems: What somebody should put right.
    """

    owner: str
    reachable: bool
    silent_s: float | None
    away_since: str | None
    rule: Rule
    said: str
    survive_s: float
    routers: int
    leases: list[LeaseState]
    versions: dict[str, int]
    problems: list[str]
