"""What `nearfar doctor` says of far servers that run an engine: they are asked, once, which spends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.cli.finding import Finding
from router.far_servers import remote_of

if TYPE_CHECKING:
    from router.http.services import Services


async def engine_lines(house: Services) -> list[Finding]:
    """One line for each server. Offline nobody is asked, and nothing is known."""
    remote = remote_of(house.backends)
    if not house.settings.routing.offline:
        await remote.watch.look()
    found = []
    for server in remote.replicas():
        figures = {"waiting": server.waiting, "running": server.running, "KV cache": server.cache}
        told = [f"{name} {figure:g}" for name, figure in figures.items() if figure is not None]
        detail = "; ".join([f"{server.state} at {server.address}", *([server.why] if server.why else []), *told])
        name = f"server {server.provider} {server.replica}"
        known = server.state == "ready" and server.why is None
        fine = known or server.engine is None or house.settings.routing.offline
        found.append(Finding(name, "ok" if fine else "warning", detail, "" if fine else "look at the engine's own log"))
    return found
