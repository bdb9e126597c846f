"""What was changed at run time, as a layer over the configuration. Values only: no file, no log, no house.

The rule by which one entry wins over another of its name: what was written at run time, else the file's
(`nearfar.toml`), else the built-in one. Taking a run-time entry away reveals the file's again. An entry that is
disabled stays where it is and serves nobody. Routes have an order, so they are one whole: once one of them is changed
at run time, the list of then stands in place of the file's.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from router.aliases import BUILTIN_ALIASES
from router.catalog import built_in
from router.sections import AliasEntry, ModelEntry, RouteEntry, Settings
from router.toml_lines import LoadedSettings

if TYPE_CHECKING:
    Entry = ModelEntry | AliasEntry | tuple[RouteEntry, ...]

Kind = Literal["models", "aliases", "routes"]
Origin = Literal["built-in", "file", "run-time"]


class ModelOver(Struct, frozen=True, forbid_unknown_fields=True):
    """A model as it was written at run time; `covers` is the digest of what lay beneath then, None for nothing."""

    entry: ModelEntry
    covers: str | None = None


class AliasOver(Struct, frozen=True, forbid_unknown_fields=True):
    """An alias as it was written at run time; `covers` as of a model."""

    entry: AliasEntry
    covers: str | None = None


class RoutesOver(Struct, frozen=True, forbid_unknown_fields=True):
    """All routes as they were written at run time; `covers` is the digest of the file's then."""

    entries: tuple[RouteEntry, ...]
    covers: str | None = None


class Overlay(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that was changed at run time.

    Attributes:
        models: By id.
        aliases: By name.
        routes: None while the file's are in force.
        models_enabled: Who was enabled or disabled apart from what its entry says.
        aliases_enabled: Likewise; also built-in ones.
    """

    models: dict[str, ModelOver] = {}
    aliases: dict[str, AliasOver] = {}
    routes: RoutesOver | None = None
    models_enabled: dict[str, bool] = {}
    aliases_enabled: dict[str, bool] = {}


class Held(NamedTuple):
    """The configuration and what was changed at run time: together they are what is in force."""

    base: Settings
    overlay: Overlay = Overlay()

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return effective(self.base, self.overlay)


def effective(base: Settings, overlay: Overlay) -> Settings:
    """The settings that hold: every entry at the place of the one that it covers, new ones behind.

    A refusal of them names lines of the file only in tables of which the file has the last word.
    """
    if overlay == Overlay():
        return base
    changed = {
        "models": _models(base, overlay),
        "aliases": _aliases(base, overlay),
        "routes": base.routes if overlay.routes is None else overlay.routes.entries,
    }
    settings = replace(base, **changed)
    if not isinstance(settings, LoadedSettings):
        return settings
    ours = {name for name, entries in changed.items() if entries != getattr(base, name)}
    source = settings.source
    told = type(source)(source.file, source.text, source.overridden | ours)
    return replace(settings, source=told)


def beneath(base: Settings, kind: Kind, name: str = "") -> tuple[Entry | None, Origin]:
    """What the file says of a name, or is built in, and which of the two; None where there is none."""
    if kind == "routes":
        return base.routes, "file"
    if kind == "aliases":
        alias = next((entry for entry in base.aliases if entry.name == name), None)
        return alias, "file" if alias is not None or name not in BUILTIN_ALIASES else "built-in"
    model = next((entry for entry in base.models if entry.id == name), None)
    return (model, "file") if model is not None else (built_in().get(name), "built-in")


def digest(entry: object) -> str | None:
    """A short name of an entry's content; None of none."""
    if entry is None:
        return None
    return hashlib.blake2b(msgspec.json.encode(entry, order="sorted"), digest_size=8).hexdigest()


def outdated(held: Held) -> list[str]:
    """What of the run-time changes was made over something that the file says otherwise by now: a sentence each."""
    base, overlay = held
    said = []
    for name, model in overlay.models.items():
        said += _moved("model", name, model.covers, beneath(base, "models", name)[0])
    for name, alias in overlay.aliases.items():
        said += _moved("alias", name, alias.covers, beneath(base, "aliases", name)[0])
    if overlay.routes is not None:
        said += _moved("routes", "", overlay.routes.covers, base.routes)
    return said


def _moved(kind: str, name: str, covers: str | None, now: Entry | None) -> list[str]:
    if digest(now) == covers:
        return []
    what = f"{kind} {name}".strip()
    if now is None:
        return [f"{what}: changed at run time, and the file does not have it any more; the run-time entry is in force"]
    how = "came into" if covers is None else "changed in"
    return [f"{what}: {how} the file after it was written at run time; the run-time entry is in force"]


def _models(base: Settings, overlay: Overlay) -> tuple[ModelEntry, ...]:
    entries = {entry.id: entry for entry in base.models}
    twice = base.models if len(entries) < len(base.models) else ()  # left so, for whoever refuses it to see
    entries |= {name: over.entry for name, over in overlay.models.items()}
    for name, enabled in overlay.models_enabled.items():
        entry = entries.get(name) or built_in().get(name)
        if entry is not None:
            entries[name] = replace(entry, enabled=enabled)
    return (*twice, *entries.values())


def _aliases(base: Settings, overlay: Overlay) -> tuple[AliasEntry, ...]:
    entries = {entry.name: entry for entry in base.aliases}
    twice = base.aliases if len(entries) < len(base.aliases) else ()
    entries |= {name: over.entry for name, over in overlay.aliases.items()}
    for name, enabled in overlay.aliases_enabled.items():
        if name in entries:
            entries[name] = replace(entries[name], enabled=enabled)
        elif name in BUILTIN_ALIASES and not enabled:
            entries[name] = AliasEntry(name=name, models=(), enabled=False)
    return (*twice, *entries.values())
