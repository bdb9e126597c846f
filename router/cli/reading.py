"""Which log a command reads: this machine's, or what all nodes have shipped to one place."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from router.cli.console import existing_log
from router.shipping.places import place_of
from router.shipping.reading import Segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.decision_log.queries import LogReader
    from router.sections import Settings

from_option = click.option(
    "--from",
    "shipped",
    metavar="DIR",
    help="Read what all nodes have shipped there (a folder or URL), instead of this machine's log.",
)


def shipped_to(settings: Settings, shipped: str | None) -> str | None:
    """Where segments are to be read; None: the log here is."""
    return shipped or (settings.log.ship.to if settings.log.read_from == "segments" else None)


@contextlib.contextmanager
def read_log(settings: Settings, shipped: str | None) -> Iterator[LogReader]:
    """The read side of what `--from` names, or else of what is configured.

    Raises:
        LogError: there is no log yet, another process owns it, or it (or the place) cannot be read.
        SettingsError: the place's URL is nothing known.
    """
    place = shipped_to(settings, shipped)
    if place is None:
        with existing_log(settings) as log:
            yield log.reader()
        return
    with contextlib.closing(Segments(place_of(place))) as segments:
        yield segments.reader()
