"""What `nearfar doctor` says of this router's part in a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.cli.finding import Finding
from router.settings import CLUSTER_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.cluster.member import Member


def cluster_lines(member: Member | None) -> Iterator[Finding]:
    """Whether the owner answers, what is held here, and which rule is in force."""
    if member is None:
        yield Finding("cluster", "ok", "none: this router owns its budgets, limits, breakers, keys and catalogue")
        return
    state = member.state()
    if state.reachable:
        yield Finding("cluster", "ok", f"{state.owner}, {state.routers} routers; {state.said}")
    else:
        heard = "never heard" if state.silent_s is None else f"heard {state.silent_s:.0f} s ago"
        hint = f"nearfar state must run there, with the same {CLUSTER_SECRET}"
        yield Finding("cluster", "error", f"{state.owner}, {heard}; {state.said}", hint)
    for problem in state.problems:
        yield Finding("cluster", "error", problem, "routers and the owner need the same [[budgets]]")
