"""The catalogue as it was at an instant, in the log: what old decisions meant, and what can be gone back to."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from router.decision_log.record import CatalogRow
from router.editing.overlay import Overlay
from router.errors import CatalogError, NotFound

if TYPE_CHECKING:
    from router.catalog import Catalog
    from router.decision_log.queries import LogReader
    from router.editing.overlay import Held


class Snapshot(NamedTuple):
    """A whole catalogue under the hash of its content: equal content has an equal id."""

    id: str
    body: str

    def row(self, at_us: int, author: str | None, change: str) -> CatalogRow:
        """The row that says since when it is in force, and why."""
        return CatalogRow(catalog=self.id, ts_us=at_us, author=author, change=change, body=self.body)


def snapshot_of(catalog: Catalog, held: Held) -> Snapshot:
    """What is in force, with what of it was changed at run time.

    Models that were found on the hub, and those of sets of intents, are not in it. The order of entries counts: it
    says which model `auto` gives.
    """
    content = {
        "models": list(catalog.listed.values()),
        "aliases": list(catalog.aliases.values()),
        "routes": held.settings.routes,
        "overlay": held.overlay,
    }
    body = msgspec.json.encode(content)
    return Snapshot(hashlib.blake2b(body, digest_size=8).hexdigest(), body.decode())


def latest(reader: LogReader) -> str | None:
    """The id of the last snapshot of the log; None where there is none. Blocks."""
    rows = reader.rows("latest_catalog", {})
    return str(rows[0][0]) if rows else None


def listed(reader: LogReader, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Snapshots, newest first, without their content, and how many there are. Blocks."""
    rows = reader.rows("catalogs", {"limit": limit, "offset": offset})
    return [_told(*row[:4]) for row in rows], rows[0][4] if rows else 0


def one(reader: LogReader, snapshot: str) -> dict[str, Any]:
    """A snapshot with its content. Blocks.

    Raises:
        NotFound: the log has none of this id.
    """
    rows = reader.rows("catalog", {"catalog": snapshot})
    if not rows:
        raise NotFound(f"There is no snapshot {snapshot[:64]!r} of the catalogue in this log.")
    *head, body = rows[0]
    return _told(*head) | {"catalog": msgspec.json.decode(body)}


def overlay_of(snapshot: dict[str, Any]) -> Overlay:
    """What had been changed at run time then.

    Raises:
        CatalogError: another version of Nearfar wrote it, and this one does not know what it says.
    """
    try:
        return msgspec.convert(snapshot["catalog"]["overlay"], Overlay)
    except (msgspec.ValidationError, KeyError) as error:
        raise CatalogError(f"snapshot {snapshot['snapshot']}: this version cannot read it ({error}).") from error


def _told(catalog: str, at_us: int, author: str | None, change: str) -> dict[str, Any]:
    return {"snapshot": catalog, "at_us": at_us, "author": author, "change": change}
