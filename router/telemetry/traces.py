"""Gives the spans of every request to a collector. Off unless one is configured, and then nothing of it is imported.

Spans are made when a request has ended: nothing of this stands between a request and its answer.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from router.egress.addresses import is_own
from router.errors import SettingsError
from router.telemetry import spans

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.ledger import Watcher
    from router.outcome import Outcome
    from router.rows import Refused
    from router.sections import Settings
    from router.telemetry.spans import Span

logger = logging.getLogger("nearfar.telemetry")


class Delivery(Struct, frozen=True):
    """What became of the spans so far; those that are neither delivered nor failed are queued, or were dropped."""

    made: int
    delivered: int
    failed: int


class Collector(Protocol):
    """Who takes spans."""

    @property
    def delivered(self) -> int:
        """Spans that went out."""

    @property
    def failed(self) -> int:
        """Spans that could not be delivered."""

    def take(self, span: Span) -> None:
        """Queue a span. Never waits."""

    def close(self) -> None:
        """Deliver what is left. Blocks, for seconds at the most."""


class Traces:
    """A watcher of the ledger that turns what ended into spans."""

    def __init__(self, collector: Collector, addresses: Mapping[str, tuple[str, int | None]]) -> None:
        self._collector = collector
        self._addresses = addresses
        self._made = 0

    def observe(self, surface: str, outcome: Outcome) -> None:  # noqa: ARG002 -- the protocol's signature
        """A decided request ended. One that came without a trace being kept has no spans."""
        if outcome.plan.call.traceparent is not None:
            self._give(spans.of_outcome(outcome, self._addresses, time.time_ns()))

    def refused(self, refusal: Refused, decision_id: str) -> None:
        """A request was turned away before a decision."""
        self._give(spans.of_refusal(refusal, decision_id, time.time_ns()))

    def state(self) -> Delivery:
        """What is known now."""
        return Delivery(self._made, self._collector.delivered, self._collector.failed)

    def close(self) -> None:
        """Deliver what is left. Blocks, for seconds at the most."""
        self._collector.close()

    def _give(self, made: Sequence[Span]) -> None:
        for span in made:
            self._collector.take(span)
        self._made += len(made)


class Watchers:
    """Several watchers, told alike."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = tuple(watchers)

    def observe(self, surface: str, outcome: Outcome) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.observe(surface, outcome)

    def refused(self, refusal: Refused, decision_id: str) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.refused(refusal, decision_id)


def opened(settings: Settings, base_urls: Mapping[str, str]) -> Traces | None:
    """The traces of a house; None where no collector is configured, or it must not be asked. Blocks while it imports.

    Raises:
        SettingsError: OpenTelemetry's packages are not installed.
    """
    endpoint = settings.telemetry.otlp_endpoint
    if endpoint is None:
        return None
    if settings.routing.offline and not is_own(urlsplit(endpoint).hostname):
        logger.warning("offline: telemetry.otlp_endpoint is not on this machine, so no traces are sent")
        return None
    try:
        from router.telemetry.sdk import Sender  # noqa: PLC0415 -- imports an extra, for half a second
    except ImportError as error:
        raise SettingsError(
            "telemetry.otlp_endpoint: traces need OpenTelemetry's packages; pip install 'nearfar[otel]'."
        ) from error
    urls = {name: urlsplit(url) for name, url in base_urls.items()}
    addresses = {name: (url.hostname or "", url.port) for name, url in urls.items()}
    return Traces(Sender(endpoint, settings.telemetry.service_name), addresses)
