"""How the servers of far sides are, as Prometheus gauges. What is not known of one is not told."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge

from backends.remote.engines.replica import ReplicaState

UP = {"ready": 1.0, "paused": 0.0, "unready": 0.0, "draining": 0.0}


class ReplicaGauges:
    """The gauges, in a registry. A server is named by its number, never by its address."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("provider", "replica")
        self._up = Gauge("nearfar_replica_up", "1 while a far server can be asked.", labels, registry=registry)
        self._figures = {
            "in_flight": Gauge("nearfar_replica_in_flight", "Attempts under way there.", labels, registry=registry),
            "waiting": Gauge("nearfar_replica_waiting", "Requests waiting there, by it.", labels, registry=registry),
            "running": Gauge("nearfar_replica_running", "Requests running there, by it.", labels, registry=registry),
            "cache": Gauge("nearfar_replica_kv_cache_usage", "Of its KV cache, 0 to 1.", labels, registry=registry),
        }

    def take(self, states: Iterable[ReplicaState]) -> None:
        """Set them to how it is now."""
        for gauge in (self._up, *self._figures.values()):
            gauge.clear()
        for state in states:
            if state.state in UP:
                self._up.labels(state.provider, state.replica).set(UP[state.state])
            for name, gauge in self._figures.items():
                if (figure := getattr(state, name)) is not None:
                    gauge.labels(state.provider, state.replica).set(figure)
