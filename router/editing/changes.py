"""Single changes of the catalogue: each makes a new overlay of the one there is, or refuses. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from router.aliases import BUILTIN_ALIASES
from router.editing.overlay import AliasOver, ModelOver, Overlay, RoutesOver, beneath, digest
from router.errors import Conflict, InvalidRequest, NotFound, UnknownModel
from router.routes import name_of
from router.section import Unit
from router.section_of_routing import OnStreamFailure
from router.sections import AliasEntry, CandidateEntry, ModelEntry, Price, RouteEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.editing.overlay import Held

S = TypeVar("S", ModelEntry, AliasEntry)
CHANGE = "catalog.change"  # what the audit calls each of them
MAX_NAME, MAX_ENTRIES = 256, 5000
SETS = "intents/"  # ids of these belong to the sets of intents
SOURCE = "run-time"  # of a price, where nobody said whose it is


class Change(NamedTuple):
    """One change: what it is, in a few words, and how it is made.

    `make` raises InvalidRequest, UnknownModel or Conflict; whether its outcome holds together is checked later.
    """

    said: str
    make: Callable[[Held], Overlay]


class ModelPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes of a model; null puts a field back to its default, and what is absent stays.

    Attributes:
        prices: What its far candidates cost, by provider or `PROVIDER:MODEL`; null for an unknown price.
    """

    task: str | UnsetType = UNSET
    candidates: tuple[CandidateEntry, ...] | UnsetType = UNSET
    context_length: int | UnsetType | None = UNSET
    parameters: int | UnsetType | None = UNSET
    quality: Unit | dict[str, Unit] | UnsetType | None = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    prices: dict[str, Price | None] | UnsetType = UNSET


class AliasPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes of an alias; null puts a field back to its default, and what is absent stays."""

    models: tuple[str, ...] | UnsetType = UNSET
    fallbacks: tuple[str, ...] | UnsetType = UNSET
    policy: str | UnsetType | None = UNSET
    on_stream_failure: OnStreamFailure | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


def add_model(entry: ModelEntry) -> Change:
    """A model of an id that there is none of yet."""

    def make(held: Held) -> Overlay:
        _check_name("id", entry.id)
        if entry.id.startswith(SETS):
            raise InvalidRequest(f"id: {entry.id!r}: names that begin with {SETS!r} are those of sets of intents.")
        if _model(held, entry.id) is not None:
            raise Conflict(f"models: {entry.id!r} exists already: change it, or add it under another id.")
        return _with_model(held, entry)

    return Change(f"added model {entry.id}", make)


def patch_model(model_id: str, patch: ModelPatch) -> Change:
    """A model with some fields changed; where only `enabled` does, its entry stays whosoever it is."""
    fields = {name: value for name in patch.__struct_fields__ if (value := getattr(patch, name)) is not UNSET}
    said = "enabled" if patch.enabled is True else "disabled" if patch.enabled is False else "changed"
    only = set(fields) == {"enabled"}

    def make(held: Held) -> Overlay:
        entry = _model(held, model_id)
        if entry is None:
            raise UnknownModel(model_id)
        overlay = held.overlay
        prices, enabled = fields.get("prices", UNSET), fields.get("enabled", UNSET)
        changes = {name: value for name, value in fields.items() if name not in {"prices", "enabled"}}
        if changes or prices is not UNSET:
            own = overlay.models[model_id].entry if model_id in overlay.models else _beneath_model(held, model_id)
            entry = _patched(own or entry, changes)
            if isinstance(patch.prices, dict):
                entry = _repriced(entry, patch.prices)
            overlay = _with_model(held, entry, covers=_covered_by(held, model_id))
        if isinstance(enabled, bool):
            overlay = replace(overlay, models_enabled=overlay.models_enabled | {model_id: enabled})
        return overlay

    return Change(f"{said if only else 'changed'} model {model_id}", make)


def delete_model(model_id: str) -> Change:
    """A model as the file has it again, or gone where the file has none."""

    def make(held: Held) -> Overlay:
        overlay = held.overlay
        if model_id not in overlay.models and model_id not in overlay.models_enabled:
            if _model(held, model_id) is None:
                raise UnknownModel(model_id)
            raise InvalidRequest(_not_ours("model", model_id, beneath(held.base, "models", model_id)[1]))
        return replace(
            overlay,
            models=_without(overlay.models, model_id),
            models_enabled=_without(overlay.models_enabled, model_id),
        )

    return Change(f"removed model {model_id}", make)


def put_alias(entry: AliasEntry) -> Change:
    """An alias, in place of one of its name if there is one."""

    def make(held: Held) -> Overlay:
        _check_name("name", entry.name)
        overlay = held.overlay
        _check_room(overlay.aliases, entry.name)
        over = AliasOver(entry, digest(beneath(held.base, "aliases", entry.name)[0]))
        return replace(
            overlay,
            aliases=overlay.aliases | {entry.name: over},
            aliases_enabled=_without(overlay.aliases_enabled, entry.name),
        )

    return Change(f"set alias {entry.name}", make)


def patch_alias(name: str, patch: AliasPatch) -> Change:
    """An alias with some fields changed; a built-in one can be disabled, and is otherwise set anew."""
    fields = {key: value for key in patch.__struct_fields__ if (value := getattr(patch, key)) is not UNSET}
    enabled = fields.pop("enabled", None)

    def make(held: Held) -> Overlay:
        overlay = held.overlay
        own = overlay.aliases[name].entry if name in overlay.aliases else beneath(held.base, "aliases", name)[0]
        if own is None and name not in BUILTIN_ALIASES:
            raise _unknown_alias(held, name)
        if fields:
            if not isinstance(own, AliasEntry):
                raise InvalidRequest(f"aliases: {name}: it is built in: set it whole, or disable it.")
            covers = overlay.aliases[name].covers if name in overlay.aliases else digest(own)
            overlay = replace(overlay, aliases=overlay.aliases | {name: AliasOver(_patched(own, fields), covers)})
        if enabled is not None:
            overlay = replace(overlay, aliases_enabled=overlay.aliases_enabled | {name: enabled})
        return overlay

    said = "changed" if fields or enabled is None else "enabled" if enabled else "disabled"
    return Change(f"{said} alias {name}", make)


def delete_alias(name: str) -> Change:
    """An alias as the file has it again, or gone where the file has none."""

    def make(held: Held) -> Overlay:
        overlay = held.overlay
        if name not in overlay.aliases and name not in overlay.aliases_enabled:
            entry, origin = beneath(held.base, "aliases", name)
            if entry is None and origin == "file":
                raise _unknown_alias(held, name)
            raise InvalidRequest(_not_ours("alias", name, origin))
        return replace(
            overlay,
            aliases=_without(overlay.aliases, name),
            aliases_enabled=_without(overlay.aliases_enabled, name),
        )

    return Change(f"removed alias {name}", make)


def put_routes(entries: tuple[RouteEntry, ...]) -> Change:
    """All routes, in their order."""

    def make(held: Held) -> Overlay:
        return _with_routes(held, entries, anew=True)

    return Change(f"set {len(entries)} routes", make)


def insert_route(entry: RouteEntry, before: str | None = None) -> Change:
    """A route before another, or behind all."""

    def make(held: Held) -> Overlay:
        routes = held.settings.routes
        place = len(routes) if before is None else _place(routes, before)
        return _with_routes(held, (*routes[:place], entry, *routes[place:]))

    return Change(f"inserted route {entry.name}".rstrip(), make)


def replace_route(name: str, entry: RouteEntry) -> Change:
    """A route in another's place."""

    def make(held: Held) -> Overlay:
        routes = held.settings.routes
        place = _place(routes, name)
        return _with_routes(held, (*routes[:place], entry, *routes[place + 1 :]))

    return Change(f"changed route {name}", make)


def enable_route(name: str, *, enabled: bool) -> Change:
    """A route that takes requests, or takes none."""

    def make(held: Held) -> Overlay:
        routes = held.settings.routes
        place = _place(routes, name)
        entry = replace(routes[place], enabled=enabled)
        return _with_routes(held, (*routes[:place], entry, *routes[place + 1 :]))

    return Change(f"{'enabled' if enabled else 'disabled'} route {name}", make)


def delete_route(name: str) -> Change:
    """One route less."""

    def make(held: Held) -> Overlay:
        routes = held.settings.routes
        place = _place(routes, name)
        return _with_routes(held, (*routes[:place], *routes[place + 1 :]))

    return Change(f"removed route {name}", make)


def reveal_routes() -> Change:
    """The file's routes again, all of them."""
    return Change("took the file's routes", lambda held: replace(held.overlay, routes=None))


def restore(overlay: Overlay, snapshot: str) -> Change:
    """All that had been changed at run time when a snapshot was made, over the file as it is now."""
    return Change(f"rolled back to {snapshot}", lambda _held: overlay)


def _model(held: Held, model_id: str) -> ModelEntry | None:
    found = next((entry for entry in held.settings.models if entry.id == model_id), None)
    return found or _beneath_model(held, model_id)


def _beneath_model(held: Held, model_id: str) -> ModelEntry | None:
    entry, _ = beneath(held.base, "models", model_id)
    return entry if isinstance(entry, ModelEntry) else None


def _covered_by(held: Held, model_id: str) -> str | None:
    """What lay beneath when it was first changed: a later change does not look at the file again."""
    known = held.overlay.models.get(model_id)
    return digest(_beneath_model(held, model_id)) if known is None else known.covers


def _with_model(held: Held, entry: ModelEntry, covers: str | None = None) -> Overlay:
    overlay = held.overlay
    _check_room(overlay.models, entry.id)
    return replace(overlay, models=overlay.models | {entry.id: ModelOver(entry, covers)})


def _with_routes(held: Held, entries: tuple[RouteEntry, ...], *, anew: bool = False) -> Overlay:
    known = None if anew else held.overlay.routes
    if len(entries) > MAX_ENTRIES:
        raise InvalidRequest(f"routes: there may be {MAX_ENTRIES} at most.")
    covers = digest(held.base.routes) if known is None else known.covers
    return replace(held.overlay, routes=RoutesOver(entries, covers))


def _patched(entry: S, fields: dict[str, object]) -> S:
    """The entry with these fields; converted, so that what a file may not say is not said here either."""
    known = {name: value for name, value in msgspec.to_builtins(entry).items() if name not in fields}
    given = {name: value for name, value in msgspec.to_builtins(fields).items() if value is not None}
    try:
        return msgspec.convert(known | given, type(entry))
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`") or None
        raise InvalidRequest(f"{name or 'body'}: {what}.", param=name) from error


def _repriced(entry: ModelEntry, prices: dict[str, Price | None]) -> ModelEntry:
    far = [candidate for candidate in entry.candidates if candidate.backend != "local"]
    known = {name for candidate in far for name in _names(entry, candidate)}
    for name in prices:
        if name not in known:
            there = ", ".join(sorted(known)) or "none: what is near is priced by what this machine costs"
            raise InvalidRequest(
                f"prices: {entry.id} has no far candidate {name!r}; there are: {there}.", param=f"prices.{name}"
            )
    marked = {name: _marked(price) for name, price in prices.items()}
    priced = []
    for candidate in entry.candidates:
        of = [name for name in _names(entry, candidate) if name in marked and candidate.backend != "local"]
        priced.append(replace(candidate, price=marked[of[-1]]) if of else candidate)
    return replace(entry, candidates=tuple(priced))


def _names(entry: ModelEntry, candidate: CandidateEntry) -> tuple[str, str]:
    provider = candidate.provider or candidate.backend
    return provider, f"{provider}:{candidate.model or entry.id}"


def _marked(price: Price | None) -> Price | None:
    return replace(price, source=SOURCE) if price is not None and price.source == Price().source else price


def _place(routes: tuple[RouteEntry, ...], name: str) -> int:
    names = [name_of(index, entry) for index, entry in enumerate(routes)]
    if name not in names:
        raise NotFound(f"routes: no route {name!r}; there are: {', '.join(names) or 'none'}.")
    return names.index(name)


def _unknown_alias(held: Held, name: str) -> NotFound:
    known = sorted({*BUILTIN_ALIASES, *(entry.name for entry in held.settings.aliases)})
    return NotFound(f"aliases: no alias {name!r}; there are: {', '.join(known)}.")


def _not_ours(kind: str, name: str, origin: str) -> str:
    where = "built in" if origin == "built-in" else "the file's"
    return f"{kind} {name!r} is {where} and was not changed at run time: it can be disabled here, not removed."


def _check_name(field: str, name: str) -> None:
    if len(name) > MAX_NAME or not name.isprintable() or name != name.strip(" /") or ".." in name.split("/"):
        raise InvalidRequest(
            f"{field}: {name[:MAX_NAME]!r}: a name has at most {MAX_NAME} printable characters, no blank or / at its "
            "ends, and no part that is `..`.",
            param=field,
        )


def _check_room(entries: dict[str, ModelOver] | dict[str, AliasOver], name: str) -> None:
    if name not in entries and len(entries) >= MAX_ENTRIES:
        raise InvalidRequest(f"{MAX_ENTRIES} entries were made at run time, which is the limit: remove one first.")


V = TypeVar("V")


def _without(entries: dict[str, V], name: str) -> dict[str, V]:
    return {key: value for key, value in entries.items() if key != name}
