"""What is wrong with the routes of a configuration, before anybody relies on them: each refusal names rule and line."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from backends.errors import BackendError
from backends.local.intents import storage
from backends.local.intents.definition import BUILTIN, UNKNOWN, BadIntents, builtin
from backends.remote.provider import ROUTER, SUB_PROVIDERS
from router.catalog import KNOWN_TASKS
from router.errors import SettingsError
from router.intents.sets import definition_of
from router.policy_check import is_near, objection_to_policy
from router.routes import name_of, rule
from router.rules import AUTO, covers, is_glob
from router.settings import intents_dir
from router.toml_lines import place_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from router.catalog import Catalog
    from router.rules import Rule
    from router.sections import CandidateEntry, MatchEntry, ModelEntry, RouteEntry, Settings, UseEntry

BACKENDS = ("local", "ray", "remote", "fake", "browser")


def check_routes(settings: Settings, catalog: Catalog) -> None:
    """See that every route can match something, and that what it asks for can be had.

    Raises:
        SettingsError: naming the file's line, the route, and what is wrong with it.
    """
    rules: list[tuple[int, Rule]] = []
    for index, entry in enumerate(settings.routes):
        if not entry.enabled:
            continue
        try:
            rules.append((index, rule(index, entry, catalog)))
            objection = next(_objections(settings, catalog, index), None)
        except ValueError as error:
            objection = f"match: {error}"
        if objection is None:
            covering = next((earlier for earlier in rules[:-1] if covers(earlier[1], rules[-1][1])), None)
            if covering is None:
                continue
            line = place_of(settings, "routes", covering[0]).removesuffix(": ")
            where = f" ({line})" if line else ""
            objection = f"it can never match: {covering[1].name!r} before it{where} takes all that it would"
        raise SettingsError(f"{place_of(settings, 'routes', index)}routes: {name_of(index, entry)}: {objection}.")


def _objections(settings: Settings, catalog: Catalog, index: int) -> Iterator[str]:
    """All that is wrong with a route by itself; the first is told."""
    entry = settings.routes[index]
    names = [name_of(i, other) for i, other in enumerate(settings.routes[:index])]
    if name_of(index, entry) in names:
        yield "another route has this name"
    yield from _unknown_candidates(catalog, entry.use)
    yield from _unknown_places(catalog, entry.use)
    yield from _empty_match(entry.match)
    yield from _unknown_match(catalog, entry.match)
    if entry.match.intent is not None:
        yield from _unknown_intents(settings, _listed(entry.match.intent))
    yield from _tasks(catalog, entry)
    if entry.use.policy is not None:
        objection = objection_to_policy(settings, entry.use.policy)
        if objection is not None:
            yield objection
    yield from _contradictions(catalog, entry)


def _unknown_candidates(catalog: Catalog, use: UseEntry) -> Iterator[str]:
    if use.alias is not None and use.models:
        yield "use: give an alias or models, not both"
    if use.alias is not None and catalog.alias(use.alias) is None:
        yield f"use.alias: unknown alias {use.alias!r}; there are: {', '.join(sorted(catalog.aliases)) or 'none'}"
    for name in use.models:
        if catalog.find(name) is None and catalog.alias(name) is None:
            yield f"use.models: unknown model {name!r}; near ones: {', '.join(catalog.alternatives(name)) or 'none'}"
    tasks = sorted({entry.task for entry in catalog.entries_of(*use.names)})
    if len(tasks) > 1:
        yield f"use: its models do different tasks: {', '.join(tasks)}"


def _unknown_places(catalog: Catalog, use: UseEntry) -> Iterator[str]:
    known = _places(catalog)
    for field in ("only", "ignore", "order"):
        for name in getattr(use, field):
            if name not in known:
                yield f"use.{field}: unknown provider {name!r}; there are: {', '.join(sorted(known))}"


def _empty_match(match: MatchEntry) -> Iterator[str]:
    for field in ("task", "model", "alias", "tenant", "tag", "intent", "days"):
        if getattr(match, field) in {(), ""}:
            yield f"match.{field}: names nothing, so it can never match"
    least, most = match.min_input_tokens, match.max_input_tokens
    if least is not None and most is not None and least > most:
        yield f"it can never match: min_input_tokens, {least}, is more than max_input_tokens, {most}"


def _unknown_match(catalog: Catalog, match: MatchEntry) -> Iterator[str]:
    for task in _listed(match.task):
        if task not in KNOWN_TASKS:
            yield f"match.task: unknown task {task!r}; one of {', '.join(sorted(KNOWN_TASKS))}"
    for name in _listed(match.alias):
        if catalog.alias(name) is None:
            yield f"match.alias: unknown alias {name!r}; there are: {', '.join(sorted(catalog.aliases)) or 'none'}"
    for name in _listed(match.model):
        if not is_glob(name) and not _known(catalog, name) and name.count("/") != 1:  # that might be on the hub
            yield f"match.model: unknown model {name!r}; near ones: {', '.join(catalog.alternatives(name)) or 'none'}"


def _unknown_intents(settings: Settings, labels: Sequence[str]) -> Iterator[str]:
    if settings.routing.intents is None:
        yield "match.intent: it can never match, as nobody is asked what a prompt wants: set routing.intents"
        return
    known = _labels(settings, settings.routing.intents)
    for label in labels:
        if known is not None and label not in known:
            yield f"match.intent: {settings.routing.intents!r} knows no {label!r}; it tells apart: {', '.join(known)}"


def _labels(settings: Settings, name: str) -> tuple[str, ...] | None:
    """What a set of intents tells apart; None where it cannot be read, of which others complain."""
    if name == BUILTIN:
        return (*builtin().labels, UNKNOWN)
    entry = next((entry for entry in settings.intents.sets if entry.name == name), None)
    try:
        if entry is not None:
            return (*definition_of(entry).labels, UNKNOWN)
        return (*storage.read(storage.path_of(intents_dir(settings), name)).intents.labels, UNKNOWN)
    except (BadIntents, BackendError, OSError):
        return None


def _tasks(catalog: Catalog, entry: RouteEntry) -> Iterator[str]:
    """A route whose names and candidates do another task than it matches never matches, or never serves."""
    given = catalog.entries_of(*entry.use.names)
    wanted = set(_listed(entry.match.task)) or ({given[0].task} if given else set(KNOWN_TASKS))
    if given and given[0].task not in wanted:
        yield f"it matches {', '.join(sorted(wanted))}, but its candidates do {given[0].task}"
    for field in ("model", "alias"):
        names = _listed(getattr(entry.match, field))
        if not names or any(is_glob(name) or name == AUTO for name in names):
            continue
        tasks = [model.task for model in catalog.entries_of(*names)]
        if len(tasks) == len(catalog.models_of(*names)) and wanted.isdisjoint(tasks):
            does = ", ".join(sorted(set(tasks)))
            yield f"it can never match: {', '.join(names)} does {does}, not {', '.join(sorted(wanted))}"


def _contradictions(catalog: Catalog, entry: RouteEntry) -> Iterator[str]:
    use = entry.use
    for field in ("only", "order"):
        both = sorted(set(getattr(use, field)) & {*use.ignore})
        if both:
            yield f"use.{field} and use.ignore contradict each other: both name {', '.join(both)}"
    if use.backend in use.ignore:
        yield f"use.backend and use.ignore contradict each other: both name {use.backend}"
    if use.private and use.backend == "remote":
        yield "use.private keeps requests on this machine, but use.backend = 'remote' sends them away"
    if use.policy == "local-only" and use.backend == "remote":
        yield "use.policy = 'local-only' keeps requests on this machine, but use.backend = 'remote' sends them away"
    tasks = _listed(entry.match.task)
    models = catalog.entries_of(*use.names) or [model for model in catalog if not tasks or model.task in tasks]
    candidates = list(chain.from_iterable(model.candidates for model in models))
    if not any(_may_serve(use, candidate) for candidate in candidates):
        yield f"nobody may serve its requests: none of the candidates of {_some(models)} is left by {_limits(use)}"


def _may_serve(use: UseEntry, candidate: CandidateEntry) -> bool:
    names = {candidate.backend, candidate.provider or candidate.backend}
    if candidate.provider == ROUTER:
        names |= SUB_PROVIDERS  # any of those that are reached through it
    near = is_near(candidate)
    return (
        (use.backend == "any" or use.backend in names)
        and (not use.only or not names.isdisjoint(use.only))
        and {candidate.backend, candidate.provider}.isdisjoint(use.ignore)
        and (near or not (use.private or use.policy == "local-only"))
    )


def _limits(use: UseEntry) -> str:
    said = {"backend": use.backend != "any", "only": use.only, "ignore": use.ignore, "private": use.private}
    names = [f"use.{name}" for name, given in said.items() if given]
    return " and ".join([*names, *(["use.policy"] if use.policy == "local-only" else [])])


def _some(models: Sequence[ModelEntry]) -> str:
    names = [model.id for model in models[:3]]
    return ", ".join([*names, *(["..."] if len(models) > len(names) else [])])


def _places(catalog: Catalog) -> set[str]:
    named = {candidate.provider for entry in catalog for candidate in entry.candidates}
    return {*BACKENDS, *catalog.provider_names, *(name for name in named if name is not None)}


def _known(catalog: Catalog, name: str) -> bool:
    return name == AUTO or catalog.find(name) is not None or catalog.alias(name) is not None


def _listed(names: str | Collection[str] | None) -> tuple[str, ...]:
    return () if names is None else (names,) if isinstance(names, str) else tuple(names)
