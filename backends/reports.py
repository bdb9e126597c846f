"""What loading and measuring a model took: the first that is known of how long its requests take."""

from __future__ import annotations

from msgspec import Struct

from backends.types import Usage


class Measurement(Struct, frozen=True, kw_only=True):
    """One warm-up request: its size, and the seconds of device time it took."""

    usage: Usage
    service_s: float


class LoadReport(Struct, frozen=True, kw_only=True):
    """What loading a model measured.

    Attributes:
        load_s: 0 when it was loaded already.
        first_s: The first request after loading, which also pays what libraries put off until then.
        measured: Requests after that, smallest first; none where the backend measured none.
        note: Why the runtime that serves was chosen; None where nothing was to be chosen.
    """

    load_s: float
    first_s: float | None = None
    measured: tuple[Measurement, ...] = ()
    note: str | None = None
