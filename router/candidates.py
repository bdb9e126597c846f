"""From a model to its candidates: every place that could serve one request, with its state at this instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import asdict, replace

from backends.extras import TOKEN_IDS, lacking
from backends.remote.provider import asked_for
from backends.types import EmbeddingInput, GenerationInput, Limits, Target, Task
from router.caching.answers import AnswerCache
from router.errors import InvalidRequest, UnknownModel
from router.identity import is_known_to, is_owned
from router.pricing import hourly
from router.quality import prior_of
from router.section import CacheSettings
from router.slate import Candidate
from router.standby import Standby
from router.sub_providers import Place, plain, routed, spread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from backends.base import Backend
    from backends.types import InferenceRequest
    from router.catalog import Catalog
    from router.listings import Listings
    from router.sections import AliasEntry, CandidateEntry, ModelEntry


MAX_STANDING = 2000
DISABLED = "it is disabled in the catalogue"


class Offer(NamedTuple):
    """What a name stands for: one model, or those of an alias. `fallbacks` follow whatever a policy says."""

    models: tuple[ModelEntry, ...]
    fallbacks: tuple[ModelEntry, ...] = ()
    alias: AliasEntry | None = None


class CandidateFinder:
    """Knows the catalogue and the backends, and makes the slate of a request.

    Behind the hub's router stand providers with prices of their own: where `listings` are given and `far` says that
    they may be used, each model's cheapest become candidates too.

    Attributes:
        standby: What runs near for want of anything better: no request waits for it.
        cache: Answers given before, which join the slates of requests that are the same.
    """

    def __init__(
        self,
        catalog: Catalog,
        backends: Mapping[str, Backend],
        discover: Callable[[str], Awaitable[ModelEntry | None]],
        listings: Listings | None = None,
        far: Callable[[], bool] = lambda: False,
        cache: AnswerCache | None = None,
    ) -> None:
        self.catalog = catalog
        self._backends = backends
        self._discover = discover
        self._listings = listings
        self._far = far
        self.standby = Standby()
        self.cache = cache or AnswerCache(CacheSettings())
        self._standing: dict[str, tuple[ModelEntry, int | None, list[Candidate]]] = {}

    def forget(self) -> None:
        """Far sides have changed: what is remembered of candidates may not be so any more."""
        self._standing.clear()

    async def prepare(self, models: Iterable[ModelEntry] | None = None) -> None:
        """Let every backend look at its targets (files, sizes), so that asking for a status costs nothing later.

        `models` are those that join the catalogue; None takes all that it has.
        """
        for model in self.catalog if models is None else models:
            await self._prepare(model)

    async def model(self, model_id: str, tenant: str | None = None) -> ModelEntry:
        """The model of this id, from the catalogue or (where that may be asked) the hub.

        `tenant` is for whom; None is this router itself, which knows what every tenant made.

        Raises:
            UnknownModel: naming near ones. Another tenant's model is as unknown as one that does not exist.
        """
        entry = self.catalog.find(model_id) if is_known_to(model_id, tenant) else None
        if entry is not None:
            return entry
        entry = None if is_owned(model_id) else await self._discover(model_id)
        if entry is None:
            raise UnknownModel(model_id, self.catalog.alternatives(model_id))
        await self._prepare(entry)
        return entry

    def alias(self, name: str) -> AliasEntry | None:
        """The alias of this name, if it is one."""
        return self.catalog.alias(name)

    async def offer(self, name: str, *others: str, tenant: str | None = None) -> Offer:
        """The models behind a name, or behind several; `tenant` as in `model`.

        Raises:
            UnknownModel: naming near ones.
        """
        alias = None if others else self.catalog.alias(name)
        if alias is None and not others:
            return Offer((await self.model(name, tenant),))
        if alias is None:
            return Offer(tuple([await self.model(model, tenant) for model in self.catalog.models_of(name, *others)]))
        models = [await self.model(model, tenant) for model in (*alias.models, *alias.fallbacks)]
        return Offer(tuple(models[: len(alias.models)]), tuple(models[len(alias.models) :]), alias)

    def for_request(self, request: InferenceRequest, offer: Offer, only: Sequence[str] = ()) -> list[Candidate]:
        """Every candidate of the offer, eligible or not; a policy rejects, this does not.

        A place that several models of an alias name is a candidate once.

        Providers behind the hub's router that `only` names join the slate where the router itself is a candidate; what
        they charge is known where the router's listing says so.

        Raises:
            InvalidRequest: the model does another task.
        """
        slate: dict[str, Candidate] = {}
        for place, model in enumerate((*offer.models, *offer.fallbacks), start=1 - len(offer.models)):
            if model.task != request.task:
                raise InvalidRequest(f"{model.id} does {model.task}, not {request.task.value}.", param="model")
            for candidate in map(self._undisturbed, self.of_model(model, only)):
                slate.setdefault(candidate.id, replace(candidate, fallback=place) if place > 0 else candidate)
        found, asked = list(slate.values()), _features(request)
        return [replace(each, lacks=lacking(asked, each.status.features)) for each in found] if asked else found

    def pinned(self, model: ModelEntry, target: Target) -> Candidate:
        """The candidate of the model that this target is, in the runtime that it names.

        Raises:
            InvalidRequest: the model has none.
        """
        for candidate in self.of_model(model, (target.provider,)):
            own = candidate.target
            if own in {target, replace(target, runtime=own.runtime)}:
                status = self._backends[target.backend].status(target)
                return replace(candidate, id=candidate_id(target), target=target, status=status)
        raise InvalidRequest(f"{model.id} has no candidate {candidate_id(target)}.", param="candidate")

    def every(self) -> list[Candidate]:
        """Every candidate of the catalogue, as it is now."""
        return [candidate for model in self.catalog for candidate in self.of_model(model)]

    def of_model(self, model: ModelEntry, only: Sequence[str] = ()) -> list[Candidate]:
        """The model's candidates; behind the router the cheapest, or those that `only` names."""
        found = [self._as_now(candidate) for candidate in self._stand(model, only)]
        if model.enabled:
            return found
        return [replace(one, status=replace(one.status, unavailable=DISABLED, back_in_s=None)) for one in found]

    def _as_now(self, candidate: Candidate) -> Candidate:
        status = self._backends[candidate.target.backend].status(candidate.target)
        return candidate if status is candidate.status else replace(candidate, status=status)

    def _undisturbed(self, candidate: Candidate) -> Candidate:
        """The candidate as a request finds it: what is on standby gives way at once, and nobody queues behind it.

        It began when nothing near was queued, and whatever was queued since has ended it: all there is, is its own.
        """
        if not (candidate.near and self.standby.runs):
            return candidate
        return replace(candidate, status=replace(candidate.status, queued=0, queue_s=None))

    def _stand(self, model: ModelEntry, only: Sequence[str]) -> list[Candidate]:
        """The same, with a state of whenever: from memory where nothing else of them can have changed since."""
        spreads = self._listings is not None and any(map(routed, model.candidates)) and self._far()
        version = self._listings.version if spreads and self._listings is not None else None
        if only:
            return [self._at(model, place) for place in self._places(model, only, spreads=spreads)]
        entry, known, standing = self._standing.get(model.id, (None, None, []))
        if entry is not model or known != version:
            if len(self._standing) >= MAX_STANDING:
                self._standing.clear()
            standing = [self._at(model, place) for place in self._places(model, (), spreads=spreads)]
            self._standing[model.id] = (model, version, standing)
        return standing

    def _places(self, model: ModelEntry, only: Sequence[str], *, spreads: bool) -> list[Place]:
        if spreads and self._listings is not None:
            return spread(model, self._listings, self.catalog.providers, only)
        return plain(model, self.catalog.providers, only)

    def _at(self, model: ModelEntry, place: Place) -> Candidate:
        candidate, listed = self._candidate(model, place.entry), place.listed
        return replace(
            candidate,
            context_length=(listed and listed.context_length) or candidate.context_length,
            served_prices=place.served_prices,
            first_token_s=listed.first_token_ms / 1000 if listed and listed.first_token_ms else None,
            tokens_per_s=listed.tokens_per_s if listed else None,
        )

    async def _prepare(self, model: ModelEntry) -> None:
        for entry in model.candidates:
            await self._backends[entry.backend].prepare(target_of(model, entry))

    def _candidate(self, model: ModelEntry, entry: CandidateEntry) -> Candidate:
        backend = self._backends[entry.backend]
        target = target_of(model, entry)
        near = backend.near or entry.script.get("near") is True  # a fake may pretend either
        return Candidate(
            id=candidate_id(target),
            target=target,
            near=near,
            status=backend.status(target),
            price=entry.price or hourly(self.catalog.providers.get(entry.provider or "")),
            quality=prior_of(model.quality),
            quality_source=None if prior_of(model.quality) is None else "prior",
            vector_space=f"{target.model}@{target.revision or 'default'}",
            listed_as=model.id,
            account=self._account(entry),
            through=self._asked(target.provider),
            deterministic=near or entry.deterministic,
            context_length=model.context_length,
            limits=Limits(
                first_token_s=entry.limits.first_token_timeout_s,
                idle_s=entry.limits.idle_timeout_s,
                total_s=entry.limits.total_timeout_s,
            ),
        )

    def _asked(self, provider: str) -> str:
        return asked_for(provider, self.catalog.providers)

    def _account(self, entry: CandidateEntry) -> str:
        """Whoever is asked with the same key is paid from the same account."""
        if entry.backend != "remote" or entry.provider is None:
            return ""
        name = self._asked(entry.provider)
        provider = self.catalog.providers.get(name)
        key = None if provider is None else provider.api_key_env
        return f"account {key or name}"


def _features(request: InferenceRequest) -> tuple[str, ...]:
    """What is asked that not everybody can do, by the names of its fields."""
    match request.payload:
        case GenerationInput(extras=extras) if extras is not None:
            return extras.features
        case EmbeddingInput(tokens=tokens) if tokens:
            return (TOKEN_IDS,)
    return ()


def candidate_id(target: Target) -> str:
    """How whoever is asked there is called: in the log, and in everything that is learnt."""
    return f"{target.provider}:{target.model}" + (f"#{target.runtime}" if target.runtime else "")


def target_of(model: ModelEntry, entry: CandidateEntry) -> Target:
    """Whom a backend would ask for this candidate of the catalogue."""
    return Target(
        backend=entry.backend,
        provider=entry.provider or entry.backend,
        model=entry.model or model.id,
        task=Task(model.task),
        source=entry.source,
        revision=entry.revision,
        runtime=entry.runtime,
        parameters=model.parameters,
        head=entry.head,
        continues=entry.continues,
        shape=tuple((name, value) for name, value in asdict(entry.ray).items() if value is not None),
        script=tuple(sorted(entry.script.items())),
    )
