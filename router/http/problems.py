"""What of a running server somebody should read: a sentence each, with how bad it is. Off on purpose is no problem."""

import time
from collections.abc import Iterator
from typing import Literal

from router.egress.guard import GUARD
from router.far_servers import remote_of
from router.http.services import Services

LAG_WARNING_S = 5.0

Problem = tuple[str, Literal["error", "warning"]]


def problems_of(house: Services) -> dict[str, Literal["error", "warning"]]:
    """Every sentence once, the far side's first."""
    return dict((*_far(house), *_shared(house), *_here(house)))


def _far(house: Services) -> Iterator[Problem]:
    """The hub's token, who is left alone, servers that are not well, and prices that moved."""
    token = house.far.health.state()
    if token.red:
        yield f"hub token {token.state}: {token.detail}; see {token.link}", "error"
    for key, why in house.lessons.breakers.open(time.monotonic()).items():
        yield f"{key}: {why}", "warning"
    for server in remote_of(house.backends).replicas():
        if server.state in {"unready", "paused"}:
            yield f"{server.provider}, server {server.replica}: {server.why}", "warning"
    for drift in house.refresher.drift:
        if drift.in_force:
            yield f"price of {drift}", "warning"


def _shared(house: Services) -> Iterator[Problem]:
    """Whatever is the cluster's."""
    if house.cluster is None:
        return
    cluster = house.cluster.state()
    if not cluster.reachable:
        yield f"cluster, {cluster.owner}, since {cluster.away_since}: {cluster.said}", "error"
    for problem in cluster.problems:
        yield f"cluster: {problem}", "error"


def _here(house: Services) -> Iterator[Problem]:
    denied = GUARD.state().total
    if denied > 0:
        yield f"offline: {denied} attempts to leave this machine were refused; the log says whose", "warning"
    if house.log.stats().lag_s >= LAG_WARNING_S:
        yield "the decision log lags behind", "warning"
    if house.shipping is not None and (late := house.shipping.problem()) is not None:
        yield late, "warning"
