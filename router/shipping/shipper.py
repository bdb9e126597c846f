"""Ships a log's segments, on a thread of its own: whatever the place does, no request and no commit waits for it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import duckdb
from msgspec import Struct

from router.decision_log.migrations import first_line
from router.errors import LogError
from router.shipping.places import Away
from router.shipping.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.decision_log.log import DecisionLog
    from router.sections import ShipSettings
    from router.shipping.places import Place

_LONGEST_PAUSE_S = 60.0
_LAST_ROUND_S = 10.0
_MANY = 5000  # rows of a round, after which the next one follows at once
_logger = logging.getLogger(__name__)


class ShippingState(Struct, frozen=True, kw_only=True):
    """How shipping is doing. Counts are since this process began."""

    kind: str  # of the place: `folder`, or a protocol
    rows: int  # taken out of the log
    segments: int  # that arrived
    waiting_segments: int
    waiting_bytes: int  # on this machine's disk
    lag_s: float  # since when everything that the log held then has arrived
    failed: int  # rounds that did not end well
    error: str | None  # of the last round; None where it ended well


class Shipper:
    """Takes new rows out of the log every so often, and puts them where they belong.

    Args:
        log: The log; one that is only in memory is not shipped.
        place: Gives where to.
        settings: How often, and how much may wait on this machine's disk.
    """

    def __init__(self, log: DecisionLog, place: Place, settings: ShipSettings) -> None:
        if log.path is None:
            raise ValueError("a log in memory has no disk to ship from")
        self._log = log
        self._place = place
        self._settings = settings
        self._staging = Staging(log.path.with_name(f"{log.path.name}.segments"), log.cursor, log.boot_id)
        self._rows = self._segments = self._failed = 0
        self._waiting_segments = self._waiting_bytes = 0
        self._error: str | None = None
        self._arrived = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-shipping", daemon=True)

    def start(self) -> None:
        """Ship from now on."""
        self._thread.start()

    def close(self) -> None:
        """Ship what is committed by now, if that takes a few seconds at most; the rest waits for the next start."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_LAST_ROUND_S)

    def state(self) -> ShippingState:
        """How shipping was doing at the end of its last step. Looks at no file."""
        return ShippingState(
            kind=self._place.kind,
            rows=self._rows,
            segments=self._segments,
            waiting_segments=self._waiting_segments,
            waiting_bytes=self._waiting_bytes,
            lag_s=time.monotonic() - self._arrived,
            failed=self._failed,
            error=self._error,
        )

    def ship(self, told: Callable[[int, int], None] = lambda _done, _of: None) -> None:
        """One round: all that the log holds by now. `told` hears how many of the segments that wait have arrived.

        Raises:
            Away: the place takes nothing now.
            duckdb.Error, OSError: the log's own disk does not.
        """
        begun = time.monotonic()
        is_all = self._stage()
        self._deliver(told)
        if is_all:
            self._arrived = begun

    def _stage(self) -> bool:
        """Take rows out of the log; False where too much waits for that already, and the rest stays in it."""
        while self._staging.waiting_bytes() < self._settings.most_waiting_bytes:
            staged = self._staging.stage()
            self._rows += staged
            if staged < _MANY:
                return True
        return False

    def _deliver(self, told: Callable[[int, int], None]) -> None:
        waiting = [(segment, file, file.stat().st_size) for segment, file in self._staging.waiting()]
        self._waiting_segments, self._waiting_bytes = len(waiting), sum(size for *_, size in waiting)
        for done, (segment, file, size) in enumerate(waiting):
            told(done, len(waiting))
            self._place.put(file, segment.name)
            file.unlink(missing_ok=True)
            self._segments += 1
            self._waiting_segments -= 1
            self._waiting_bytes -= size
        told(len(waiting), len(waiting))

    def _run(self) -> None:
        pause_s = self._settings.every_s
        while not self._stop.wait(pause_s):
            pause_s = self._settings.every_s if self._round() else max(pause_s, min(2 * pause_s, _LONGEST_PAUSE_S))
        try:
            self._log.flush(_LAST_ROUND_S / 2)
        except LogError as error:
            self._note(error)
        self._round()

    def _round(self) -> bool:
        try:
            self.ship()
        except (Away, duckdb.Error, OSError) as error:
            self._note(error)
            return False
        if self._error is not None:
            _logger.info("The log is shipped again.")
        self._error = None
        return True

    def _note(self, error: Exception) -> None:
        """A system's error names a path: of it only the class is told."""
        why = type(error).__name__ if isinstance(error, OSError) else first_line(error)
        if self._error is None:
            _logger.warning("The log is not shipped for now; its rows wait on this machine's disk: %s", why)
        self._failed += 1
        self._error = why
