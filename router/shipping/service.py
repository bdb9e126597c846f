"""What a running router has of shipping: the thread that ships its log, and what all nodes have shipped to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from router.decision_log.log import DecisionLog
from router.errors import SettingsError
from router.shipping.places import place_of
from router.shipping.reading import Segments
from router.shipping.shipper import Shipper

if TYPE_CHECKING:
    from router.decision_log.queries import LogReader
    from router.decision_log.taking import Log
    from router.sections import LogSettings
    from router.shipping.shipper import ShippingState

LAG_WARNING_S = 60.0
"""By how much more than one interval shipping may lag before somebody should read of it."""


@runtime_checkable
class Elsewhere(Protocol):
    """A log that another process owns, and ships."""

    def shipping(self) -> ShippingState | None:
        """How that does, as far as it is known here."""
        ...


class Shipping:
    """Ships as the settings say, or not at all: whoever owns the log's file does, and a log in memory has none.

    Raises:
        SettingsError: the segments shall be read, and nobody says where they are; or their URL is nothing known.
    """

    def __init__(self, settings: LogSettings, log: Log) -> None:
        place = None if settings.ship.to is None else place_of(settings.ship.to)
        if place is None and settings.read_from == "segments":
            raise SettingsError('log.read_from: "segments" needs log.ship.to, which says where they are.')
        self._log = log
        self._shipper = None
        if place is not None and isinstance(log, DecisionLog) and log.path is not None:
            self._shipper = Shipper(log, place, settings.ship)
        self._segments = Segments(place) if place is not None and settings.read_from == "segments" else None
        self._late_s = settings.ship.every_s + LAG_WARNING_S

    def start(self) -> None:
        """Ship from now on."""
        if self._shipper is not None:
            self._shipper.start()

    def close(self) -> None:
        """Ship what is committed, if that takes a few seconds at most. Blocks."""
        if self._shipper is not None:
            self._shipper.close()
        if self._segments is not None:
            self._segments.close()

    def state(self) -> ShippingState | None:
        """How it is doing; None where the log is not shipped."""
        if isinstance(self._log, Elsewhere):
            return self._log.shipping()
        return None if self._shipper is None else self._shipper.state()

    def problem(self) -> str | None:
        """What somebody should know of it, in a sentence."""
        state = self.state()
        if state is None or (state.error is None and state.lag_s <= self._late_s):
            return None
        why = "" if state.error is None else f": {state.error}"
        return f"the decision log is shipped no further than {state.lag_s:.0f} s ago{why}"

    def reader(self, sees: str | None) -> LogReader:
        """What pages are answered from: this node's log, or what all nodes have shipped."""
        return self._log.reader(sees) if self._segments is None else self._segments.reader(sees)
