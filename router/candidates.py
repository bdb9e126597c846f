"""From a model to its candidates: every place that could serve one request, with its state at this instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from backends.remote.provider import ROUTER, SUB_PROVIDERS
from backends.types import Limits, Target, Task
from router.errors import InvalidRequest, UnknownModel
from router.slate import Candidate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from backends.base import Backend
    from backends.types import InferenceRequest
    from router.catalog import Catalog
    from router.sections import AliasEntry, CandidateEntry, ModelEntry


class Offer(NamedTuple):
    """What a name stands for: one model, or those of an alias. `fallbacks` follow whatever a policy says."""

    models: tuple[ModelEntry, ...]
    fallbacks: tuple[ModelEntry, ...] = ()
    alias: AliasEntry | None = None


class CandidateFinder:
    """Knows the catalogue and the backends, and makes the slate of a request."""

    def __init__(
        self,
        catalog: Catalog,
        backends: Mapping[str, Backend],
        discover: Callable[[str], Awaitable[ModelEntry | None]],
    ) -> None:
        self._catalog = catalog
        self._backends = backends
        self._discover = discover

    async def prepare(self) -> None:
        """Let every backend look at its targets (files, sizes), so that asking for a status costs nothing later."""
        for model in self._catalog:
            await self._prepare(model)

    async def model(self, model_id: str) -> ModelEntry:
        """The model of this id, from the catalogue or (where that may be asked) the hub.

        Raises:
            UnknownModel: naming near ones.
        """
        entry = self._catalog.find(model_id)
        if entry is not None:
            return entry
        entry = await self._discover(model_id)
        if entry is None:
            raise UnknownModel(model_id, self._catalog.alternatives(model_id))
        await self._prepare(entry)
        return entry

    def alias(self, name: str) -> AliasEntry | None:
        """The alias of this name, if it is one."""
        return self._catalog.alias(name)

    async def offer(self, name: str) -> Offer:
        """The models behind a name.

        Raises:
            UnknownModel: naming near ones.
        """
        alias = self._catalog.alias(name)
        if alias is None:
            return Offer((await self.model(name),))
        models = [await self.model(model) for model in (*alias.models, *alias.fallbacks)]
        return Offer(tuple(models[: len(alias.models)]), tuple(models[len(alias.models) :]), alias)

    def for_request(self, request: InferenceRequest, offer: Offer, only: Sequence[str] = ()) -> list[Candidate]:
        """Every candidate of the offer, eligible or not; a policy rejects, this does not.

        A place that several models of an alias name is a candidate once.

        Providers behind the hub's router that `only` names join the slate where the router itself is a candidate; what
        they charge is not known here.

        Raises:
            InvalidRequest: the model does another task.
        """
        slate: dict[str, Candidate] = {}
        for place, model in enumerate((*offer.models, *offer.fallbacks), start=1 - len(offer.models)):
            if model.task != request.task:
                raise InvalidRequest(f"{model.id} does {model.task}, not {request.task.value}.", param="model")
            for candidate in self._of(model, only):
                slate.setdefault(candidate.id, replace(candidate, fallback=max(0, place)))
        return list(slate.values())

    def _of(self, model: ModelEntry, only: Sequence[str]) -> list[Candidate]:
        routed = [
            replace(entry, provider=name, price=None)
            for entry in model.candidates
            for name in only
            if entry.provider == ROUTER and name in SUB_PROVIDERS
        ]
        return [self._candidate(model, entry) for entry in (*model.candidates, *routed)]

    def every(self) -> list[Candidate]:
        """Every candidate of the catalogue, as it is now."""
        return [candidate for model in self._catalog for candidate in self.of_model(model)]

    def of_model(self, model: ModelEntry) -> list[Candidate]:
        """The model's candidates outside any request."""
        return [self._candidate(model, entry) for entry in model.candidates]

    async def _prepare(self, model: ModelEntry) -> None:
        for entry in model.candidates:
            await self._backends[entry.backend].prepare(target_of(model, entry))

    def _candidate(self, model: ModelEntry, entry: CandidateEntry) -> Candidate:
        backend = self._backends[entry.backend]
        target = target_of(model, entry)
        return Candidate(
            id=f"{target.provider}:{target.model}",
            target=target,
            near=backend.near or entry.script.get("near") is True,  # a fake may pretend either
            status=backend.status(target),
            price=entry.price,
            quality=model.quality,
            vector_space=f"{target.model}@{target.revision or 'default'}",
            listed_as=model.id,
            account=self._account(entry),
            context_length=model.context_length,
            limits=Limits(
                first_token_s=entry.limits.first_token_timeout_s,
                idle_s=entry.limits.idle_timeout_s,
                total_s=entry.limits.total_timeout_s,
            ),
        )

    def _account(self, entry: CandidateEntry) -> str:
        """Whoever is asked with the same key is paid from the same account."""
        if entry.backend != "remote" or entry.provider is None:
            return ""
        name = ROUTER if entry.provider in SUB_PROVIDERS else entry.provider
        provider = self._catalog.providers.get(name)
        key = None if provider is None else provider.api_key_env
        return f"account {key or name}"


def target_of(model: ModelEntry, entry: CandidateEntry) -> Target:
    """Whom a backend would ask for this candidate of the catalogue."""
    return Target(
        backend=entry.backend,
        provider=entry.provider or entry.backend,
        model=entry.model or model.id,
        task=Task(model.task),
        source=entry.source,
        revision=entry.revision,
        parameters=model.parameters,
        head=entry.head,
        continues=entry.continues,
        script=tuple(sorted(entry.script.items())),
    )
