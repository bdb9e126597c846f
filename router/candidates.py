"""From a model to its candidates: every place that could serve one request, with its state at this instant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from backends.remote.provider import ROUTER, SUB_PROVIDERS
from backends.types import Target, Task
from router.errors import InvalidRequest, UnknownModel
from router.slate import Candidate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from backends.base import Backend
    from backends.types import InferenceRequest
    from router.catalog import Catalog
    from router.sections import CandidateEntry, ModelEntry


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

    def for_request(self, request: InferenceRequest, model: ModelEntry, only: Sequence[str] = ()) -> list[Candidate]:
        """Every candidate of the model, eligible or not; a policy rejects, this does not.

        Providers behind the hub's router that `only` names join the slate where the router itself is a candidate; what
        they charge is not known here.

        Raises:
            InvalidRequest: the model does another task.
        """
        if model.task != request.task:
            raise InvalidRequest(f"{model.id} does {model.task}, not {request.task.value}.", param="model")
        routed = [
            replace(entry, provider=name, price=None)
            for entry in model.candidates
            for name in only
            if entry.provider == ROUTER and name in SUB_PROVIDERS
        ]
        return [self._candidate(model, entry) for entry in (*model.candidates, *routed)]

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
        )


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
