"""Aliases as named sets of models: those of others flattened, and the built-in ones. Values only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from router.errors import CatalogError
from router.sections import AliasEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from router.sections import ModelEntry

BUILTIN_ALIASES = {"chat": "text-generation", "embed": "feature-extraction"}


class AliasError(CatalogError):
    """An alias is broken; `index` is its place among the configured ones, from 0."""

    def __init__(self, index: int, name: str, message: str) -> None:
        super().__init__(f"aliases: {name}: {message}")
        self.index = index


def flattened(
    entries: Sequence[AliasEntry], models: Mapping[str, ModelEntry], near_ones: Callable[[str], Sequence[str]]
) -> dict[str, AliasEntry]:
    """The aliases by name, with models where they named other aliases: in order, each model once.

    An alias in `models` or `fallbacks` stands for its models; its own fallbacks come behind those of whoever names it.
    Its policy is its own affair.

    Raises:
        AliasError: a name is taken, names nothing, leads back to itself, or its models do different tasks.
    """
    walk = _Walk(_by_name(entries, models, near_ones))
    flat: dict[str, AliasEntry] = {}
    for index, entry in enumerate(entries):
        if not entry.enabled:
            continue
        circle = walk.circle(entry.name, ())
        if circle:
            raise AliasError(index, entry.name, f"it leads back to itself or another: {' -> '.join(circle)}.")
        names, fallbacks = walk.behind(entry.name)
        tasks = sorted({models[name].task for name in (*names, *fallbacks)})
        if len(tasks) > 1:
            raise AliasError(index, entry.name, f"its models do different tasks: {', '.join(tasks)}.")
        flat[entry.name] = replace(entry, models=names, fallbacks=fallbacks)
    return flat


def _by_name(
    entries: Sequence[AliasEntry], models: Mapping[str, ModelEntry], near_ones: Callable[[str], Sequence[str]]
) -> dict[str, AliasEntry]:
    by_name: dict[str, AliasEntry] = {}
    enabled = [(index, entry) for index, entry in enumerate(entries) if entry.enabled]
    for index, entry in enabled:
        if entry.name in by_name or entry.name in models:
            raise AliasError(index, entry.name, f"the name {entry.name!r} is taken by a model or another alias.")
        by_name[entry.name] = entry
    for index, entry in enabled:
        for name in (*entry.models, *entry.fallbacks):
            if name not in models and name not in by_name:
                hint = ", ".join(near_ones(name)) or "none"
                raise AliasError(index, entry.name, f"unknown model {name!r}; near ones: {hint}.")
    return by_name


def builtin(models: Iterable[ModelEntry], taken: Callable[[str], bool]) -> list[AliasEntry]:
    """`chat` and `embed`, each where nothing of that name is configured and some model does its task.

    `chat` is every model that generates text. `embed` is the first that embeds, alone: vectors of two models cannot be
    compared. What only pretends is in neither.
    """
    made = []
    enabled = (entry for entry in models if entry.enabled)
    real = [entry for entry in enabled if any(candidate.backend != "fake" for candidate in entry.candidates)]
    for name, task in BUILTIN_ALIASES.items():
        doing = tuple(entry.id for entry in real if entry.task == task)
        if doing and not taken(name):
            made.append(AliasEntry(name=name, models=doing if name == "chat" else doing[:1]))
    return made


class _Walk:
    """Walks from alias to alias, and through each once."""

    def __init__(self, aliases: Mapping[str, AliasEntry]) -> None:
        self._aliases = aliases
        self._straight: set[str] = set()  # known to lead into no circle
        self._behind: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def circle(self, name: str, above: tuple[str, ...]) -> tuple[str, ...]:
        """The circle into which an alias leads, its first name again at its end; empty where there is none."""
        if name in above:
            return (*above[above.index(name) :], name)
        entry = self._aliases.get(name)
        if entry is not None and name not in self._straight:
            for inner in (*entry.models, *entry.fallbacks):
                found = self.circle(inner, (*above, name))
                if found:
                    return found
            self._straight.add(name)
        return ()

    def behind(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The models and the fallbacks of an alias that leads into no circle; a model stands for itself."""
        if name not in self._aliases:
            return (name,), ()
        if name not in self._behind:
            entry = self._aliases[name]
            models = [self.behind(inner) for inner in entry.models]
            fallbacks = [self.behind(inner) for inner in entry.fallbacks]
            names = tuple(dict.fromkeys(model for found, _ in models for model in found))
            last = [model for found, _ in fallbacks for model in found]
            last += [model for _, found in (*models, *fallbacks) for model in found]
            self._behind[name] = names, tuple(model for model in dict.fromkeys(last) if model not in names)
        return self._behind[name]
