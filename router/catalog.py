"""The catalogue: which models exist, what they do, and where each could run. Knows no request and no backend."""

from __future__ import annotations

import difflib
import tomllib
from functools import cache
from importlib import resources
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from backends.remote.provider import SUB_PROVIDERS
from backends.types import OWN_MODELS, Task
from router.aliases import builtin, flattened
from router.errors import CatalogError, InvalidRequest
from router.identity import is_owned
from router.section import Section
from router.sections import AliasEntry, CandidateEntry, ModelEntry, ProviderSettings
from router.settings import HUB_TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KNOWN_TASKS = frozenset(task.value for task in Task)
MAX_DISCOVERED = 1000
RESERVED = ("local", "ray", "remote", "fake", "browser", "fastest", "cheapest")

# Far sides everybody has. A [[providers]] entry of the same name replaces one.
BUILTIN_PROVIDERS = (
    ProviderSettings(
        name="huggingface",
        protocol="openai",
        base_url="https://router.huggingface.co/v1",
        api_key_env=HUB_TOKEN,
    ),
    ProviderSettings(
        name="hf-inference",
        protocol="huggingface",
        base_url="https://router.huggingface.co/hf-inference",
        api_key_env=HUB_TOKEN,
    ),
)


class _File(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    models: tuple[ModelEntry, ...] = ()


class Catalog:
    """The models by id. Entries of the configuration win over built-in ones; discovered ones never replace either."""

    def __init__(
        self,
        configured: Iterable[ModelEntry] = (),
        providers: Iterable[ProviderSettings] = (),
        aliases: Iterable[AliasEntry] = (),
    ) -> None:
        """Merge the built-in catalogue with the configured models.

        Raises:
            CatalogError: an entry names an unknown task or provider, two entries have one id, or an alias names what
                is no model of its task, or itself.
        """
        self.providers = {p.name: p for p in (*BUILTIN_PROVIDERS, *_named_once(providers))}
        self.provider_names = frozenset(self.providers) | SUB_PROVIDERS
        self._models = built_in()
        self._added: dict[str, ModelEntry] = {}
        self._discovered: dict[str, ModelEntry] = {}
        seen: set[str] = set()
        for entry in configured:
            if entry.id in seen:
                raise CatalogError(f"models: {entry.id!r} is listed twice.")
            seen.add(entry.id)
            self._check(entry)
            self._models[entry.id] = entry
        given = tuple(aliases)
        self.aliases: dict[str, AliasEntry] = {alias.name: alias for alias in given}  # so that near ones are named
        self.aliases = flattened(given, self._models, self.alternatives)
        taken = {*self._models, *(alias.name for alias in given)}
        for alias in builtin(self, taken.__contains__):
            self.aliases[alias.name] = alias

    def __iter__(self) -> Iterator[ModelEntry]:
        """Every entry there is now: models may come and go while somebody walks through them."""
        return iter([*self._models.values(), *self._discovered.values()])

    def find(self, model_id: str) -> ModelEntry | None:
        """The entry of this id, or None."""
        return self._models.get(model_id) or self._discovered.get(model_id)

    def alias(self, name: str) -> AliasEntry | None:
        """The alias of this name, or None."""
        return self.aliases.get(name)

    def models_of(self, *names: str) -> tuple[str, ...]:
        """The models that names stand for, in order and each once; an alias' fallbacks are not among them."""
        found = (self.aliases[name].models if name in self.aliases else (name,) for name in names)
        return tuple(dict.fromkeys(chain.from_iterable(found)))

    def entries_of(self, *names: str) -> list[ModelEntry]:
        """The entries of those models; one that the catalogue does not have is left out."""
        return [entry for name in self.models_of(*names) if (entry := self.find(name)) is not None]

    def first_for(self, task: str) -> str:
        """The id of the first of everybody's models that does the task: what a request gets that names only a task.

        Raises:
            InvalidRequest: no model does it.
        """
        for entry in self:
            if entry.task == task and entry.enabled and not is_owned(entry.id):
                return entry.id
        raise InvalidRequest(f"No model of the catalogue does {task}; name one.", param="model")

    def alternatives(self, model_id: str) -> list[str]:
        """Ids that look like this one, best first; at most three. What a tenant made for itself is told to nobody."""
        named = (*(entry.id for entry in self if not is_owned(entry.id)), *self.aliases)
        by_lower = {name.lower(): name for name in named}
        tails = {key.rsplit("/", 1)[-1]: value for key, value in by_lower.items()}
        wanted = model_id.lower()
        close = difflib.get_close_matches(wanted, by_lower, n=3, cutoff=0.5)
        tail = difflib.get_close_matches(wanted.rsplit("/", 1)[-1], tails, n=3, cutoff=0.5)
        return list(dict.fromkeys([*(by_lower[c] for c in close), *(tails[t] for t in tail)]))[:3]

    def add(self, entry: ModelEntry) -> None:
        """Take in a model that was made while this runs; one of the same id is replaced.

        Raises:
            CatalogError: the entry names an unknown task or provider.
        """
        self._check(entry)
        self._models[entry.id] = self._added[entry.id] = entry

    def remove(self, model_id: str) -> None:
        """Forget a model that was added; an id that is not there is no error."""
        self._models.pop(model_id, None)
        self._added.pop(model_id, None)

    def become(self, other: Catalog) -> None:
        """Hold what another holds from now on, all of it at once: whoever has this one, has the other's content then.

        What was added while this runs stays, and so does what was found on the hub, unless the other lists it.
        """
        self.providers, self.provider_names = other.providers, other.provider_names
        self._models = other.listed | self._added
        self._discovered = {name: entry for name, entry in self._discovered.items() if name not in self._models}
        self.aliases = other.aliases

    @property
    def listed(self) -> dict[str, ModelEntry]:
        """What is built in or configured, by id and in order: nothing that was added or found later."""
        return {name: entry for name, entry in self._models.items() if name not in self._added}

    def discover(self, model_id: str, task: str, parameters: int | None, *, far: bool = True) -> ModelEntry:
        """Remember a model found on the hub: it may run near from the hub, or far unless nobody serves it there.

        Who was configured while the hub was asked is not replaced.
        """
        if model_id in self._models:
            return self._models[model_id]
        provider = "huggingface" if task == "text-generation" else "hf-inference"
        entry = ModelEntry(
            id=model_id,
            task=task,
            parameters=parameters,
            description="Looked up on the hub.",
            candidates=(
                CandidateEntry(backend="local", source="hub"),
                *((CandidateEntry(backend="remote", provider=provider),) if far else ()),
            ),
        )
        if len(self._discovered) >= MAX_DISCOVERED:
            self._discovered.pop(next(iter(self._discovered)))
        self._discovered[model_id] = entry
        return entry

    def _check(self, entry: ModelEntry) -> None:
        if entry.task not in KNOWN_TASKS:
            raise CatalogError(
                f"models: {entry.id}: unknown task {entry.task!r}; one of {', '.join(sorted(KNOWN_TASKS))}."
            )
        if not entry.candidates:
            raise CatalogError(f"models: {entry.id}: needs at least one [[models.candidates]].")
        places = [(c.provider or c.backend, c.model or entry.id, c.runtime) for c in entry.candidates]
        if len(set(places)) < len(places):
            raise CatalogError(f"models: {entry.id}: two candidates have the same provider, model and runtime.")
        for candidate in entry.candidates:
            if candidate.backend == "remote" and candidate.provider not in self.providers:
                known = ", ".join(sorted(self.providers))
                raise CatalogError(f"models: {entry.id}: unknown provider {candidate.provider!r}; one of {known}.")
            if candidate.backend == "remote":
                self._check_limits(entry, candidate, self.providers[candidate.provider or ""])
            if candidate.backend in OWN_MODELS and not candidate.source:
                raise CatalogError(
                    f"models: {entry.id}: a {candidate.backend} candidate needs a source: a directory, 'package:NAME' "
                    "or 'hub'."
                )

    def _check_limits(self, entry: ModelEntry, candidate: CandidateEntry, provider: ProviderSettings) -> None:
        for name in candidate.limits.__struct_fields__:
            own, most = getattr(candidate.limits, name), getattr(provider, name)
            if own is not None and own > most:
                raise CatalogError(
                    f"models: {entry.id}: limits.{name} of {own:g} s is longer than that of provider {provider.name}, "
                    f"{most:g} s: raise the provider's."
                )


def _named_once(providers: Iterable[ProviderSettings]) -> list[ProviderSettings]:
    found = list(providers)
    names = [provider.name for provider in found]
    for name in names:
        if name in RESERVED or names.count(name) > 1:
            raise CatalogError(f"providers: the name {name!r} is {'reserved' if name in RESERVED else 'listed twice'}.")
    return found


def built_in() -> dict[str, ModelEntry]:
    """The models that everybody has, by id."""
    return {entry.id: entry for entry in _builtin()}


@cache
def _builtin() -> tuple[ModelEntry, ...]:
    text = resources.files("router").joinpath("catalog.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), _File).models
