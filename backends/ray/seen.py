"""How an application stands, of what Serve says of it. Imports no Ray."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_OURS = re.compile(r"backends\.errors\.\w+: (.*)")
_NO_ROOM = "to be scheduled"


class Seen(NamedTuple):
    """How an application stands: its replicas, and why it has none where that is known."""

    running: int = 0
    failure: str | None = None


def seen_of(status: str, message: str, deployments: list[Any]) -> Seen:
    """How an application stands, of what Serve says. Of its messages only what we said ourselves is repeated."""
    running = sum(deployment.replica_states.get("RUNNING", 0) for deployment in deployments)
    message = "\n".join([message, *(deployment.message for deployment in deployments)])
    failure = None
    if not running and status in {"DEPLOY_FAILED", "UNHEALTHY"}:
        said = _OURS.findall(message)
        failure = said[-1] if said else "its replicas fail to start: Ray's own logs say why"
    elif not running and _NO_ROOM in message:
        failure = "the Ray cluster has no room for a replica of it now"
    return Seen(running, failure)
