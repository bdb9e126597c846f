"""What a router of a cluster tells Prometheus of it; made where there is one."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge

if TYPE_CHECKING:
    from router.cluster.told import ClusterState

RULES = ("shared", "alone", "closed")


class ClusterGauges:
    """Whether the owner answers, which rule is in force, and what is held here."""

    def __init__(self, registry: CollectorRegistry) -> None:
        leased = ("scope", "period", "on_exceeded")
        self._reachable = Gauge("nearfar_cluster_owner_reachable", "1 while the owner answers.", registry=registry)
        self._silent = Gauge("nearfar_cluster_silent_seconds", "Since the owner was heard.", registry=registry)
        self._routers = Gauge("nearfar_cluster_routers", "Routers there are, as it said last.", registry=registry)
        self._rule = Gauge("nearfar_cluster_rule", "1 for the rule that is in force.", ("rule",), registry=registry)
        self._held = Gauge("nearfar_cluster_held_usd", "What may be spent here.", leased, registry=registry)

    def state(self, state: "ClusterState") -> None:
        """Show how it stands. Where the owner was never heard, since when it is silent is not a number."""
        self._reachable.set(state.reachable)
        self._silent.set(float("nan") if state.silent_s is None else state.silent_s)
        self._routers.set(state.routers)
        for rule in RULES:
            self._rule.labels(rule).set(rule == state.rule)
        self._held.clear()
        for lease in state.leases:
            self._held.labels(lease.scope, lease.period, lease.on_exceeded).set(lease.held_usd)
