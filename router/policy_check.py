"""What a configured policy lacks: a parameter, a budget to pace itself by, prices or qualities of its candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from backends.remote.provider import ROUTER
from backends.types import OWN_MODELS
from policies.budget import Budget
from policies.cascade import Cascade
from policies.registry import RANKS_BY_COST, create
from router.errors import SettingsError
from router.planning import NO_DAILY_BUDGET, parameters_of
from router.pricing import hourly
from router.routes import name_of
from router.toml_lines import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.catalog import Catalog
    from router.sections import CandidateEntry, ModelEntry, Settings

RANKS_BY_QUALITY = frozenset({"balanced", "budget"})  # the others only keep `min_quality`


class Ranking(NamedTuple):
    """A set of models that a configured policy ranks.

    Attributes:
        where: The table and the index of what asks for it in the configuration, and how it is named.
        chosen: Whether that names the policy itself, and does not only leave it as it is by default.
    """

    where: tuple[str, int, str]
    policy: str
    models: Sequence[ModelEntry]
    min_quality: float | None = None
    chosen: bool = False


def objection_to_policy(settings: Settings, name: str) -> str | None:
    """Why a policy cannot be had under these settings; None when it can."""
    try:
        create(name, parameters_of(settings.routing))
    except ValueError as error:
        return str(error)
    if name == Budget.name and not any(entry.period == "day" for entry in settings.budgets):
        return NO_DAILY_BUDGET
    return None


def check_policies(settings: Settings) -> None:
    """See that the policies of `[routing]` and of the aliases can be had.

    Raises:
        SettingsError: naming where it is written, and what it lacks.
    """
    objection = objection_to_policy(settings, settings.routing.policy)
    if objection is not None:
        raise SettingsError(f"{place_of(settings, 'routing', 'policy')}routing: {objection}.")
    for index, alias in enumerate(settings.aliases):
        objection = None if alias.policy is None else objection_to_policy(settings, alias.policy)
        if objection is not None:
            raise SettingsError(f"{place_of(settings, 'aliases', index)}aliases: {alias.name}: {objection}.")


def check_inputs(settings: Settings, catalog: Catalog) -> None:
    """See that no policy was chosen for a set of which it would reject every candidate for want of a price.

    Raises:
        SettingsError: naming who chose it, with the line, and the candidates.
    """
    for ranking in _rankings(settings, catalog):
        places = [(entry, candidate) for entry in ranking.models for candidate in entry.candidates]
        unpriced = [_name(entry, candidate) for entry, candidate in places if not _may_have_price(candidate, catalog)]
        if ranking.chosen and ranking.policy in RANKS_BY_COST and places and len(unpriced) == len(places):
            raise SettingsError(
                f"{_where(settings, ranking)}: the policy {ranking.policy!r} ranks by cost, and no candidate has a "
                f"price: {', '.join(unpriced)}."
            )


def warnings_of(settings: Settings, catalog: Catalog) -> list[str]:
    """What the configured policies lack of their candidates: who asks for it, of whom, and what follows."""
    said: list[str] = []
    for ranking in _rankings(settings, catalog):
        lacks = list(_lacks(ranking, catalog))
        where = _where(settings, ranking) if lacks else ""
        said += (f"{where}: {lack}" for lack in lacks)
    return list(dict.fromkeys(said))


def _lacks(ranking: Ranking, catalog: Catalog) -> Iterator[str]:
    if ranking.policy == Cascade.name:
        yield from _lacks_of_a_cascade(ranking.models)
    policy, at_least = ranking.policy, ranking.min_quality
    known = [entry.id for entry in ranking.models if entry.quality is not None]
    for entry in ranking.models:
        for candidate in entry.candidates:
            if policy in RANKS_BY_COST and not _may_have_price(candidate, catalog):
                yield f"{_name(entry, candidate)} has no price, so {policy!r}, which ranks by cost, always rejects it"
        if entry.quality is None and at_least is not None:
            yield f"{entry.id} has no quality: until feedback gives it one, min_quality = {at_least:g} rejects it"
        elif entry.quality is None and known and policy in RANKS_BY_QUALITY:
            yield f"{entry.id} has no quality: {policy!r} counts it as the median of {', '.join(known)}"


def _lacks_of_a_cascade(models: Sequence[ModelEntry]) -> Iterator[str]:
    near = [entry.id for entry in models if any(is_near(candidate) for candidate in entry.candidates)]
    far = [entry.id for entry in models if not all(is_near(candidate) for candidate in entry.candidates)]
    if models and not near:
        yield f"{', '.join(entry.id for entry in models)}: {Cascade.name!r} finds none near, and asks far at once"
    elif near and not any(set(near) - {name} for name in far):
        yield f"{near[0]}: {Cascade.name!r} finds no other model far, so no answer is asked for again"


def _rankings(settings: Settings, catalog: Catalog) -> Iterator[Ranking]:
    default = settings.routing.policy
    for index, route in enumerate(settings.routes):
        if not route.enabled:
            continue
        alias = None if route.use.alias is None else catalog.alias(route.use.alias)
        chosen = route.use.policy or (alias.policy if alias is not None else None)
        where = ("routes", index, f"routes: {name_of(index, route)}")
        models = catalog.entries_of(*route.use.names)
        yield Ranking(where, chosen or default, models, route.use.min_quality, chosen=chosen is not None)
    for index, entry in enumerate(settings.aliases):
        if not entry.enabled:
            continue
        where = ("aliases", index, f"aliases: {entry.name}")
        models = catalog.entries_of(entry.name)
        yield Ranking(where, entry.policy or default, models, chosen=entry.policy is not None)
    for index, model in enumerate(settings.models):
        yield Ranking(("models", index, "models"), default, [model])


def _where(settings: Settings, ranking: Ranking) -> str:
    """Only for what is said: a line is looked for by reading the file again, several times."""
    table, index, name = ranking.where
    return f"{place_of(settings, table, index)}{name}"


def _may_have_price(candidate: CandidateEntry, catalog: Catalog) -> bool:
    """Near and in a cluster there is one, the hub's router has its listing, and an engine's hours may have one."""
    price = candidate.price or hourly(catalog.providers.get(candidate.provider or ""))
    priced = price is not None and price.known
    return priced or candidate.backend in OWN_MODELS or candidate.provider == ROUTER


def is_near(candidate: CandidateEntry) -> bool:
    """Whether it may be on this machine: a cluster of the router's own is, and a fake may pretend to be."""
    return candidate.backend in OWN_MODELS or candidate.script.get("near") is True


def _name(entry: ModelEntry, candidate: CandidateEntry) -> str:
    return f"{candidate.provider or candidate.backend}:{candidate.model or entry.id}"
