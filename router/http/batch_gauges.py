"""How batches go, as Prometheus gauges: how many are in which state, and the lines of those that have not ended."""

from collections import Counter
from collections.abc import Iterable
from typing import get_args

from prometheus_client import CollectorRegistry, Gauge

from router.batches.types import Batch, State


class BatchGauges:
    """The gauges, in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._batches = Gauge("nearfar_batches", "Batches by their state.", ("state",), registry=registry)
        told = "Lines of the batches that have not ended, by what became of them."
        self._lines = Gauge("nearfar_batch_lines", told, ("state",), registry=registry)

    def take(self, batches: Iterable[Batch]) -> None:
        """Set them to how it is now."""
        known = tuple(batches)
        states = Counter(batch.state for batch in known)
        for state in get_args(State):
            self._batches.labels(state).set(states[state])
        open_ones = [batch for batch in known if not batch.ended]
        completed, failed = sum(b.completed for b in open_ones), sum(b.failed for b in open_ones)
        lines = {
            "completed": completed,
            "failed": failed,
            "waiting": sum(batch.total for batch in open_ones) - completed - failed,
        }
        for name, count in lines.items():
            self._lines.labels(name).set(count)
