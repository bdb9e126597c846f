"""What is in force, entry by entry, with whose word each is: as data, for the API and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from router.editing.overlay import Held, beneath, digest, outdated
from router.routes import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.editing.editor import Made
    from router.editing.keeping import Kept
    from router.editing.overlay import AliasOver, Kind, ModelOver


def catalogue(made: Made, kept: Kept) -> dict[str, Any]:
    """The effective catalogue, its snapshot, the last change, and what somebody should look at.

    `origin` is `built-in`, `file` or `run-time`; `covers` says what the run-time entry stands in place of, and
    `outdated` that it says otherwise by now.
    """
    return {
        "snapshot": made.snapshot.id,
        "last_change": {"change": kept.change, "author": kept.author, "at_us": kept.at_us} if kept.change else None,
        "models": models(made),
        "aliases": aliases(made),
        "routes": routes(made.held),
        "outdated": outdated(made.held),
        "warnings": made.warnings,
    }


def models(made: Made) -> list[dict[str, Any]]:
    """The models in their order: the first that does a task is what `auto` gives."""
    overlay = made.held.overlay
    return [
        {"id": name, "enabled": entry.enabled}
        | _whose(made.held, "models", name, overlay.models, overlay.models_enabled)
        | {"entry": msgspec.to_builtins(entry)}
        for name, entry in made.catalog.listed.items()
    ]


def aliases(made: Made) -> list[dict[str, Any]]:
    """The aliases, disabled ones too; `models` are those behind them, `entry` is what was written.

    A built-in one that is disabled has no entry.
    """
    overlay = made.held.overlay
    written = {entry.name: entry for entry in made.settings.aliases}
    return [
        {
            "name": name,
            "enabled": entry.enabled,
            **_whose(made.held, "aliases", name, overlay.aliases, overlay.aliases_enabled),
            "models": list(made.catalog.models_of(name)) if entry.enabled else [],
            "entry": msgspec.to_builtins(entry) if entry.models else None,
        }
        for name, entry in (made.catalog.aliases | written).items()
    ]


def routes(held: Held) -> dict[str, Any]:
    """The routes in their order, and whose list it is."""
    over = held.overlay.routes
    entries = held.settings.routes
    return {
        "origin": "file" if over is None else "run-time",
        "outdated": over is not None and over.covers != digest(held.base.routes),
        "data": [
            {"name": name_of(index, entry), "enabled": entry.enabled, "entry": msgspec.to_builtins(entry)}
            for index, entry in enumerate(entries)
        ],
    }


def _whose(
    held: Held,
    kind: Kind,
    name: str,
    over: Mapping[str, ModelOver] | Mapping[str, AliasOver],
    enabled: Mapping[str, bool],
) -> dict[str, Any]:
    below, origin = beneath(held.base, kind, name)
    own = over.get(name)
    return {
        "origin": origin if own is None else "run-time",
        "covers": origin if own is not None and below is not None else None,
        "outdated": own is not None and own.covers != digest(below),
        "enabled_at_run_time": enabled.get(name),
    }
