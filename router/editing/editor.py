"""From a change to a catalogue that holds together, or a refusal: checked exactly as at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from router.checks import checked
from router.editing import keeping
from router.editing.keeping import Kept
from router.editing.overlay import Held, outdated
from router.editing.snapshots import Snapshot, snapshot_of
from router.errors import CatalogError, Conflict, InvalidRequest, SettingsError
from router.ledger import now_us
from router.policy_check import warnings_of

if TYPE_CHECKING:
    from router.catalog import Catalog
    from router.decision_log.log import DecisionLog
    from router.editing.changes import Change
    from router.editing.overlay import Overlay
    from router.sections import Settings

ANY = "*"


class Made(NamedTuple):
    """A catalogue that holds together.

    Attributes:
        held: What it is made of.
        settings: Those in force with it.
        warnings: What configured policies lack in it, and what of it the file says otherwise by now.
    """

    held: Held
    settings: Settings
    catalog: Catalog
    snapshot: Snapshot
    warnings: list[str]


def opened(base: Settings) -> tuple[Made, Kept]:
    """What is in force at a start: the configuration, under what was changed at run time before. Blocks.

    Raises:
        SettingsError, CatalogError: either is broken, or they do not go together; naming what and where.
    """
    path = keeping.path_of(base)
    kept = keeping.read(path)
    held = Held(base, kept.overlay)
    try:
        return made(held), kept
    except (SettingsError, CatalogError) as error:
        if path is None or held.settings == base:
            raise
        raise CatalogError(
            f"{error} {path.name} holds what was changed at run time, over the configuration: take back there what no "
            "longer goes with it (`nearfar models|aliases|routes remove`), or correct the configuration."
        ) from error


def made(held: Held) -> Made:
    """The catalogue of these, checked. Blocks: sets of intents lie in files.

    Raises:
        SettingsError, CatalogError: naming what is wrong, and where.
    """
    settings = held.settings
    catalog = checked(settings)
    warnings = [*warnings_of(settings, catalog), *outdated(held)]
    return Made(held, settings, catalog, snapshot_of(catalog, held), warnings)


def made_over(base: Settings, overlay: Overlay) -> Made:
    """The catalogue of another configuration, under the same changes of run time. Raises and blocks as `made` does."""
    return made(Held(base, overlay))


def changed(held: Held, change: Change) -> Made:
    """The catalogue with a change. Blocks.

    Raises:
        InvalidRequest, NotFound, UnknownModel, Conflict: it cannot be made, or what comes of it does not hold together.
    """
    try:
        return made(Held(held.base, change.make(held)))
    except (SettingsError, CatalogError) as error:
        raise InvalidRequest(str(error)) from error


def change_kept(base: Settings, log: DecisionLog, change: Change, author: str | None) -> tuple[Made, bool]:
    """Change what is kept, where no house is open: the owner of the log does it. Returns whether anything changed.

    What is kept need not hold together before, so that what no longer goes with the file can be taken back. Blocks.

    Raises:
        InvalidRequest, NotFound, UnknownModel, Conflict, CatalogError, RouterError: nothing has changed.
    """
    path = keeping.path_of(base)
    held = Held(base, keeping.read(path).overlay)
    found = changed(held, change)
    if found.held == held:
        return found, False
    at_us, snapshot = now_us(), found.snapshot
    keeping.write(
        path, Kept(overlay=found.held.overlay, snapshot=snapshot.id, author=author, at_us=at_us, change=change.said)
    )
    log.append(snapshot.row(at_us, author, change.said))
    return found, True


def expect(expected: str | None, snapshot: str) -> None:
    """See that a change is made to the catalogue that its sender saw; None does not ask.

    Raises:
        Conflict: somebody has changed it since.
    """
    if expected is not None and expected not in {ANY, snapshot}:
        raise Conflict(
            f"The catalogue has changed: {snapshot} is in force, and this change was made to {expected[:64]!r}. "
            "Look at it again, and send the change with the snapshot that you saw."
        )
